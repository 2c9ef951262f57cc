"""The commands `resetrl compare` and `resetrl diff`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

STORE = "sqlite:///mlflow.db"


def compare(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN_OR_SWEEP",
            help="Folders, MLflow ids, or enough of the names of runs or sweeps; all runs of the "
            "experiment if left out.",
        ),
    ] = None,
    where: Annotated[
        str, typer.Option(help="MLflow filter: \"tags.method = 'srpo'\".", metavar="FILTER")
    ] = "",
    experiment: Annotated[
        str | None, typer.Option(help="The MLflow experiment to look in.")
    ] = None,
    uri: Annotated[str | None, typer.Option(help=f"The MLflow store ({STORE}).")] = None,
    by: Annotated[
        str | None,
        typer.Option(help="Tags or parameters to group by (method): method,task.min_hard"),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="The factor value to compare the others with: grpo")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="What is compared; higher is better (eval/accuracy).")
    ] = None,
    x: Annotated[
        str | None,
        typer.Option(
            "--x", help="Axis of curves and times: step, rollouts, generated_tokens, seconds, flops"
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(help="A run's value: last, best, or auc (mean height of its curve)."),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Also tell when runs reach this value.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for tables, figures, report (comparisons/...).", metavar="FOLDER"
        ),
    ] = None,
    from_report: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Make it all again from a report.json, without any store.",
            metavar="FILE",
        ),
    ] = None,
) -> None:
    """Compare runs honestly: tables, learning curves, intervals and a report.

    Examples: `resetrl compare my-sweep --baseline grpo --threshold 0.8`,
    `resetrl compare --where "params.steps = '80'" --by method,split --x generated_tokens`.
    """
    from rich.console import Console

    from resetrl.compare.load import Request
    from resetrl.compare.session import compare_from_report, compare_from_store

    given = {
        "by": None if by is None else tuple(name.strip() for name in by.split(",")),
        "baseline": baseline,
        "metric": metric,
        "x": x,
        "at": at,
        "threshold": threshold,
    }
    given = {name: value for name, value in given.items() if value is not None}
    console = Console(highlight=False)
    request = Request(tuple(runs or ()), where, experiment, uri or STORE)
    if from_report is None:
        compare_from_store(request, given, out, console)
    else:
        named = [
            name
            for name, value in (
                ("runs", runs),
                ("--where", where),
                ("--experiment", experiment),
                ("--uri", uri),
            )
            if value
        ]
        compare_from_report(from_report, named, given, out, console)


def diff(
    run_a: Annotated[str, typer.Argument(help="A run's folder, MLflow id, or enough of its name.")],
    run_b: Annotated[str, typer.Argument(help="Another one.")],
    uri: Annotated[str, typer.Option(help="The MLflow store.")] = STORE,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with everything.")] = False,
) -> None:
    """What differs between two runs: configuration, code, data, plugins, results.

    Example: resetrl diff runs/2026-01-31_12-00-00-grpo-seed0 runs/2026-01-31_12-05-00-srpo-seed0
    """
    from rich.console import Console

    from resetrl.compare.diff import show_diff

    show_diff(run_a, run_b, uri, as_json, Console(highlight=False))
