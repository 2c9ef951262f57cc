"""A comparison in the terminal; it reads the same without colour."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from resetrl.compare.analysis import Comparison
from resetrl.compare.tables import INTERVAL, tables


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Print the tables, then what limits them."""
    for table in tables(comparison):
        shown = RichTable(
            title=Text(table.title, "bold"),
            title_justify="left",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
        )
        for place, header in enumerate(table.headers):
            is_factor = place < table.num_factors
            shown.add_column(
                Text(header.replace(INTERVAL, "[95 %]")),
                justify="left" if is_factor else "right",
                style="bold" if is_factor else "",
            )
        for row in table.rows:
            shown.add_row(*map(Text, row))
        console.print(shown)
    for caution in comparison.cautions:
        console.print(Text.assemble((f"{caution.title}: ", "bold yellow"), f"{caution.text}."))
