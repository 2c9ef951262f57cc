"""`sweep.json`: what a sweep is to run, and what has become of every cell of it.

Folders are kept relative to the file, so that a sweep can be moved and goes on where it lies.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

from resetrl.errors import ConfigError
from resetrl.run.tracking.files import write_atomically
from resetrl.run.tracking.spool import SWEEP_FILE, SWEEP_LOCK

LOG_FILE = "job.log"
FORMAT = 1

CellState = Literal["waiting", "running", "done", "failed", "interrupted"]


@dataclass(frozen=True)
class Cell:
    """One combination of a sweep and what became of it.

    `folder` is relative to the sweep's. `value` is what the job returned, for a training run its
    last held-out accuracy. `same_as` is the cell with an equal configuration that ran in its
    place. `left_out` are the overrides that mean nothing in this cell, such as a split beside a
    method without reset groups. `reason` says why it failed.

    Example: `Cell(3, ("method=srpo", "seed=1"), "3-srpo-seed1", "done", "5f2c...", 0.975, 12.5)`
    """

    number: int
    overrides: tuple[str, ...]
    folder: str = ""
    state: CellState = "waiting"
    config_hash: str = ""
    value: float | None = None
    seconds: float = 0.0
    same_as: int | None = None
    left_out: tuple[str, ...] = ()
    reason: str = ""


class CellChanges(TypedDict, total=False):
    """What may change about a cell."""

    folder: str
    state: CellState
    config_hash: str
    value: float | None
    seconds: float
    same_as: int | None
    left_out: tuple[str, ...]
    reason: str


@dataclass
class SweepRecord:
    """The content of `sweep.json`; every change is written at once, whole or not at all.

    `overrides` are those of the command, sweeps included: `("method=grpo,srpo", "seed=range(5)")`.
    """

    folder: Path
    name: str
    overrides: tuple[str, ...] = ()
    created: float = field(default_factory=time.time)
    cells: dict[int, Cell] = field(default_factory=dict)

    def add(self, cells: Sequence[Cell]) -> None:
        """Take up cells; what is known of one with the same number and overrides is kept."""
        for cell in cells:
            known = self.cells.get(cell.number)
            if known is None or known.overrides != cell.overrides:
                self.cells[cell.number] = cell
        self.write()

    def change(self, number: int, **changes: Unpack[CellChanges]) -> Cell:
        """Change a cell and write it down."""
        self.cells[number] = replace(self.cells[number], **changes)
        self.write()
        return self.cells[number]

    def folder_of(self, cell: Cell) -> Path:
        return self.folder / cell.folder

    def write(self) -> None:
        """Raises ResetrlError, the old content kept, if the disk refuses."""
        content = {
            "format": FORMAT,
            "name": self.name,
            "overrides": list(self.overrides),
            "created": self.created,
            "cells": [asdict(self.cells[number]) for number in sorted(self.cells)],
        }
        data = json.dumps(content, indent=1).encode()
        write_atomically(self.folder / SWEEP_FILE, data, resume="sweep.resume")


def read_sweep(folder: Path) -> SweepRecord:
    """The record of a sweep's folder; a cell that was running when its sweep died is interrupted.

    Raises ConfigError if there is none, or a damaged one.
    """
    path = folder / SWEEP_FILE
    try:
        content = json.loads(path.read_bytes())
        if content["format"] != FORMAT:
            raise ConfigError(
                f"{path} has format {content['format']!r}, this resetrl reads {FORMAT}: resume "
                "with the version that wrote it"
            )
        cells = [_cell(row) for row in content["cells"]]
        return SweepRecord(
            folder,
            str(content["name"]),
            tuple(map(str, content["overrides"])),
            float(content["created"]),
            {cell.number: cell for cell in cells},
        )
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(f"{folder} is no sweep: it holds no {SWEEP_FILE}") from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path} is damaged ({error}): its runs are unharmed, each goes on with resume=; to "
            "run the whole sweep again choose another sweep.name"
        ) from error


def _cell(row: dict[str, Any]) -> Cell:
    lists = {name: tuple(row[name]) for name in ("overrides", "left_out")}
    cell = Cell(**{**row, **lists})
    return replace(cell, state="interrupted") if cell.state == "running" else cell


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a sweep's folder; raises ConfigError if another process on this machine does."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / SWEEP_LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        with suppress(OSError):  # there are file systems without locks
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigError(
                    f"the sweep in {folder} is running in another process: wait for it, or choose "
                    "another sweep.name"
                ) from None
        yield
    finally:
        os.close(descriptor)
