"""What `hydra.sweeper.*` of the Optuna search can be, checked when the search starts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from resetrl.errors import ConfigError

SAMPLERS = ("tpe", "cmaes", "random", "grid", "qmc")
PRUNERS = ("none", "median", "successive_halving", "hyperband", "wilcoxon")
OBJECTIVES = ("mean", "lower_bound")
DIRECTIONS = ("maximize", "minimize")
PROBLEM_METRICS = ("eval/accuracy", "eval/reward")
"""Metrics that are means over the held-out problems, so that these can be compared one by one."""


@dataclass
class SearchSettings:
    """The options of the search, each `hydra.sweeper.NAME=...`.

    n_trials: trials in total, those of earlier commands on the same study included; 20 if not
        given, all points with sampler=grid. Failed trials count, killed ones do not.
    n_jobs: trials handed to the launcher together, each with all its seeds.
    sampler: tpe, cmaes (numbers only), random, grid (choices and ranges only) or qmc.
    sampler_seed: from which every suggestion is derived.
    sampler_options: more arguments of optuna's sampler, as {n_startup_trials: 5}.
    pruner: none, median, successive_halving, hyperband, or wilcoxon (over problems).
    pruner_options: more arguments of optuna's pruner; its steps are evaluations, counted from 1.
    metrics: one an objective, `eval/...` or `total/...`: a run's last value of it.
    directions: maximize or minimize, one a metric.
    objective: mean, or lower_bound, of the metric over the seeds.
    confidence: of the lower bound, one-sided.
    study_name: the name of the sweep folder unless given.
    storage: a database URL (sqlite:///search.db) or the path of a journal file; optuna.db in the
        sweep folder unless given.
    params: dimensions and fixed overrides, as {learner.lr: "tag(log, interval(1e-5, 1e-3))"}; the
        command line goes before them.
    """

    n_trials: int | None = None
    n_jobs: int = 1
    sampler: str = "tpe"
    sampler_seed: int = 0
    sampler_options: Any = None
    pruner: str = "none"
    pruner_options: Any = None
    metrics: list[str] = field(default_factory=lambda: ["eval/accuracy"])
    directions: list[str] = field(default_factory=lambda: ["maximize"])
    objective: str = "mean"
    confidence: float = 0.9
    study_name: str | None = None
    storage: str | None = None
    params: Any = None

    def __post_init__(self) -> None:
        for name in ("sampler_options", "pruner_options", "params"):
            setattr(self, name, _mapping(name, getattr(self, name)))
        if self.n_trials is not None:
            _at_least("n_trials", self.n_trials, 1)
        _at_least("n_jobs", self.n_jobs, 1)
        _one_of("sampler", self.sampler, SAMPLERS)
        _one_of("pruner", self.pruner, PRUNERS)
        _one_of("objective", self.objective, OBJECTIVES)
        for direction in self.directions:
            _one_of("directions", direction, DIRECTIONS)
        if not self.metrics or len(set(self.metrics)) != len(self.metrics):
            raise ConfigError(
                f"hydra.sweeper.metrics is {self.metrics}: name at least one metric, each once"
            )
        if len(self.metrics) != len(self.directions):
            raise ConfigError(
                f"hydra.sweeper.metrics {self.metrics} and hydra.sweeper.directions "
                f"{self.directions} differ in length: give one direction a metric"
            )
        if not 0.5 <= self.confidence < 1:
            raise ConfigError(
                f"hydra.sweeper.confidence is {self.confidence}: choose at least 0.5, below 1"
            )
        self._check_combinations()

    def _check_combinations(self) -> None:
        many = len(self.metrics) > 1
        if many and self.pruner != "none":
            raise ConfigError(
                f"hydra.sweeper.pruner={self.pruner} needs a single objective, and metrics are "
                f"{self.metrics}: choose pruner=none, or one metric"
            )
        if many and self.sampler == "cmaes":
            raise ConfigError(
                f"hydra.sweeper.sampler=cmaes needs a single objective, and metrics are "
                f"{self.metrics}: choose sampler=tpe, or one metric"
            )
        if self.pruner == "wilcoxon" and self.metrics[0] not in PROBLEM_METRICS:
            raise ConfigError(
                f"hydra.sweeper.pruner=wilcoxon compares problem by problem, which "
                f"{self.metrics[0]} cannot be: choose {' or '.join(PROBLEM_METRICS)}"
            )


@dataclass
class SweeperConfig(SearchSettings):
    """The schema of `hydra.sweeper`: the options, and the class that hydra makes of them."""

    _target_: str = "hydra_plugins.resetrl_optuna.OptunaSweeper"


def _mapping(name: str, value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping | None):
        raise ConfigError(
            f"hydra.sweeper.{name} is {value!r}: write key: value pairs in braces, for example "
            f"'hydra.sweeper.{name}={{n_startup_trials: 5}}'"
        )
    return {str(key): each for key, each in (value or {}).items()}


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ConfigError(f"hydra.sweeper.{name} is {value}: choose at least {least}")


def _one_of(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ConfigError(f"hydra.sweeper.{name} is {value!r}: choose {', '.join(choices)}")


def combine(values: Sequence[float], objective: str, direction: str, confidence: float) -> float:
    """The objective of a trial from its outcomes, one a seed.

    `mean` is their mean m. `lower_bound` is the pessimistic end of the one-sided confidence
    interval of Student's t for the mean, m - t s / sqrt(k) where large is good and
    m + t s / sqrt(k) where small is, with k seeds, their standard deviation s (of k - 1 degrees
    of freedom) and t the `confidence` quantile of Student's t with k - 1 degrees of freedom.

    Example: 0.4, 0.5 and 0.6 with confidence 0.9 give 0.5 - 1.886 x 0.1 / sqrt(3) = 0.391.
    """
    mean = math.fsum(values) / len(values)
    if objective == "mean":
        return mean
    from scipy.stats import t

    freedom = len(values) - 1
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / freedom)
    margin = float(t.ppf(confidence, freedom)) * deviation / math.sqrt(len(values))
    return mean - margin if direction == "maximize" else mean + margin
