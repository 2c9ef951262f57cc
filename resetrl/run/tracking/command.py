"""`resetrl tracking`: what was not sent to MLflow while a run went on."""

from __future__ import annotations

from typing import Annotated

import typer

from resetrl.run.tracking.config import redacted

app = typer.Typer(help="Send runs to MLflow that it has not got.", no_args_is_help=True)


@app.callback()
def tracking() -> None:
    """Send runs to MLflow that it has not got."""


@app.command("sync")
def sync_command(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN_OR_SWEEP", help="Folder, MLflow id, or enough of the name of one."
        ),
    ],
    uri: Annotated[
        str | None, typer.Option(help="Another store or server than the run was made with.")
    ] = None,
) -> None:
    """Send a run's metrics, parameters, tags and artifacts; what arrived before is not sent again.

    Of a sweep, that of all its runs, which become its children in MLflow. Example:
    resetrl tracking sync runs/2026-01-31_12-00-00-srpo-seed0 --uri http://host:5000
    """
    from resetrl.run.names import find_run
    from resetrl.run.tracking import sync, sync_sweep
    from resetrl.run.tracking.spool import SWEEP_FILE

    folder = find_run(run, or_sweep=True).resolve()
    is_sweep = (folder / SWEEP_FILE).exists()
    for report in sync_sweep(folder, uri) if is_sweep else [sync(folder, uri)]:
        typer.echo(
            f"sent {report.num_metrics} metric values of {report.folder.name} to "
            f"{redacted(report.uri)}: run {report.run_id}, {report.status}"
        )
