"""What `resetrl compare` does: read, compare, print, write, log to the sweep."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from resetrl import __version__
from resetrl.compare.analysis import Comparison, compare_runs
from resetrl.compare.load import Parent, Request, load
from resetrl.compare.records import CompareError, Question
from resetrl.compare.report import check_free, make_files, read_report, write_files
from resetrl.compare.show import print_comparison
from resetrl.errors import ResetrlError
from resetrl.run.tracking.facts import mlflow_name
from resetrl.run.tracking.files import free_folder
from resetrl.run.tracking.query import RunQuery


def compare_from_store(
    request: Request, given: Mapping[str, Any], out: Path | None, console: Console
) -> None:
    """Compare the runs that a request names."""
    if "metric" in given:
        given = {**given, "metric": mlflow_name(str(given["metric"]))}
    question = Question(**given)
    if out is not None:
        check_free(out)
    with console.status("reading runs"):
        loaded = load(request, question)
    question = Question(
        **{
            **asdict(question),
            "source": loaded.source,
            "created": datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
            "version": __version__,
        }
    )
    folder = out or free_folder(Path("comparisons") / _name(request, question))
    comparison = compare_runs(loaded.runs, question)
    paths = _publish(comparison, folder, console)
    if loaded.parent is not None:
        _log(loaded.parent, paths, folder.name, console)


def compare_from_report(
    file: Path,
    refused: Sequence[str],
    given: Mapping[str, Any],
    out: Path | None,
    console: Console,
) -> None:
    """Make a comparison again from its report, or ask its runs something else.

    `refused` names options that only a store can answer.
    """
    if refused:
        raise CompareError(
            f"--from {file} has its runs in it: leave out {', '.join(refused)}, or --from"
        )
    stored, runs = read_report(file)
    for name in ("metric", "x"):
        if given.get(name, before := getattr(stored, name)) != before:
            raise CompareError(
                f"{file} holds {before}, not {given[name]}: leave out --{name}, or compare the "
                "runs anew"
            )
    folder = out or (file if file.is_dir() else file.parent)
    check_free(folder)
    question = Question(**{**asdict(stored), **given})
    _publish(compare_runs(runs, question), folder, console)


def _publish(comparison: Comparison, folder: Path, console: Console) -> list[Path]:
    """Print the comparison and write its files."""
    print_comparison(console, comparison)
    with console.status("drawing"):
        made = make_files(comparison)
    paths = write_files(folder, made)
    console.print(Text(f"\nWrote tables, figures and report to {folder}"))
    console.print(Text(f"Look at {folder / 'report.html'}"))
    return paths


def _log(parent: Parent, paths: Sequence[Path], name: str, console: Console) -> None:
    """Log the files to the sweep's own run; a store that refuses is only warned of."""
    try:
        RunQuery(parent.uri).log_files(parent.run_id, paths, f"comparisons/{name}")
    except ResetrlError as error:
        console.print(
            Text(f"The sweep's run {parent.run_id} did not take the report: {error}", "yellow")
        )
    else:
        console.print(Text(f"Logged to the sweep's run {parent.run_id}"))


def _name(request: Request, question: Question) -> str:
    """A folder name: `my-sweep-by-method`."""
    names = [Path(name).resolve().name for name in request.names]
    what = "-".join(names[:2]) or request.experiment or "runs"
    slug = re.sub(r"[^\w.-]+", "-", f"{what}-by-{'-'.join(question.by)}")
    return slug.strip("-.")[:80]
