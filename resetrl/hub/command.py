"""The command `resetrl task pin`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Tasks made of published data sets.", no_args_is_help=True)


@app.callback()
def task() -> None:
    """Tasks made of published data sets."""


@app.command("pin")
def pin(
    name: Annotated[str, typer.Argument(help="A data set, such as gsm8k, or a manifest's path.")],
    folder: Annotated[
        str, typer.Option(help="Read the files in there in place of the hub's.")
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option(
            help="The file to write: by default pin.yaml in the folder, or NAME.pin.yaml."
        ),
    ] = None,
) -> None:
    """Read a data set, count and hash its problems, and write that down for later runs to check.

    A run finds pin.yaml in its task.folder by itself; any other file is given as task.pin=FILE.
    """
    from resetrl.hub.pin import pin_data_set

    for line in pin_data_set(name, folder, out):
        typer.echo(line)
