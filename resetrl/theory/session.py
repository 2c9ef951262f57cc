"""One run of the lab from the command line: settings, progress bar, table, files, MLflow."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from resetrl.errors import ConfigError
from resetrl.run.tracking.config import redacted, resolve_uri
from resetrl.run.tracking.store import StoreUnavailable
from resetrl.theory.lab import check, run_lab, stages
from resetrl.theory.plots import write_plots
from resetrl.theory.report import (
    explanations,
    findings_table,
    log_to_mlflow,
    prepare_mlflow,
    write_csv,
)
from resetrl.theory.results import FULL, QUICK, LabResult, Preset


@dataclass(frozen=True)
class Dials:
    """What the command line changes of a preset; None leaves it."""

    ps: tuple[float, ...] | None = None
    tau: float | None = None
    horizon: int | None = None
    num_actions: int | None = None

    def applied(self, preset: Preset) -> Preset:
        """Returns the preset with these dials."""
        given = {name: value for name, value in vars(self).items() if value is not None}
        return replace(preset, **given)


def run_session(
    quick: bool, out: Path, rng_seed: int, dials: Dials, tracking_uri: str | None
) -> LabResult:
    """Runs the lab and leaves table, CSV files, plots and an MLflow run.

    Raises ConfigError before anything is measured or written when the dials cannot be had. A
    store that does not answer costs the MLflow run and a line that says so, nothing else.
    """
    preset = dials.applied(QUICK if quick else FULL)
    check(preset, rng_seed)
    uri = resolve_uri(tracking_uri or "sqlite:///mlflow.db", out)
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out} is a file: name a folder for the lab's results.")
    out.mkdir(parents=True, exist_ok=True)
    console = Console(highlight=False)
    with ThreadPoolExecutor(1) as pool:
        store = pool.submit(prepare_mlflow, uri)  # seconds for a new database, beside the lab
        result = _measure(preset, rng_seed, console)
        files = [*write_csv(result, out), *write_plots(result, out)]
        console.print(findings_table(result.findings))
        for sentence in explanations(result.findings):
            console.print(f"- {sentence}", markup=False)
        console.print(f"{result.seconds:.1f} s; {', '.join(path.name for path in files)} in {out}")
        try:
            run_id = log_to_mlflow(result, store.result(), files)
            console.print(f"MLflow run {run_id}: mlflow ui --backend-store-uri {redacted(uri)}")
        except StoreUnavailable as error:
            console.print(f"not logged to MLflow at {redacted(uri)}: {error}", markup=False)
    return result


def _measure(preset: Preset, rng_seed: int, console: Console) -> LabResult:
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("measuring", total=len(stages()))
        return run_lab(
            preset,
            rng_seed,
            lambda name: progress.update(bar, advance=1, description=f"measured: {name}"),
        )
