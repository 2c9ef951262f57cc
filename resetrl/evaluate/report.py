"""What both commands do with their figures: a bar meanwhile, files, MLflow, and where to look."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from resetrl.errors import ConfigError
from resetrl.estimate import Estimate
from resetrl.interfaces import EngineCounters
from resetrl.run.context import RunContext
from resetrl.run.tracking import Tracking, TrackingConfig
from resetrl.run.tracking.files import write_atomically
from resetrl.run.tracking.journal import JOURNAL, is_being_written
from resetrl.run.tracking.spool import RESULTS, TABLE


class Tokens(ProgressColumn):
    """Tokens generated so far, read from the engine, so that a long call shows life."""

    def __init__(self, counters: EngineCounters) -> None:
        super().__init__()
        self._counters = counters

    def render(self, task: Task) -> Text:
        return Text(f"{self._counters.generated_tokens:,} tokens")


def answer_bar(console: Console, counters: EngineCounters) -> Progress:
    """A bar over problems with the tokens generated; nothing where output is no terminal."""
    return Progress(
        TextColumn("[bold]{task.description}"),
        MofNCompleteColumn(),
        BarColumn(bar_width=None),
        Tokens(counters),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )


@contextmanager
def tracked(
    context: RunContext, config: TrackingConfig, command: str, tags: Mapping[str, str]
) -> Iterator[Tracking]:
    """The run in MLflow while its figures are made; it ends there as it ends here.

    Raises ConfigError if another process is at work in the same folder.
    """
    journal = context.folder / JOURNAL
    if journal.exists() and is_being_written(journal):
        raise ConfigError(
            f"another process is at work in {context.folder}: wait for it, or choose another out"
        )
    tags = {"command": command, "mlflow.source.name": f"resetrl {command}", **tags}
    tracking = Tracking(config, tags)
    tracking.start(context)
    error: BaseException | None = None
    try:
        yield tracking
    except BaseException as caught:
        error = caught
        raise
    finally:
        tracking.finish(error)


@dataclass(frozen=True)
class Results:
    """Figures in the forms in which they are kept.

    `summary` becomes results.json, `rows` results.csv, `table` (equal keys in every row) the
    table of problems in MLflow.
    """

    summary: Mapping[str, object]
    rows: Sequence[Mapping[str, object]]
    table: Sequence[Mapping[str, object]]

    def write(self, folder: Path) -> None:
        """Write all three; raises ResetrlError, what was there before kept, if the disk refuses."""
        as_json, as_csv = (folder / name for name in RESULTS)
        write_atomically(as_json, json.dumps(self.summary, indent=1, allow_nan=False).encode())
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomically(as_csv, text.getvalue().encode())
        columns = list(self.table[0])
        data = [[row[column] for column in columns] for row in self.table]
        write_atomically(
            folder / TABLE, json.dumps({"columns": columns, "data": data}, indent=1).encode()
        )


def number(value: float) -> float | None:
    """A figure for JSON and CSV: None where it is not one."""
    return value if math.isfinite(value) else None


def as_numbers(estimate: Estimate) -> dict[str, float | None]:
    """A figure with its interval for JSON and CSV."""
    return {
        "value": number(estimate.value),
        "low": number(estimate.low),
        "high": number(estimate.high),
    }


def flat(name: str, estimate: Estimate) -> dict[str, float]:
    """A figure as metrics: `name`, `name_low` and `name_high`, those that are numbers."""
    values = {
        name: estimate.value,
        f"{name}_low": estimate.low,
        f"{name}_high": estimate.high,
    }
    return {key: value for key, value in values.items() if number(value) is not None}


def interval(estimate: Estimate) -> str:
    """`[0.943, 0.989]`, or a dash where there is no interval."""
    if math.isnan(estimate.low):
        return "-"
    return f"[{estimate.low:.3f}, {estimate.high:.3f}]"


def plain_table(*columns: str) -> Table:
    """A table without lines whose first column is text and whose others are figures."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left", no_wrap=True)
    return table


def print_places(folder: Path, tracking: Tracking, console: Console) -> None:
    """Where the figures are."""
    console.print(f"\nresults  {folder / RESULTS[0]}", markup=False, soft_wrap=True)
    if tracking.status is not None:
        console.print(f"MLflow   {tracking.status.command}", markup=False, soft_wrap=True)
