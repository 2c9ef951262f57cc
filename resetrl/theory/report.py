"""What the lab leaves behind: the table, two CSV files, the plots, an MLflow run."""

from __future__ import annotations

import csv
import math
import time
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.table import Table

from resetrl.theory.results import Finding, LabResult

if TYPE_CHECKING:
    from resetrl.run.tracking.store import Store

EXPERIMENT = "resetrl-theory"
SLOPES_CSV = "slopes.csv"
CURVES_CSV = "curves.csv"
ORACLES_CSV = "oracles.csv"


def findings_table(findings: Sequence[Finding]) -> Table:
    """Returns the table of claimed exponents, measured slopes, intervals and verdicts."""
    table = Table(
        title="Theory lab: log-log slopes (* implied by the paper's claims)",
        title_justify="left",
        box=SIMPLE,
        padding=(0, 1, 0, 0),
    )
    for name in ("quantity", "dial"):
        table.add_column(name)
    for name in ("claim", "slope", "95 % interval", "exact"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for finding in findings:
        table.add_row(
            finding.quantity,
            finding.dial,
            _claimed(finding),
            f"{finding.slope.value:.2f}",
            f"{finding.slope.low:.2f} to {finding.slope.high:.2f}",
            _number(finding.exact, ".2f"),
            finding.verdict,
            style="" if finding.verdict in ("agrees", "no claim") else "yellow",
        )
    return table


def explanations(findings: Sequence[Finding]) -> list[str]:
    """Returns why, for every reason that applies, with the quantities that it applies to."""
    apart: dict[str, list[str]] = {}
    for finding in findings:
        if finding.reason and finding.verdict.startswith(("excluded", "no claim")):
            apart.setdefault(finding.reason, []).append(f"{finding.quantity} over {finding.dial}")
    return [f"{'; '.join(names)}: {reason}." for reason, names in apart.items()]


def write_csv(result: LabResult, folder: Path) -> list[Path]:
    """Writes slopes, curves and oracle gains; returns the files."""
    slopes = (
        (
            finding.quantity,
            finding.dial,
            _number(finding.claimed),
            finding.source,
            _number(finding.slope.value),
            _number(finding.slope.low),
            _number(finding.slope.high),
            _number(finding.exact),
            finding.verdict,
            finding.reason,
        )
        for finding in result.findings
    )
    slope_columns = (
        *("quantity", "dial", "claimed", "source", "slope", "low", "high", "exact_slope"),
        *("verdict", "reason"),
    )
    points = []
    for group, curves in result.curves.items():
        for curve in curves:
            low, high = curve.interval()
            columns = (curve.x, curve.y, low, high, curve.exact)
            for row in zip(*columns, strict=True):
                numbers = (_number(float(value)) for value in row)
                points.append((group, curve.label, curve.x_name, *numbers))
    oracle_columns = tuple(result.oracle_points[0].__dataclass_fields__)
    oracles = [
        tuple(getattr(point, name) for name in oracle_columns) for point in result.oracle_points
    ]
    rounded = [
        tuple(_number(cell) if isinstance(cell, float) else cell for cell in row) for row in oracles
    ]
    return [
        _write(folder / SLOPES_CSV, slope_columns, slopes),
        _write(
            folder / CURVES_CSV,
            ("group", "curve", "x_name", "x", "y", "low", "high", "exact"),
            points,
        ),
        _write(folder / ORACLES_CSV, oracle_columns, rounded),
    ]


def prepare_mlflow(uri: str) -> Store:
    """Returns a connected store with the lab's experiment; a fresh database takes seconds."""
    from resetrl.run.tracking.store import Store

    store = Store(uri)
    store.experiment_id(EXPERIMENT)
    return store


def log_to_mlflow(result: LabResult, store: Store, files: Sequence[Path]) -> str:
    """Logs parameters, slopes and files as one finished MLflow run; returns its id."""
    from resetrl.run.tracking.facts import flat_params
    from resetrl.run.tracking.journal import JournalRecord
    from resetrl.run.tracking.spool import TrackedRun

    preset = {name: str(getattr(result.preset, name)) for name in vars(result.preset)}
    now = time.time()
    run = TrackedRun(
        key=uuid.uuid4().hex,
        name=f"theory-seed{result.rng_seed}",
        uri=store.uri,
        experiment=EXPERIMENT,
        started=now - result.seconds,
        status="FINISHED",
        ended=now,
        params=flat_params({**preset, "rng_seed": result.rng_seed}),
        tags={"resetrl.verdicts": _verdicts(result.findings)},
    )
    run_id = store.attach(run)
    metrics: dict[str, float] = {"seconds": result.seconds}
    for finding in result.findings:
        name = f"{finding.quantity} over {finding.dial}"
        metrics[f"slope/{name}"] = finding.slope.value
        metrics[f"low/{name}"] = finding.slope.low
        metrics[f"high/{name}"] = finding.slope.high
    store.send_metrics([JournalRecord(0, now, metrics)])
    for path in files:
        store.send_artifact(path)
    store.terminate(run)
    return run_id


def _verdicts(findings: Sequence[Finding]) -> str:
    kinds: dict[str, int] = {}
    for finding in findings:
        kinds[finding.verdict] = kinds.get(finding.verdict, 0) + 1
    return "; ".join(f"{verdict}: {count}" for verdict, count in sorted(kinds.items()))


def _claimed(finding: Finding) -> str:
    if finding.claimed is None:
        return "-"
    return f"{finding.claimed:g}" + ("*" if finding.source == "implied" else "")


def _number(value: float | None, form: str = ".6g") -> str:
    return "" if value is None or math.isnan(value) else format(value, form)


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
    return path
