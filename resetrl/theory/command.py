"""The command `resetrl theory`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def theory(
    quick: Annotated[
        bool, typer.Option("--quick", help="Smaller sweeps: under half a minute.")
    ] = False,
    out: Annotated[
        Path, typer.Option(help="Folder for CSV files, plots and the MLflow database.")
    ] = Path("theory"),
    rng_seed: Annotated[int, typer.Option(help="Seed of every random draw.", min=0)] = 0,
    p: Annotated[
        list[float] | None,
        typer.Option(
            "--p", help="Probability that a reset state is improvable; at least three times."
        ),
    ] = None,
    tau: Annotated[
        float | None, typer.Option(help="Advantage above which a state is improvable.")
    ] = None,
    horizon: Annotated[int | None, typer.Option(help="Time steps of trees and chain.")] = None,
    num_actions: Annotated[int | None, typer.Option(help="Actions of trees and chain.")] = None,
    tracking_uri: Annotated[
        str | None, typer.Option(help="MLflow store; an SQLite file in the folder if left out.")
    ] = None,
) -> None:
    """Measure what a credit-assignment oracle is worth: CPI-CARO against CPI-RR, with verdicts."""
    from resetrl.theory.session import Dials, run_session

    dials = Dials(tuple(p) if p else None, tau, horizon, num_actions)
    run_session(quick, out, rng_seed, dials, tracking_uri)
