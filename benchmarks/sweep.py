"""What a sweep of tiny cells costs against the ideal: the time of its single runs, shared by cores.

    python benchmarks/sweep.py [--cells 12] [--singles 12] [--steps 10]

First `--singles` of the cells run one after another as `resetrl train`, then all of them as
`resetrl train -m`; the store exists before. The single runs stand for all if they are fewer.
Prints Markdown for benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from resetrl.cli import LAUNCHER_ENVIRONMENT
from resetrl.run.tracking import prepare_store


def seconds_of(arguments: list[str], folder: Path) -> float:
    command = [sys.executable, "-m", "resetrl.cli", "train", *arguments]
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=12)
    parser.add_argument("--singles", type=int, default=12)
    parser.add_argument("--steps", type=int, default=10, help="training steps of each run")
    given = parser.parse_args()
    small = [f"steps={given.steps}", "prompts_per_step=4", "evaluation.problems=20"]
    os.environ.update(LAUNCHER_ENVIRONMENT)
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare_store(f"sqlite:///{folder / 'mlflow.db'}", "resetrl")
        seeds = range(min(given.singles, given.cells))
        singles = [seconds_of([f"seed={seed}", *small], folder) for seed in seeds]
        sweep = seconds_of(["-m", f"seed=range({given.cells})", *small], folder)
    ideal = sum(singles) / len(singles) * given.cells / cores
    what = f"{given.cells} cells of {given.steps} steps on {cores} cores"
    print(f"| {what}, load before {load:.1f} | |\n|---|---|")
    print(f"| single runs, mean of {len(singles)} | {sum(singles) / len(singles):.1f} s |")
    print(f"| ideal: their sum / {cores} | {ideal:.1f} s |")
    print(f"| the sweep | {sweep:.1f} s |")
    print(f"| of the ideal (asked: at most 1.15) | {sweep / ideal:.2f} |")


if __name__ == "__main__":
    main()
