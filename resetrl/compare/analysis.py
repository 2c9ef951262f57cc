"""From runs and a question to a comparison: every number that tables and figures show. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from resetrl.compare.bootstrap import iqm_interval, mean_band, mean_interval
from resetrl.compare.checks import Caution, cautions
from resetrl.compare.differences import Difference, Finals, difference, if_enough, with_holm
from resetrl.compare.groups import Excluded, Group, group_runs
from resetrl.compare.records import COSTS, CompareError, Question, RunData
from resetrl.compare.threshold import Arrival, arrival, median_arrival
from resetrl.estimate import Estimate

GRID = 101
"""Places of a curve whose runs were not evaluated at the same ones."""


@dataclass(frozen=True)
class Arrivals:
    """When the runs of a group reached the threshold; `median` is infinite if half never do."""

    median: Estimate
    runs: tuple[Arrival, ...]

    @property
    def num_reached(self) -> int:
        return sum(each.reached for each in self.runs)

    @property
    def watched(self) -> float:
        """How far those were watched that did not arrive; NaN if all did."""
        return max((each.x for each in self.runs if not each.reached), default=math.nan)


@dataclass(frozen=True)
class Curve:
    """Mean and 95 % interval over the axis, as far as all runs of the group have values."""

    xs: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class Result:
    """What is said of one group; `finals` are the values of its runs by stratum."""

    group: Group
    finals: Finals
    final: Estimate
    iqm: Estimate
    difference: Difference | None
    arrivals: Arrivals | None
    costs: Mapping[str, float]
    curve: Curve

    @property
    def values(self) -> list[float]:
        """The values of the runs, in the order of `group.runs`."""
        return [float(value) for values in self.finals.values() for value in values]


@dataclass(frozen=True)
class Comparison:
    """A whole comparison; `runs` are all that were found, also those that do not count."""

    question: Question
    runs: tuple[RunData, ...]
    results: tuple[Result, ...]
    cautions: tuple[Caution, ...]
    excluded: tuple[Excluded, ...]

    @property
    def baselines(self) -> frozenset[str]:
        """The labels of the groups that others are compared with."""
        return frozenset(each.difference.baseline for each in self.results if each.difference)


def compare_runs(runs: Sequence[RunData], question: Question) -> Comparison:
    """All that the question asks of the runs; raises CompareError if it cannot be answered."""
    grouping = group_runs(runs, question)
    window = common_window([run for group in grouping.groups for run in group.runs], question)
    results = [_result(group, question, window) for group in grouping.groups]
    finals = {each.group.values: each.finals for each in results}
    differences = with_holm(
        [
            None
            if (base := grouping.baselines.get(group.values)) is None
            else difference(group, finals[group.values], base, finals[base.values], question.at)
            for group in grouping.groups
        ]
    )
    return Comparison(
        question=question,
        runs=tuple(runs),
        results=tuple(
            replace(each, difference=found)
            for each, found in zip(results, differences, strict=True)
        ),
        cautions=tuple(cautions(grouping, question, [each.final for each in results], differences)),
        excluded=grouping.excluded,
    )


def common_window(runs: Sequence[RunData], question: Question) -> tuple[float, float]:
    """The part of the axis that all runs cover; raises CompareError if `auc` needs one in vain."""
    window = max(run.xs[0] for run in runs), min(run.xs[-1] for run in runs)
    if question.at == "auc" and window[0] >= window[1]:
        raise CompareError(
            f"--at auc is the area under curves over the same {question.x}, but the runs have no "
            "part of it in common: choose --at last"
        )
    return window


def final_value(run: RunData, question: Question, window: tuple[float, float]) -> float:
    """A run's value at the last or the best evaluation, or the mean height of its curve.

    The latter is the area under the straight lines between evaluations, over the common window.
    """
    if question.at != "auc":
        return run.values[run.place(question.at)]
    inside = [x for x in run.xs if window[0] < x < window[1]]
    xs = np.array([window[0], *inside, window[1]])
    area = np.trapezoid(np.interp(xs, run.xs, run.values), xs)
    return float(area / (window[1] - window[0]))


def is_share(metric: str) -> bool:
    """Whether a metric lies between 0 and 1 by its name, as accuracies do."""
    return metric.rpartition("/")[2].endswith("accuracy")


def _result(group: Group, question: Question, window: tuple[float, float]) -> Result:
    finals = {
        stratum: np.array([final_value(run, question, window) for run in runs])
        for stratum, runs in group.strata.items()
    }
    strata = list(finals.values())
    mean = mean_interval(strata)
    return Result(
        group=group,
        finals=finals,
        final=mean.clipped(0.0, 1.0) if is_share(question.metric) else mean,
        iqm=if_enough(iqm_interval(strata), len(group.runs)),
        difference=None,
        arrivals=_arrivals(group, question),
        costs=_costs(group),
        curve=_curve(group, question),
    )


def _arrivals(group: Group, question: Question) -> Arrivals | None:
    threshold = question.threshold
    if threshold is None:
        return None
    strata = [
        [arrival(run.xs, run.values, threshold) for run in runs] for runs in group.strata.values()
    ]
    return Arrivals(median_arrival(strata), tuple(each for runs in strata for each in runs))


def _costs(group: Group) -> dict[str, float]:
    """The mean total of each column of the ledger, of the steps too, where all runs have it."""
    costs = {"step": float(np.mean([run.steps[-1] for run in group.runs]))}
    for name in COSTS:
        totals = [run.totals[name] for run in group.runs if name in run.totals]
        if len(totals) == len(group.runs):
            costs[name] = float(np.mean(totals))
    return costs


def _curve(group: Group, question: Question) -> Curve:
    """The band over the places where all runs were evaluated, or over a grid in between."""
    runs = group.runs
    xs = np.array(runs[0].xs)
    if any(run.xs != runs[0].xs for run in runs):
        start, end = max(run.xs[0] for run in runs), min(run.xs[-1] for run in runs)
        xs = np.linspace(start, end, GRID) if start < end else np.empty(0)
    strata = [
        np.stack([np.interp(xs, run.xs, run.values) for run in members])
        for members in group.strata.values()
    ]
    mean, low, high = mean_band(strata)
    if is_share(question.metric):
        low, high = np.clip(low, 0.0, 1.0), np.clip(high, 0.0, 1.0)
    return Curve(*(tuple(map(float, column)) for column in (xs, mean, low, high)))
