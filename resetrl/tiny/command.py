"""`resetrl tiny`: rebuild the policy that ships with resetrl."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The small built-in policy.", no_args_is_help=True)


@app.callback()
def options() -> None:
    """The small built-in policy."""


@app.command()
def build(
    folder: Annotated[
        Path, typer.Argument(help="Where to write it; an existing model there is replaced.")
    ] = Path("tiny"),
) -> None:
    """Warm-start the tiny policy from its recipe and compare it with the shipped weights."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from resetrl import tiny

    console = Console(highlight=False)
    with Progress(
        TextColumn("warm start"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(compact=True),
        console=console,
    ) as progress:
        task = progress.add_task("", total=None)

        def show(done: int, total: int, loss: float) -> None:
            progress.update(task, completed=done, total=total, description=f"loss {loss:.3f}")

        tiny.build(folder, show)
    built, shipped = tiny.weights_hash(folder), tiny.weights_hash(tiny.folder())
    same = "equal to" if built == shipped else f"not equal to (hash {shipped[:16]})"
    console.print(f"wrote {folder} (recipe {tiny.recipe_hash()[:16]}, weights {built[:16]})")
    console.print(f"the weights are {same} the shipped ones", soft_wrap=True)
    if built != shipped:
        console.print(
            "Another processor or another version of torch rounds differently; on one machine "
            "every build is the same to the last bit."
        )
