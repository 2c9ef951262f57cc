"""Keeps a run's journal and has it sent to MLflow: an observer of training, or called directly."""

from __future__ import annotations

import contextlib
import json
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from resetrl.errors import ResetrlError, RunPruned
from resetrl.hookspecs import hookimpl
from resetrl.run.tracking.config import TrackingConfig, redacted, sqlite_path
from resetrl.run.tracking.facts import (
    evaluation_metrics,
    flat_params,
    rollouts_table,
    run_tags,
    step_record_metrics,
)
from resetrl.run.tracking.files import write_atomically
from resetrl.run.tracking.journal import JOURNAL, Journal, JournalRecord
from resetrl.run.tracking.sender import Delivery, Sender
from resetrl.run.tracking.spool import CURVE, TABLE, RunFile, RunStatus, TrackedRun, take_up

if TYPE_CHECKING:
    from resetrl.run.context import Evaluation, RunContext
    from resetrl.types import StepRecord

CREATION_SECONDS = 60.0
"""How long a first local database may take; a fresh one on a busy machine takes 20."""

CURVE_SECONDS = 60.0
"""Between two drawings of the learning curve, each of which takes training half a second."""


@dataclass(frozen=True)
class TrackingStatus:
    """Where a run is tracked: `run_id` is empty if MLflow never answered.

    `complete` says that all of it arrived, `problem` why not; `command` opens it in MLflow then,
    and before sends what is missing.
    """

    run_id: str
    uri: str
    command: str
    complete: bool
    problem: str


@dataclass
class Tracking:
    """Journal, evaluation table and learning curve in the run folder, and all of it to MLflow.

    A run that trains nothing calls `start`, `log` and `finish` itself and writes its own tables.

    `directory` is where the command was started. `tags` are what only the caller knows, like the
    hash of the configuration, and `parent` the key of the sweep. At the end the run waits
    `finish_seconds` at most for the store.
    """

    config: TrackingConfig
    tags: Mapping[str, str] = field(default_factory=dict)
    directory: Path = field(default_factory=Path.cwd)
    parent: str = ""
    finish_seconds: float = 15.0
    _journal: Journal | None = field(default=None, init=False, repr=False)
    _run_file: RunFile | None = field(default=None, init=False, repr=False)
    _sender: Sender | None = field(default=None, init=False, repr=False)
    _drawn: float = field(default=0.0, init=False, repr=False)

    def start(self, run: RunContext) -> None:
        """Open the journal of a run and begin to send it."""
        self._drawn = time.monotonic()
        self._journal = Journal(run.folder / JOURNAL, run.start_step)
        self._run_file = RunFile(run.folder, self._tracked_run(run))
        self._run_file.change(lambda tracked: tracked)
        if self.config.enabled:
            warn = _warning(run, self._run_file.run.uri)
            self._sender = Sender(Delivery(self._run_file), warn)
            self._sender.start()

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write metrics into the journal, from where they are sent."""
        assert self._journal is not None, "the run has not started"
        self._journal.append(JournalRecord(step, time.time(), metrics))

    def finish(self, error: BaseException | None = None) -> None:
        """Close the journal of a run that ended, with what ended it, and send the rest."""
        if self._journal is None or self._run_file is None:
            return
        status = _status(error)
        hidden = () if error is None else (ResetrlError,)
        with contextlib.suppress(*hidden):  # the error that ended the run is the one to tell
            ended = time.time()
            pruned = {"pruned": "true"} if isinstance(error, RunPruned) else {}
            self._run_file.change(
                lambda tracked: replace(
                    tracked, status=status, ended=ended, tags={**tracked.tags, **pruned}
                )
            )
        if self._sender is not None:
            is_local = sqlite_path(self._run_file.run.uri) is not None
            self._sender.finish(self.finish_seconds, CREATION_SECONDS if is_local else 0.0)
        self._journal.close()

    @hookimpl
    def resetrl_run_started(self, run: RunContext) -> None:
        self.start(run)

    @hookimpl
    def resetrl_step_finished(self, run: RunContext, record: StepRecord) -> None:
        self.log(record.step, step_record_metrics(record))
        if self._sender is not None:
            self._sender.check()

    @hookimpl
    def resetrl_evaluated(self, run: RunContext, evaluation: Evaluation) -> None:
        self.log(evaluation.step, evaluation_metrics(evaluation))
        table = json.dumps(rollouts_table(evaluation), indent=1)
        write_atomically(run.folder / TABLE, table.encode())
        if time.monotonic() - self._drawn > CURVE_SECONDS:
            _draw_curve(run)
            self._drawn = time.monotonic()

    @hookimpl
    def resetrl_run_finished(self, run: RunContext, error: BaseException | None) -> None:
        if self._journal is not None:
            with contextlib.suppress(*(() if error is None else (ResetrlError,))):
                _draw_curve(run)
        self.finish(error)

    @property
    def status(self) -> TrackingStatus | None:
        """How tracking stands; None before the run has started, or if it is not enabled."""
        if self._sender is None or self._run_file is None:
            return None
        tracked, complete = self._run_file.run, self._sender.complete
        return TrackingStatus(
            run_id=tracked.run_id,
            uri=redacted(tracked.uri),
            command=_open_command(tracked) if complete else _sync_command(self._run_file.folder),
            complete=complete,
            problem=self._sender.problem,
        )

    def _tracked_run(self, run: RunContext) -> TrackedRun:
        """The run as it was tracked before, if it was, with what is new about it."""
        before = take_up(run.folder, run.name, self.config, self.directory)
        tags = {**self.config.tags, **run_tags(run, self.directory), **self.tags}
        parent = self.parent or before.parent
        return replace(before, parent=parent, params=flat_params(run.config), tags=tags)


def _draw_curve(run: RunContext) -> None:
    from resetrl.run.curves import learning_curve  # which reads our journal

    learning_curve(run.folder / JOURNAL, run.folder / CURVE, title=run.name)


def _status(error: BaseException | None) -> RunStatus:
    if error is None or isinstance(error, RunPruned):
        return "FINISHED"
    return "FAILED" if isinstance(error, Exception) else "KILLED"


def _warning(run: RunContext, uri: str) -> Callable[[str], None]:
    def warn(problem: str) -> None:
        run.console.print(
            f"Tracking: {redacted(uri)} does not take this run ({problem}). It goes on; its "
            f"metrics stay in {run.folder / JOURNAL}, to be sent with: "
            f"{_sync_command(run.folder)}",
            style="yellow",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )

    return warn


def _sync_command(folder: Path) -> str:
    return f"resetrl tracking sync {shlex.quote(str(folder))}"


def _open_command(tracked: TrackedRun) -> str:
    """What to type, or to open in a browser, to see a run in MLflow."""
    if tracked.uri.startswith(("http://", "https://")):
        return redacted(tracked.uri)
    return f"mlflow ui --backend-store-uri {shlex.quote(redacted(tracked.uri))}"
