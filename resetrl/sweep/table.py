"""The cells of a sweep on the terminal: live (or a line for each change), and at the end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from resetrl.errors import ResetrlError
from resetrl.run.tracking.journal import JOURNAL, read_records
from resetrl.sweep.record import LOG_FILE, Cell, CellState, SweepRecord

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

STYLES = {"running": "cyan", "done": "green", "failed": "bold red", "interrupted": "yellow"}
SHOWN_FIRST = ("running", "failed", "interrupted", "done", "waiting")
LOG_LINES = 12
TAIL_BYTES = 8192


@dataclass
class Watch:
    """How far a running job is, read from the journal in its folder as it grows."""

    folder: Path
    steps: int | None = None
    started: float = field(default_factory=time.monotonic)
    step: int | None = None
    accuracy: float | None = None
    _offset: int = 0

    def look(self) -> None:
        """Read what is new; a journal that is not there yet, or damaged, shows nothing."""
        journal = self.folder / JOURNAL
        with suppress(OSError, ResetrlError):
            if journal.stat().st_size < self._offset:  # a resumed run cuts it
                self._offset = 0
            for record, offset in read_records(journal, self._offset):
                self._offset, self.step = offset, record.step
                self.accuracy = record.metrics.get("eval/accuracy", self.accuracy)


class SweepView:
    """Shows a sweep while it runs: a table that moves, or a line for each change."""

    def __init__(self, record: SweepRecord, numbers: Sequence[int], console: Console) -> None:
        self._record = record
        self._labels = labels([record.cells[number] for number in numbers])
        self._console = console
        self._watches: dict[int, Watch] = {}
        self._live: Live | None = None

    def __enter__(self) -> SweepView:
        if self._console.is_terminal:
            from rich.live import Live

            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
            self.refresh()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def started(self, cell: Cell, steps: int | None) -> None:
        self._watches[cell.number] = Watch(self._record.folder_of(cell), steps)
        self._line(f"{self._name(cell)} starts in {cell.folder}")

    def ended(self, cell: Cell) -> None:
        self._watches.pop(cell.number, None)
        self._line(f"{self._name(cell)} {outcome(cell)}")

    def say(self, sentence: str, style: str = "") -> None:
        """Something about the sweep as a whole, above the table."""
        self._console.print(sentence, style=style, markup=False, highlight=False, soft_wrap=True)

    def found(self, cell: Cell) -> None:
        """A cell that was finished before this command."""
        value = "" if cell.value is None else f": {cell.value:.3f}"
        self._line(f"{self._name(cell)} was done before{value}")

    def refresh(self) -> None:
        """Look at what the running jobs have written and draw the table anew."""
        for watch in self._watches.values():
            watch.look()
        if self._live is not None:
            self._live.update(self._table(), refresh=True)

    def _name(self, cell: Cell) -> str:
        label = self._labels.get(cell.number)
        return f"cell {cell.number} ({label})" if label else f"cell {cell.number}"

    def _line(self, text: str) -> None:
        if self._live is None:
            self.say(text)

    def _table(self) -> Table:
        cells = [self._record.cells[number] for number in self._labels]
        room = max(self._console.height - 5, 3)
        by_priority = sorted(cells, key=lambda cell: SHOWN_FIRST.index(cell.state))
        shown = sorted(by_priority[:room], key=lambda cell: cell.number)
        table = cell_table(shown, self._labels, self._watches)
        hidden = len(cells) - len(shown)
        table.caption = count_states(cells) + (f"; {hidden} not shown" if hidden else "")
        return table


def print_cells(record: SweepRecord, console: Console) -> None:
    """What happened to every cell, and the last lines of each failed one's log."""
    cells = [record.cells[number] for number in sorted(record.cells)]
    if not cells:
        return
    names = labels(cells)
    console.print(cell_table(cells, names, {}))
    for cell in cells:
        if cell.state != "failed" or cell.same_as is not None:
            continue
        log = record.folder_of(cell) / LOG_FILE
        lines = last_lines(log, LOG_LINES)
        told = "" if lines and cell.reason in lines[-1] else f": {cell.reason}"
        console.print(f"\n[bold red]cell {cell.number}[/] ", end="")
        about = f"({names[cell.number]}) failed{told}; the end of {log}:"
        for line in (about, *(f"  {line}" for line in lines)):
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def cell_table(
    cells: Iterable[Cell], names: Mapping[int, str], watches: Mapping[int, Watch]
) -> Table:
    """One row a cell: number, what sets it apart, state, step if watched, accuracy, seconds."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption_justify="left")
    table.add_column("cell", justify="right")
    table.add_column("overrides", overflow="fold")
    table.add_column("state")
    for name in ("step", "accuracy", "seconds") if watches else ("accuracy", "seconds"):
        table.add_column(name, justify="right")
    for cell in cells:
        watch = watches.get(cell.number)
        value, seconds, step = cell.value, cell.seconds, [""] if watches else []
        if watch is not None:
            value, seconds = watch.accuracy, time.monotonic() - watch.started
            step = ["" if watch.step is None else f"{watch.step}/{watch.steps or '?'}"]
        table.add_row(
            str(cell.number),
            Text(names.get(cell.number, "")),
            Text(state(cell), style=STYLES.get(cell.state, "")),
            *step,
            "" if value is None else f"{value:.3f}",
            f"{seconds:.0f}" if seconds else "",
        )
    return table


def labels(cells: Sequence[Cell]) -> dict[int, str]:
    """The overrides that set each cell apart: `{0: "method=grpo seed=0", 1: "method=srpo ..."}`.

    What all cells share is left out, unless there is only one cell; so are hydra's own.
    """
    counts = Counter(
        item for cell in cells for item in set(cell.overrides) if not item.startswith("hydra.")
    )
    is_shown = {item for item in counts if counts[item] < len(cells) or len(cells) == 1}
    return {
        cell.number: " ".join(
            item for item in cell.overrides if item in is_shown and item not in cell.left_out
        )
        for cell in cells
    }


def state(cell: Cell) -> str:
    """`done`, or `as 0` for a cell in whose place an equal one runs."""
    return cell.state if cell.same_as is None else f"as {cell.same_as}"


def outcome(cell: Cell) -> str:
    """`done: 0.975 after 12 s`, `failed after 3 s: split 4 + 5 = 9 exceeds budget=8 ...`."""
    if cell.same_as is not None:
        return f"is the same as cell {cell.same_as} and does not run again"
    after = f" after {cell.seconds:.0f} s"
    if cell.state == "failed":
        return f"failed{after}: {cell.reason}"
    value = "" if cell.value is None else f": {cell.value:.3f}"
    return f"{cell.state}{value}{after}"


def count_states(cells: Iterable[Cell]) -> str:
    """`9 done, 1 failed, 2 waiting`; a cell that another runs for is not counted."""
    counts = Counter(cell.state for cell in cells if cell.same_as is None)
    order: tuple[CellState, ...] = ("done", "failed", "interrupted", "running", "waiting")
    return ", ".join(f"{counts[name]} {name}" for name in order if counts[name])


def last_lines(path: Path, most: int) -> list[str]:
    """The last lines of a text file that are not empty, none if there is no such file."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(path.stat().st_size - TAIL_BYTES, 0))
            text = stream.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()][-most:]
