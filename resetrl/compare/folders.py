"""Runs as their folders hold them: no store, no server, all on this machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resetrl.compare.records import CompareError
from resetrl.errors import ResetrlError
from resetrl.run.names import runs_below
from resetrl.run.rollouts import evaluation_file, read_evaluation
from resetrl.run.tracking.facts import mlflow_name
from resetrl.run.tracking.journal import JOURNAL, is_being_written, read_journal
from resetrl.run.tracking.query import History
from resetrl.run.tracking.spool import RUN_FILE, SWEEP_FILE, read_run

SCORES = {"eval/accuracy": "correct", "eval/reward": "reward"}
"""The metrics that are means over problems, and what the answers call them."""


@dataclass(frozen=True)
class FoundRun:
    """A run wherever it was found; `histories` are those that were asked for, `last` all metrics.

    `uri` is the store it is tracked in, `folder` where it lies on this machine, None if it does
    not.
    """

    run_id: str
    name: str
    status: str
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    histories: Mapping[str, History] = field(default_factory=dict)
    last: Mapping[str, float] = field(default_factory=dict)
    uri: str = ""
    folder: Path | None = None


@dataclass(frozen=True)
class Answers:
    """The answers of one evaluation: what each problem was (`problems` identifies all of them).

    `rows` are those of a table: `{"uid": "chain-eval-0", "correct": True, "reward": 1.0, ...}`.
    """

    rows: Sequence[Mapping[str, Any]]

    def scores(self, column: str) -> dict[str, float]:
        return {str(row["uid"]): float(row[column]) for row in self.rows}

    @property
    def problems(self) -> str:
        """A hash of uids, questions and references, "" of no answers."""
        texts = sorted(f"{row['uid']}\t{row['question']}\t{row['reference']}" for row in self.rows)
        return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12] if texts else ""


def run_folders(folder: Path) -> list[Path]:
    """The folder if it is a run's, else the runs below it; raises CompareError if there is none."""
    if (folder / JOURNAL).is_file():
        return [folder]
    found = list(runs_below(folder))
    if not found and (folder / RUN_FILE).is_file():
        found = [folder]
    if not found:
        raise CompareError(
            f"{folder} holds no run: give the folder of a run or a sweep, such as "
            "runs/2026-01-31_12-00-00-srpo-seed0"
        )
    return found


def cells_without_run(sweep: Path) -> list[FoundRun]:
    """What a sweep's `sweep.json` knows of cells that left no run: failed, or never started.

    Example: `[FoundRun("", "3-srpo-seed1", "FAILED", folder=...)]`
    """
    file = sweep / SWEEP_FILE
    if not file.is_file():
        return []
    try:
        cells = [
            (str(row["folder"] or row["number"]), str(row["state"]))
            for row in json.loads(file.read_bytes())["cells"]
            if row.get("same_as") is None
        ]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        return [FoundRun("", SWEEP_FILE, f"UNREADABLE: {error}", folder=file)]
    return [
        FoundRun("", name, state.upper(), folder=sweep / name)
        for name, state in cells
        if state != "done" and not (sweep / name / RUN_FILE).is_file()
    ]


def read_folder(folder: Path, metrics: Collection[str]) -> FoundRun:
    """The run of a folder with the histories of some metrics.

    A run that never started or is damaged has that as its status; nothing is raised for it.
    """
    folder = folder.resolve()
    if not (folder / RUN_FILE).is_file():
        return FoundRun("", folder.name, "NOT STARTED", folder=folder)
    try:
        run = read_run(folder)
        journal = folder / JOURNAL
        records = read_journal(journal) if journal.is_file() else []
    except ResetrlError as error:
        return FoundRun("", folder.name, f"UNREADABLE: {error}", folder=folder)
    histories: dict[str, dict[int, float]] = {}
    last: dict[str, float] = {}
    for record in records:
        for raw, value in record.metrics.items():
            name = mlflow_name(raw)
            last[name] = value
            if name in metrics:
                histories.setdefault(name, {})[record.step] = value
    is_dead = run.status == "RUNNING" and not (journal.is_file() and is_being_written(journal))
    return FoundRun(
        run_id=run.run_id,
        name=run.name,
        status="KILLED" if is_dead else run.status,
        tags=run.tags,
        params=run.params,
        histories={name: sorted(values.items()) for name, values in histories.items()},
        last=last,
        uri=run.uri,
        folder=folder,
    )


def read_answers(folder: Path, step: int) -> Answers:
    """The answers of the evaluation after a step, none if they were not kept.

    Raises RolloutsError if they are damaged.
    """
    file = evaluation_file(folder, step)
    if not file.is_file():
        return Answers(())
    return Answers(
        [
            {
                "uid": answer.uid,
                "question": answer.question,
                "reference": answer.reference,
                "correct": answer.correct,
                "reward": answer.reward,
            }
            for answer in read_evaluation(file)
        ]
    )
