"""What tracking costs: metric points a second into SQLite, and its share of a training step.

    python benchmarks/tracking.py [--points 100000] [--steps 40]

The points are a journal on disk that goes to an existing MLflow database, as `resetrl tracking
sync` sends it. The share is that of a real training run: the seconds its observer takes on the
training thread, and the CPU seconds of the thread that sends, as if none of them ran beside
training. Prints Markdown for benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from rich.console import Console

from resetrl.cli import LAUNCHER_ENVIRONMENT
from resetrl.plugins import load_plugins
from resetrl.run.compose import compose, flat_dict
from resetrl.run.context import RunContext
from resetrl.run.loop import build_trainer
from resetrl.run.tracking import Journal, JournalRecord, Tracking, observer, prepare_store
from resetrl.run.tracking.sender import Delivery
from resetrl.run.tracking.spool import RunFile, TrackedRun

METRICS_PER_STEP = 60
"""About what an SRPO step has."""


def points_per_second(num_points: int, folder: Path) -> float:
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    prepare_store(uri, "resetrl")
    journal = Journal(folder / "run" / "metrics.jsonl", 0)
    for step in range(1, num_points // METRICS_PER_STEP + 1):
        metrics = {f"phase/draw/metric_{i}": step * i / 7 for i in range(METRICS_PER_STEP)}
        journal.append(JournalRecord(step, 1.7e9 + step, metrics))
    journal.close()
    run = TrackedRun("0" * 32, "run", uri, "resetrl", 1.7e9, status="FINISHED", ended=1.8e9)
    delivery = Delivery(RunFile(folder / "run", run))
    started = time.perf_counter()
    delivery.deliver()
    return delivery.num_sent / (time.perf_counter() - started)


class TimedDelivery(Delivery):
    """A delivery that counts the CPU seconds of each of its goes."""

    def __init__(self, run_file: RunFile) -> None:
        super().__init__(run_file)
        self.seconds: list[float] = []

    def deliver(self) -> None:
        started = time.thread_time()
        super().deliver()
        self.seconds.append(time.thread_time() - started)


def share_of_a_step(steps: int, folder: Path) -> list[tuple[str, float]]:
    """Seconds of an average step, of tracking on its thread, and of sending on the other one."""
    registry = load_plugins()
    config = compose([f"steps={steps}", f"tracking.uri=sqlite:///{folder / 'mlflow.db'}"], registry)
    trainer = build_trainer(config, folder / "trained", registry)
    context = RunContext(
        "trained", trainer.folder, flat_dict(config), 0, steps, registry.manifest(), Console()
    )
    delivery: list[TimedDelivery] = []

    def timed_delivery(run_file: RunFile) -> TimedDelivery:
        delivery.append(TimedDelivery(run_file))
        return delivery[0]

    observer.Delivery = timed_delivery  # type: ignore[misc, assignment]
    tracking = Tracking(trainer.config.tracking)
    tracking.resetrl_run_started(context)
    training = observing = 0.0
    for step in range(1, steps + 1):
        started = time.perf_counter()
        record = trainer._train(step)
        trained = time.perf_counter()
        tracking.resetrl_step_finished(context, record)
        training += trained - started
        observing += time.perf_counter() - trained
        if step % trainer.config.evaluation.every == 0:
            evaluation = trainer._evaluate(step, is_last=False)
            evaluated = time.perf_counter()
            tracking.resetrl_evaluated(context, evaluation)
            observing += time.perf_counter() - evaluated
    going_on = sum(delivery[0].seconds[1:])  # the first go imports MLflow and makes the run
    started = time.perf_counter()
    tracking.resetrl_run_finished(context, None)
    return [
        ("a training step", training / steps),
        ("observing it, on the training thread", observing / steps),
        ("sending it, CPU of the other thread", going_on / steps),
        ("once a run: importing MLflow and making the run, CPU", delivery[0].seconds[0]),
        ("once a run: the end, with the learning curve", time.perf_counter() - started),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=40)
    given = parser.parse_args()
    os.environ.update(LAUNCHER_ENVIRONMENT)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        rate = points_per_second(given.points, Path(name))
        rows = share_of_a_step(given.steps, Path(name))
    print(f"| {given.points:,} points, {given.steps} steps, load before {load:.1f} | |\n|---|---|")
    print(f"| points a second into SQLite (asked: 10,000) | {rate:,.0f} |")
    for what, seconds in rows:
        print(f"| {what} | {1000 * seconds:,.1f} ms |")
    share = (rows[1][1] + rows[2][1]) / rows[0][1]
    print(f"| tracking's share of a step (asked: at most 2 %) | {share:.2%} |")


if __name__ == "__main__":
    main()
