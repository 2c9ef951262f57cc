"""The command `resetrl analyze`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from resetrl.analysis.localization import Reset

app = typer.Typer(help="Look into what runs have saved.", no_args_is_help=True)


@app.callback()
def analyze() -> None:
    """Look into what runs have saved."""


@app.command("localization")
def localization(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN...", help="Run folders, or enough of their names."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for tables and picture.")] = Path(
        "localization"
    ),
    from_step: Annotated[int, typer.Option(help="Leave out steps before this one.", min=0)] = 0,
    to_step: Annotated[
        int | None, typer.Option(help="Leave out steps behind this one.", min=0)
    ] = None,
    min_words: Annotated[
        int,
        typer.Option(help="Thoughts of fewer words do not count in deviations.", min=0),
    ] = 0,
) -> None:
    """Where resets went back to against the first wrong thought, and what came of it.

    For runs of a task that checks steps, such as chain. Several runs are put side by side, for
    example one with self-localization, one with uniform resets and one with the oracle.
    """
    from rich.console import Console
    from rich.table import Table

    from resetrl.analysis.plots import write_plot
    from resetrl.analysis.tables import tables, write_tables
    from resetrl.show.find import find_run

    folders = {folder.resolve().name: folder for folder in map(find_run, runs)}
    found = {
        name: _resets(folder, from_step, to_step, min_words) for name, folder in folders.items()
    }
    console = Console(highlight=False)
    for table in tables(found):
        shown = Table(title=table.title, title_justify="left", box=None, pad_edge=False)
        for place, header in enumerate(table.headers):
            shown.add_column(header, justify="right" if place else "left")
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown)
        console.print()
    files = [*write_tables(found, out), write_plot(found, out / "localization.png")]
    console.print(f"wrote {', '.join(map(str, files))}", soft_wrap=True)


def _resets(folder: Path, from_step: int, to_step: int | None, min_words: int) -> list[Reset]:
    from resetrl.analysis.localization import resets_of
    from resetrl.errors import ResetrlError
    from resetrl.run.rollouts import read_groups, saved_steps

    saved = {
        step: file
        for step, file in saved_steps(folder).items()
        if step >= from_step and (to_step is None or step <= to_step)
    }
    resets = [
        reset
        for step, file in saved.items()
        for reset in resets_of(step, read_groups(file), min_words)
    ]
    if not resets:
        raise ResetrlError(
            f"{folder} has no reset with a known first wrong thought in its {len(saved)} saved "
            "steps: take a run with reset groups of a task that checks steps, such as chain, or "
            "other steps"
        )
    return resets
