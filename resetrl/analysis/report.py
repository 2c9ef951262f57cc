"""What both ways of looking at localization print and write."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from resetrl.analysis.plots import write_plot
from resetrl.analysis.tables import TABLES, Runs, tables, write_tables
from resetrl.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console


ROOT = "localizations"
"""Where both keep what they find, below the current folder."""

WIDTH = 110
"""Columns of the tables at least, so that no interval is broken over two lines."""


def check_free(folder: Path) -> None:
    """Raise ConfigError if the tables of an earlier analysis lie there."""
    if (folder / TABLES).exists():
        raise ConfigError(
            f"--out {folder} holds {TABLES} of an earlier analysis: choose another folder, or move "
            "it"
        )


def report(runs: Runs, folder: Path, console: Console) -> None:
    """Print the tables; write them, every reset, and the picture into a folder."""
    from rich.console import Console
    from rich.table import Table

    wide = Console(highlight=False, width=max(console.width, WIDTH))
    for table in tables(runs):
        wide.print(table.title, style="italic")
        shown = Table(box=None, pad_edge=False)
        for place, header in enumerate(table.headers):
            shown.add_column(header, justify="right" if place else "left")
        for row in table.rows:
            shown.add_row(*row)
        wide.print(shown)
        wide.print()
    files = [*write_tables(runs, folder), write_plot(runs, folder / "localization.png")]
    console.print(f"wrote {', '.join(map(str, files))}", soft_wrap=True)
