"""The search: ask for trials, launch all their seeds together, tell what came of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from optuna.study import Study
from optuna.trial import Trial, TrialState
from rich.console import Console

from resetrl.errors import ResetrlError
from resetrl.sweep.optuna_settings import SearchSettings, combine
from resetrl.sweep.optuna_space import Space, Value
from resetrl.sweep.optuna_study import (
    ERROR_ATTR,
    OUTCOMES_ATTR,
    failures,
    finished,
    make_sampler,
    requeue_killed,
)
from resetrl.sweep.optuna_summary import describe_trial, describe_values
from resetrl.sweep.optuna_trial import PRUNED_ATTR, TrialLink

DEFAULT_TRIALS = 20
HOPELESS = 5
"""A search in which nothing has ever worked ends after so many failed trials."""


@dataclass
class Search:
    """A search about to start: its study is open, its space is known to compose.

    `storage` is the resolved storage, `folder` the sweep folder.
    """

    settings: SearchSettings
    space: Space
    study: Study
    storage: str
    folder: Path
    launcher: Launcher
    console: Console

    def run(self) -> list[Sequence[JobReturn]]:
        """Try until the study has as many trials as wanted; returns the jobs of each batch.

        Raises ResetrlError with the last reason if nothing works.
        """
        killed = requeue_killed(self.study)
        if killed:
            numbers = ", ".join(map(str, killed))
            self.console.print(f"trials left running by a kill are done again: {numbers}")
        batches = []
        while trials := self._ask():
            batches.append(self._run_batch(trials))
            self._stop_if_hopeless()
        return batches

    @property
    def num_wanted(self) -> int:
        """How many trials the study is to have in the end."""
        if self.settings.n_trials is not None:
            return self.settings.n_trials
        if self.settings.sampler == "grid":
            return math.prod(len(values) for values in self.space.grid().values())
        return DEFAULT_TRIALS

    def _ask(self) -> list[Trial]:
        """The next trials to launch together; none when the search is over."""
        trials: list[Trial] = []
        num_left = self.num_wanted - len(finished(self.study))
        while len(trials) < min(self.settings.n_jobs, num_left):
            is_queued = self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
            if self.settings.sampler == "grid" and not is_queued:
                point = next(self._unseen_points(), None)
                if point is None:
                    break
                self.study.enqueue_trial(dict(point))
            number = len(self.study.get_trials(deepcopy=False))
            self.study.sampler = make_sampler(self.settings, number)
            trials.append(self.study.ask(dict(self.space.dimensions)))
        return trials

    def _unseen_points(self) -> Iterator[Mapping[str, Value]]:
        """Points of the grid that no trial has, the last dimension changing fastest."""
        trials = self.study.get_trials(deepcopy=False)
        seen = [trial.params or trial.system_attrs.get("fixed_params") for trial in trials]
        grid = self.space.grid()
        for values in itertools.product(*grid.values()):
            point = dict(zip(grid, values, strict=True))
            if point not in seen:
                yield point

    def _run_batch(self, trials: Sequence[Trial]) -> Sequence[JobReturn]:
        self._announce(trials)
        num_jobs = max(len(self.space.replicates), 1)
        try:
            jobs = [job for trial in trials for job in self._jobs(trial)]
            returns = self.launcher.launch(jobs, initial_job_idx=trials[0].number * num_jobs)
        except (HydraException, ResetrlError) as error:  # of the search, not of a trial
            for trial in trials:
                self._fail(trial, str(error))
            raise
        except Exception as error:  # a launcher may fail in any way, with all it was given
            for trial in trials:
                self._fail(trial, f"the launcher failed: {_reason(error)}")
            return []
        for position, trial in enumerate(trials):
            self._tell(trial, returns[position * num_jobs : (position + 1) * num_jobs])
        return returns

    def _jobs(self, trial: Trial) -> Iterator[list[str]]:
        """The overrides of each job of a trial, its link to the trial left in its folder."""
        seeds = self.space.replicates
        for replicate, overrides in enumerate(self.space.jobs(trial.params)):
            folder = f"trial{trial.number:04d}" + (f"-seed{seeds[replicate]}" if seeds else "")
            self._link(trial.number, replicate).write(self.folder / folder)
            yield [*overrides, f"hydra.sweep.subdir={folder}"]

    def _link(self, number: int, replicate: int) -> TrialLink:
        settings = self.settings
        return TrialLink(
            storage=self.storage,
            study=self.study.study_name,
            number=number,
            replicate=replicate,
            num_replicates=max(len(self.space.replicates), 1),
            metrics=settings.metrics,
            direction=settings.directions[0],
            objective=settings.objective,
            confidence=settings.confidence,
            pruner=settings.pruner,
            pruner_options=settings.pruner_options,
        )

    def _tell(self, trial: Trial, jobs: Sequence[JobReturn]) -> None:
        """Record a trial as failed if one of its jobs is, else as pruned or complete."""
        pruned = PRUNED_ATTR in self.study.get_trials(deepcopy=False)[trial.number].user_attrs
        try:
            outcomes = [self._outcome(replicate, job, pruned) for replicate, job in enumerate(jobs)]
        except _JobFailed as failure:
            self._fail(trial, str(failure))
            return
        if pruned:
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            by_metric = list(zip(*outcomes, strict=True))
            settings = self.settings
            trial.set_user_attr(OUTCOMES_ATTR, by_metric)
            values = [
                combine(values, settings.objective, direction, settings.confidence)
                for values, direction in zip(by_metric, settings.directions, strict=True)
            ]
            self.study.tell(trial, values)
        self._print(trial)

    def _outcome(self, replicate: int, job: JobReturn, pruned: bool) -> list[float]:
        """What a job's metrics came to; raises _JobFailed if it has none. Pruned jobs need none."""
        seeds = self.space.replicates
        where = f"seed {seeds[replicate]}: " if seeds else ""
        if job.status != JobStatus.COMPLETED:
            # Not `return_value`, which prints lines of its own before it raises.
            raise _JobFailed(f"{where}{_reason(job._return_value)}")
        if pruned:
            return []
        try:
            outcome = _numbers(job.return_value, self.settings.metrics)
        except (TypeError, ValueError, KeyError) as error:
            raise _JobFailed(
                f"{where}the job returned {job.return_value!r}, which is no value of "
                f"{', '.join(self.settings.metrics)}"
            ) from error
        bad = [number for number in outcome if not math.isfinite(number)]
        if bad:
            raise _JobFailed(f"{where}the job returned {bad[0]}, which cannot be compared")
        return outcome

    def _fail(self, trial: Trial, reason: str) -> None:
        trial.set_user_attr(ERROR_ATTR, reason)
        self.study.tell(trial, state=TrialState.FAIL)
        self._print(trial)

    def _stop_if_hopeless(self) -> None:
        """Raise the last failure if nothing has worked and enough was tried."""
        failed = failures(self.study)
        num_finished = len(finished(self.study))
        if len(failed) == num_finished >= min(HOPELESS, self.num_wanted):
            raise ResetrlError(
                f"all {len(failed)} trials of study {self.study.study_name} failed; the last: "
                f"{failed[-1].user_attrs.get(ERROR_ATTR)}"
            )

    def _announce(self, trials: Sequence[Trial]) -> None:
        so_far = f"{len(finished(self.study))} of {self.num_wanted} done"
        for trial in trials:
            values = describe_values(trial.params)
            seeds = ", ".join(self.space.replicates)
            self.console.print(
                f"[bold]trial {trial.number}[/] starts, {so_far}: {values}"
                + (f", seeds {seeds}" if seeds else ""),
                highlight=False,
                soft_wrap=True,
            )

    def _print(self, trial: Trial) -> None:
        line = describe_trial(self.study, trial.number, self.settings)
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)


class _JobFailed(Exception):
    """A job of a trial has no outcome; the message says why."""


def _reason(error: object) -> str:
    """The first line of an error, with its kind where the message alone says little."""
    text = next(iter(str(error).strip().splitlines()), "")
    kind = type(error).__name__
    return text if isinstance(error, ResetrlError) and text else f"{kind}: {text}".rstrip(": ")


def _numbers(returned: Any, metrics: Sequence[str]) -> list[float]:
    """A job's return value as one number a metric: a mapping, a sequence or a number."""
    if isinstance(returned, Mapping):
        return [float(returned[metric]) for metric in metrics]
    numbers = list(returned) if isinstance(returned, Sequence) else [returned]
    if len(numbers) != len(metrics) or isinstance(returned, str):
        raise ValueError
    return [float(number) for number in numbers]
