"""The figures of `resetrl analyze localization` as tables: terminal, Markdown, CSV."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from resetrl.analysis.localization import (
    Corrections,
    Reset,
    by_depth,
    by_deviation,
    corrections,
    matched_difference,
    outcome_rates,
    uniform_rates,
)
from resetrl.estimate import Estimate

Runs = Mapping[str, Sequence[Reset]]
"""The resets of each run, by its name."""


TABLES = "localization.md"


@dataclass(frozen=True)
class Table:
    """A table as text; the first column names the row."""

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(runs: Runs) -> list[Table]:
    """Localization, corrections by prefix, at equal depth, by depth and by deviation."""
    return [
        _outcomes(runs),
        _statuses(runs),
        _corrections(runs),
        *(_depths(name, resets) for name, resets in runs.items()),
        *(_deviations(name, resets) for name, resets in runs.items()),
    ]


def percent(estimate: Estimate | float | None) -> str:
    """`28.7 [25.1, 32.6]`; a dash where there is nothing."""
    if estimate is None:
        return "-"
    if not isinstance(estimate, Estimate):
        return f"{100 * estimate:.1f}"
    value = f"{100 * estimate.value:.1f}"
    if math.isnan(estimate.low):
        return value
    return f"{value} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def _outcomes(runs: Runs) -> Table:
    rows = []
    for name, resets in runs.items():
        rates = outcome_rates(resets)
        rows.append((name, str(len(resets)), *map(percent, rates.values())))
        rows.append(("  uniform choice", "", *map(percent, uniform_rates(resets).values())))
    headers = ("run", "resets", "exact", "early", "late", "clean prefix")
    return Table("Where resets go back to, %", headers, tuple(rows))


def _statuses(runs: Runs) -> Table:
    known = sorted({reset.status for resets in runs.values() for reset in resets})
    rows = []
    for name, resets in runs.items():
        counts = Counter(reset.status for reset in resets)
        rows.append((name, *(percent(counts[status] / len(resets)) for status in known)))
    return Table("How the selector came to it, %", ("run", *known), tuple(rows))


def _corrections(runs: Runs) -> Table:
    rows = tuple(
        (name, *_rates(corrections(resets)), percent(matched_difference(resets)))
        for name, resets in runs.items()
    )
    headers = ("run", *_PREFIXES, "difference at equal depth")
    return Table("Resets of which some suffix is right, %", headers, rows)


_PREFIXES = ("from clean prefixes", "resets", "from erroneous ones", "resets")


def _rates(found: Corrections) -> tuple[str, ...]:
    clean, erroneous = percent(found.clean), percent(found.erroneous)
    return clean, str(found.num_clean), erroneous, str(found.num_erroneous)


def _depths(name: str, resets: Sequence[Reset]) -> Table:
    rows = tuple((str(depth), *_rates(found)) for depth, found in by_depth(resets).items())
    return Table(f"{name}: corrections by depth, %", ("thoughts kept", *_PREFIXES), rows)


def _deviations(name: str, resets: Sequence[Reset]) -> Table:
    rows = tuple(
        (f"{deviation:+d}" if deviation else "0", str(count), percent(right))
        for deviation, (count, right) in by_deviation(resets).items()
    )
    headers = ("thoughts late", "resets", "suffixes that are right")
    return Table(f"{name}: by deviation, %", headers, rows)


def write_tables(runs: Runs, folder: Path) -> list[Path]:
    """Write the tables as `localization.md` and every reset as a row of `resets.csv`."""
    folder.mkdir(parents=True, exist_ok=True)
    page, rows = folder / TABLES, folder / "resets.csv"
    page.write_text("\n".join(map(_markdown, tables(runs))), encoding="utf-8")
    with rows.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["run", *(column.name for column in fields(Reset))])
        for name, resets in runs.items():
            writer.writerows([name, *astuple(reset)] for reset in resets)
    return [page, rows]


def _markdown(table: Table) -> str:
    lines = [
        f"## {table.title}",
        "",
        f"| {' | '.join(table.headers)} |",
        f"|{'---|' * len(table.headers)}",
        *(f"| {' | '.join(row)} |" for row in table.rows),
    ]
    return "\n".join(lines) + "\n"
