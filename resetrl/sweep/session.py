"""A sweep from its first cell to its last: its folder, its parent run in MLflow, its outcome.

This holds for any hydra launcher and sweeper; who runs the jobs is not decided here.
"""

from __future__ import annotations

import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import NoReturn

from rich.console import Console

from resetrl.errors import ResetrlError
from resetrl.run.tracking import StoreUnavailable, TrackingConfig, runs_below, sync
from resetrl.run.tracking.config import redacted, sqlite_path
from resetrl.run.tracking.facts import MAX_TAG_LEN, RUN_FOLDER_TAG, code_tags, cut
from resetrl.run.tracking.query import SWEEP_TAG
from resetrl.run.tracking.sender import Delivery
from resetrl.run.tracking.spool import RunFile, RunStatus, read_run, take_up
from resetrl.sweep.record import Cell, CellState, SweepRecord, locked, read_sweep
from resetrl.sweep.table import Watch, count_states, print_cells

STATES: dict[str, CellState] = {"FINISHED": "done", "FAILED": "failed"}


@contextmanager
def open_sweep(record: SweepRecord, tracking: TrackingConfig, console: Console) -> Iterator[None]:
    """Hold the sweep's folder, create store and parent run, and tell the outcome at the end.

    A store that does not answer is told once; what it has not got is sent at the end if it
    answers by then. A SIGTERM ends the sweep as Ctrl-C does.
    """
    with locked(record.folder), _terminable():
        record.write()
        parent = _parent_run(record, tracking)
        is_late = tracking.enabled and not _announce(parent, console)
        error: BaseException | None = None
        try:
            yield
        except BaseException as caught:
            error = caught
            raise
        finally:
            outcome = _outcome(record.folder)
            print_cells(outcome, console)
            _end(parent, _status(error, outcome), outcome)
            if tracking.enabled:
                _deliver_rest(parent, is_late, console)


def _parent_run(record: SweepRecord, tracking: TrackingConfig) -> RunFile:
    """The sweep as a run of its own in MLflow, as it was tracked before or new."""
    run = take_up(record.folder, record.name, tracking, Path.cwd())
    tags = {
        SWEEP_TAG: record.name,
        f"{SWEEP_TAG}.overrides": shlex.join(record.overrides),
        f"{SWEEP_TAG}.command": shlex.join(["resetrl", *sys.argv[1:]]),
        RUN_FOLDER_TAG: str(record.folder.resolve()),
        "mlflow.source.name": "resetrl train -m",
        "mlflow.source.type": "LOCAL",
        **code_tags(Path.cwd()),
    }
    tags = {name: cut(redacted(value), MAX_TAG_LEN) for name, value in tags.items()}
    file = RunFile(record.folder, run)
    file.change(lambda run: replace(run, tags={**tracking.tags, **tags}))
    return file


def _announce(parent: RunFile, console: Console) -> bool:
    """Create the store and the parent run, before any job might; False if the store is silent."""
    with console.status("preparing the tracking store"):
        try:
            Delivery(parent).deliver()
        except StoreUnavailable as error:
            problem = str(error)
        else:
            return True
    _say(
        console,
        f"Tracking: {redacted(parent.run.uri)} does not take this sweep ({problem}). It goes on; "
        "what is missing there is sent at the end if it answers by then.",
        "yellow",
    )
    return False


def _outcome(folder: Path) -> SweepRecord:
    """The record as the launcher left it; of a launcher that keeps none, from the runs' folders."""
    record = read_sweep(folder)
    if not record.cells:
        cells = [_cell(number, run, folder) for number, run in enumerate(runs_below(folder))]
        record.cells = {cell.number: cell for cell in cells}
    return record


def _cell(number: int, run: Path, sweep: Path) -> Cell:
    name, watch = str(run.relative_to(sweep)), Watch(run)
    watch.look()
    state = STATES.get(read_run(run).status, "interrupted")
    return Cell(number, (name,), name, state, value=watch.accuracy)


def _status(error: BaseException | None, outcome: SweepRecord) -> RunStatus:
    if isinstance(error, KeyboardInterrupt):
        return "KILLED"
    failed = any(cell.state != "done" for cell in outcome.cells.values())
    return "FAILED" if error is not None or failed else "FINISHED"


def _end(parent: RunFile, status: RunStatus, outcome: SweepRecord) -> None:
    states = {f"{SWEEP_TAG}.cells": count_states(outcome.cells.values())}
    parent.change(
        lambda run: replace(run, status=status, ended=time.time(), tags={**run.tags, **states})
    )


def _deliver_rest(parent: RunFile, is_late: bool, console: Console) -> None:
    """Send what MLflow has not got of the sweep; a parent that was late gets all its children."""
    folder = parent.folder
    runs = [run for run in runs_below(folder) if is_late or not read_run(run).is_delivered]
    try:
        for each in (folder, *runs):
            sync(each)
    except ResetrlError as error:
        command = f"resetrl tracking sync {shlex.quote(str(folder))}"
        _say(console, f"Tracking: {error}. Send the rest with: {command}", "yellow")
        return
    where = redacted(parent.run.uri)
    if sqlite_path(parent.run.uri) is not None:
        where = f"mlflow ui --backend-store-uri {shlex.quote(where)}"
    _say(console, f"MLflow  {where}")


def _say(console: Console, sentence: str, style: str = "") -> None:
    console.print(sentence, style=style, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _terminable() -> Iterator[None]:
    """Within it SIGTERM, which a cluster sends before it kills, is a KeyboardInterrupt."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def failures(cells: Sequence[Cell]) -> str:
    """`1 of 12 cells failed`, empty if none did; an equal cell that did not run is not counted."""
    ran = [cell for cell in cells if cell.same_as is None]
    failed = sum(cell.state == "failed" for cell in ran)
    return f"{failed} of {len(ran)} cells failed" if failed else ""
