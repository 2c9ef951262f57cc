"""The job's side of a search: which trial a run belongs to, its reports, and its early end.

The search leaves `trial.json` in the folder of each job, so that a job finds its trial however it
was launched, and again when it is resumed. Every seed of a trial leaves its outcome of an
evaluation in the study; the one that completes the set reports the objective over all of them,
which is therefore comparable between trials at any time, and asks the pruner. The other seeds
learn of a pruned trial at their next evaluation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resetrl.errors import ConfigError, RunPruned
from resetrl.hookspecs import hookimpl
from resetrl.plugins import list_names
from resetrl.run.results import METRICS
from resetrl.run.tracking.config import redacted
from resetrl.run.tracking.facts import evaluation_metrics, step_record_metrics
from resetrl.run.tracking.files import write_atomically
from resetrl.sweep.optuna_settings import combine

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.trial import Trial

    from resetrl.run.context import Evaluation, RunContext
    from resetrl.types import StepRecord

TRIAL_FILE = "trial.json"
PRUNED_ATTR = "pruned"


@dataclass(frozen=True)
class TrialLink:
    """What a job must know of its trial: the content of `trial.json`.

    `replicate` counts the seeds of the trial from 0. `direction` is that of the first metric,
    which is the one reported to the pruner.
    """

    storage: str
    study: str
    number: int
    replicate: int
    num_replicates: int
    metrics: Sequence[str]
    direction: str
    objective: str
    confidence: float
    pruner: str
    pruner_options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tags(self) -> dict[str, str]:
        """What MLflow is to know of it."""
        return {"optuna.study": self.study, "optuna.trial": str(self.number)}

    def write(self, folder: Path) -> None:
        """Leave the link in a job's folder; raises ConfigError if that holds another's."""
        path = folder / TRIAL_FILE
        if path.exists():
            raise ConfigError(
                f"{folder} holds a job of another search: continue that one with its storage, or "
                "choose another hydra.sweep.dir"
            )
        write_atomically(path, json.dumps(asdict(self), indent=1).encode())


def read_link(folder: Path) -> TrialLink | None:
    """The link in a job's folder, None of a run that belongs to no trial."""
    path = folder / TRIAL_FILE
    if not path.exists():
        return None
    try:
        return TrialLink(**json.loads(path.read_bytes()))
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"{path} is damaged ({error}): delete it to run on without its trial"
        ) from error


class Reporter:
    """Brings a job's intermediate outcomes to its trial, and says when the trial is to end."""

    def __init__(self, link: TrialLink) -> None:
        self.link = link
        self._connected: tuple[BaseStorage, int, Trial] | None = None

    def report(
        self, position: int, value: float, outcomes: Mapping[str, float], *, last: bool = False
    ) -> None:
        """Report the outcome of the `position`-th evaluation, the first being 1.

        `outcomes` are those of the single problems, by their names. Raises RunPruned if the trial
        is to end; never after the `last` evaluation, which has cost everything already.
        """
        from resetrl.sweep.optuna_study import storage_errors

        with storage_errors(self.link.storage):
            self._report(position, value, outcomes, last)

    def _report(
        self, position: int, value: float, outcomes: Mapping[str, float], last: bool
    ) -> None:
        from optuna.exceptions import UpdateFinishedTrialError

        link = self.link
        storage, trial_id, trial = self._connected = self._connected or self._connect()
        mine = {"value": value, "outcomes": dict(outcomes) if link.pruner == "wilcoxon" else {}}
        try:
            trial.set_user_attr(outcome_attr(position, link.replicate), mine)
        except UpdateFinishedTrialError:
            raise RunPruned(f"trial {link.number} of {link.study} was ended meanwhile") from None
        frozen = storage.get_trial(trial_id)
        if PRUNED_ATTR in frozen.user_attrs:
            raise RunPruned(frozen.user_attrs[PRUNED_ATTR])
        names = [outcome_attr(position, replicate) for replicate in range(link.num_replicates)]
        if position in frozen.intermediate_values or not frozen.user_attrs.keys() >= set(names):
            return
        values = [float(frozen.user_attrs[name]["value"]) for name in names]
        combined = combine(values, link.objective, link.direction, link.confidence)
        trial.report(combined, position)
        if not last and trial.should_prune():
            reason = (
                f"trial {link.number} was pruned after evaluation {position}, "
                f"{link.metrics[0]} {combined:.4g}"
            )
            trial.set_user_attr(PRUNED_ATTR, reason)
            raise RunPruned(reason)

    def _connect(self) -> tuple[BaseStorage, int, Trial]:
        import optuna

        from resetrl.sweep.optuna_pruning import make_pruner
        from resetrl.sweep.optuna_study import open_storage

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        link = self.link
        storage = open_storage(link.storage)
        try:
            study = optuna.load_study(
                study_name=link.study,
                storage=storage,
                sampler=optuna.samplers.RandomSampler(),  # never asked: the search suggests
                pruner=make_pruner(link.pruner, link.pruner_options),
            )
        except KeyError as error:
            raise ConfigError(
                f"study {link.study} is no longer in {redacted(link.storage)}: restore it, or "
                f"delete {TRIAL_FILE} to run on without its trial"
            ) from error
        study_id = storage.get_study_id_from_name(link.study)
        trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, link.number)
        return storage, trial_id, optuna.trial.Trial(study, trial_id)


def outcome_attr(position: int, replicate: int) -> str:
    """The name under which a seed leaves its outcome of an evaluation in its trial."""
    return f"evaluation {position}, replicate {replicate}"


class TrialObserver:
    """The observer of a run that belongs to a trial: reports its evaluations, keeps its metrics.

    Register it before the others: what is registered first is told last, and a pruned run's last
    evaluation is then tracked before it ends.
    """

    def __init__(self, link: TrialLink) -> None:
        for metric in link.metrics:
            check_metric(metric)
        self.link = link
        self._reporter = Reporter(link)
        self._latest: dict[str, float] = {}

    @hookimpl
    def resetrl_step_finished(self, record: StepRecord) -> None:
        self._latest.update(step_record_metrics(record))

    @hookimpl
    def resetrl_evaluated(self, run: RunContext, evaluation: Evaluation) -> None:
        self._latest.update(evaluation_metrics(evaluation))
        if evaluation.step == 0 or self.link.pruner == "none":  # untrained, all trials are alike
            return
        metric = self.link.metrics[0]
        self._reporter.report(
            _position(run, evaluation.step),
            self._latest[metric],
            _outcomes(evaluation, metric),
            last=evaluation.is_last,
        )

    def outcome(self, totals: Mapping[str, float]) -> float | dict[str, float]:
        """What the job returns: the accuracy alone, as of any run, or the metrics asked for.

        `totals` are those of the run's end, its last evaluation included.
        """
        latest = {**self._latest, **totals}
        asked = {name: latest[name] for name in self.link.metrics}
        return asked["eval/accuracy"] if list(asked) == ["eval/accuracy"] else asked


def trial_observer(folder: Path) -> TrialObserver | None:
    """The observer of a run whose folder a search has prepared, None of any other run."""
    link = read_link(folder)
    return None if link is None else TrialObserver(link)


def check_metric(name: str) -> None:
    """Raise ConfigError unless every run has such a metric at its end."""
    if name not in METRICS:
        raise ConfigError(
            f"hydra.sweeper.metrics: {name!r} is no metric that every run has: choose "
            f"{list_names(METRICS)}"
        )


def _position(run: RunContext, step: int) -> int:
    evaluation = run.config["evaluation"]
    assert isinstance(evaluation, Mapping)
    return -(-step // int(evaluation["every"]))


def _outcomes(evaluation: Evaluation, metric: str) -> dict[str, float]:
    """What the metric is the mean of, problem by problem."""
    return {
        rollout.prompt.uid: verdict.reward if metric == "eval/reward" else float(verdict.correct)
        for rollout, verdict in evaluation.judged
    }
