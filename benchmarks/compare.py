"""How long `resetrl compare` takes for 100 runs of 200 evaluations each.

    python benchmarks/compare.py

Makes an SQLite store in a temporary folder, then times the command as a user would start it, with
the ledger as axis, differences and times to a threshold. Prints Markdown for RESULTS.md.
"""

from __future__ import annotations

import math
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

METHODS = ("grpo", "rrpo", "srpo", "oracle")
RUNS, POINTS = 100, 200
LEDGER = ("rollouts", "generated_tokens", "seconds", "flops")
OPTIONS = ("--baseline", "grpo", "--threshold", "0.8", "--x", "generated_tokens")


def fill_store(folder: Path) -> None:
    """100 finished runs in `mlflow.db`, each with 200 values of accuracy and of four totals."""
    from mlflow.entities import Metric

    from resetrl.run.tracking.store import Store

    store = Store(f"sqlite:///{folder / 'mlflow.db'}")
    experiment, client = store.experiment_id("resetrl"), store.connect()
    for number in range(RUNS):
        method, seed = METHODS[number % len(METHODS)], str(number // len(METHODS))
        tags = {"method": method, "seed": seed, "eval_set": "e1"}
        run = client.create_run(experiment, tags=tags, run_name=f"{method}-seed{seed}")
        metrics = [Metric(*point) for point in curve(number)]
        for start in range(0, len(metrics), 1000):
            client.log_batch(run.info.run_id, metrics=metrics[start : start + 1000])
        client.set_terminated(run.info.run_id)


def curve(number: int) -> list[tuple[str, float, int, int]]:
    """(metric, value, time, step) of one simulated run."""
    rng = random.Random(number)
    speed = 40 - 5 * (number % len(METHODS))
    points = []
    for step in range(POINTS):
        accuracy = 0.4 + 0.55 * (1 - math.exp(-step / speed)) + rng.gauss(0, 0.01)
        points.append(("eval/accuracy", accuracy, 0, step))
        points += [(f"total/{name}", step * (1 + number / 200), 0, step) for name in LEDGER]
    return points


def timed(arguments: list[str], folder: Path) -> str:
    """Seconds until the command ends, and seconds of CPU, as cells of a table."""
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "resetrl.cli", "compare", *arguments]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return f"{seconds:.1f} | {cpu:.1f}"


def main() -> None:
    from resetrl.run.tracking.config import ENVIRONMENT

    os.environ.update(ENVIRONMENT)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill_store(folder)
        load = os.getloadavg()[0]
        print(f"{RUNS} runs x {POINTS} evaluations, load {load:.1f} on {os.cpu_count()} cores\n")
        print("| `resetrl compare`, all tables, figures and report | s | CPU s |\n|---|---|---|")
        print(f"| from an SQLite store | {timed([*OPTIONS, '--out', 'first'], folder)} |")
        print(f"| once more | {timed([*OPTIONS, '--out', 'second'], folder)} |")
        from_report = ["--from", "first/report.json", "--out", "third"]
        print(f"| from report.json | {timed(from_report, folder)} |")


if __name__ == "__main__":
    main()
