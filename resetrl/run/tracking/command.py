"""`resetrl tracking`: what was not sent to MLflow while a run went on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Send runs to MLflow that it has not got.", no_args_is_help=True)


@app.callback()
def tracking() -> None:
    """Send runs to MLflow that it has not got."""


@app.command("sync")
def sync_command(
    run: Annotated[Path, typer.Argument(help="The run folder.")],
    uri: Annotated[
        str | None, typer.Option(help="Another store or server than the run was made with.")
    ] = None,
) -> None:
    """Send a run's metrics, parameters, tags and artifacts; what arrived before is not sent again.

    Example: resetrl tracking sync runs/2026-01-31_12-00-00-srpo-seed0 --uri http://host:5000
    """
    from resetrl.run.tracking import sync

    report = sync(run.resolve(), uri)
    typer.echo(
        f"sent {report.num_metrics} metric values of {run.name} to {report.uri}: "
        f"run {report.run_id}, {report.status}"
    )
