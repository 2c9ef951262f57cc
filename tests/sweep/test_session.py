"""A sweep in MLflow: parent and children, whatever store, launcher or end it meets."""

from __future__ import annotations

import io
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from mlflow.entities import Run
from rich.console import Console
from stores import start_server
from typer.testing import CliRunner

from resetrl.errors import ConfigError, ResetrlError
from resetrl.run.tracking import (
    ENVIRONMENT,
    Journal,
    JournalRecord,
    TrackingConfig,
    store,
    sync,
    sync_sweep,
)
from resetrl.run.tracking.command import app
from resetrl.run.tracking.spool import RunFile, RunStatus, TrackedRun, read_run
from resetrl.run.tracking.store import Store
from resetrl.sweep.record import Cell, SweepRecord
from resetrl.sweep.session import open_sweep

pytestmark = pytest.mark.usefixtures("quiet_mlflow")

DEAD = "http://127.0.0.1:9"


def console() -> Console:
    return Console(file=io.StringIO(), width=10_000)


def printed(screen: Console) -> str:
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def new_sweep(tmp_path: Path) -> SweepRecord:
    return SweepRecord(tmp_path / "ablation", "ablation", ("method=grpo,srpo", "seed=0,1"))


def job(sweep: Path, name: str, status: RunStatus = "FINISHED", uri: str | None = None) -> Path:
    """What a job leaves behind that could send nothing: three steps and an evaluation."""
    parent = read_run(sweep)
    folder = sweep / name
    journal = Journal(folder / "metrics.jsonl", 0)
    for step in range(1, 4):
        journal.append(JournalRecord(step, 1.0, {"reward/mean": step / 4}))
    journal.append(JournalRecord(3, 1.0, {"eval/accuracy": 0.75}))
    journal.close()
    run = TrackedRun(
        f"key-of-{name}", name, uri or parent.uri, "resetrl", 1.0, status=status, parent=parent.key
    )
    RunFile(folder, run).change(lambda run: run)
    return folder


def stored_runs(uri: str) -> dict[str, Run]:
    client = Store(uri).connect()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return {str(run.info.run_name): run for run in client.search_runs(experiments)}


def parents(runs: Mapping[str, Run]) -> dict[str, str | None]:
    names = {run.info.run_id: name for name, run in runs.items()}
    return {
        name: names.get(run.data.tags.get("mlflow.parentRunId", "")) for name, run in runs.items()
    }


def test_a_sweep_is_a_run_and_its_jobs_are_its_children(tmp_path: Path, uri: str) -> None:
    record = new_sweep(tmp_path)
    with open_sweep(record, TrackingConfig(uri, tags={"purpose": "test"}), console()):
        assert stored_runs(uri)["ablation"].info.status == "RUNNING"
        record.add([Cell(0, ("method=grpo",), "0-grpo", "done")])
        sync(job(record.folder, "0-grpo"))
    runs = stored_runs(uri)
    assert parents(runs) == {"ablation": None, "0-grpo": "ablation"}
    tags = runs["ablation"].data.tags
    assert runs["ablation"].info.status == "FINISHED"
    assert tags["resetrl.sweep"] == "ablation" and tags["purpose"] == "test"
    assert tags["resetrl.sweep.overrides"] == "method=grpo,srpo seed=0,1"
    assert tags["resetrl.sweep.cells"] == "1 done"
    assert tags["resetrl.run_dir"] == str(record.folder)
    assert "resetrl.sweep" not in runs["0-grpo"].data.tags


@pytest.mark.parametrize(
    ("error", "state", "status"),
    [
        (None, "failed", "FAILED"),
        (ResetrlError("no luck"), "done", "FAILED"),
        (KeyboardInterrupt(), "interrupted", "KILLED"),
    ],
)
def test_the_end_of_a_sweep_is_the_status_of_its_run(
    tmp_path: Path, uri: str, error: BaseException | None, state: str, status: str
) -> None:
    record = new_sweep(tmp_path)
    ended = pytest.raises((ResetrlError, KeyboardInterrupt))
    with ended, open_sweep(record, TrackingConfig(uri), console()):
        record.add([Cell(0, ("method=grpo",), "0-grpo", state)])  # type: ignore[arg-type]
        raise error or ResetrlError("the job's")
    assert stored_runs(uri)["ablation"].info.status == status


def test_a_sigterm_ends_a_sweep_as_ctrl_c_does(tmp_path: Path, uri: str) -> None:
    ended = pytest.raises(KeyboardInterrupt)
    with ended, open_sweep(new_sweep(tmp_path), TrackingConfig(uri), console()):
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    assert stored_runs(uri)["ablation"].info.status == "KILLED"


def test_a_resumed_sweep_is_the_same_run(tmp_path: Path, uri: str) -> None:
    for _ in range(2):
        with open_sweep(new_sweep(tmp_path), TrackingConfig(uri), console()):
            pass
    assert list(stored_runs(uri)) == ["ablation"]


def test_what_a_job_could_not_send_is_sent_at_the_end(tmp_path: Path, uri: str) -> None:
    record, screen = new_sweep(tmp_path), console()
    with open_sweep(record, TrackingConfig(uri), screen):
        job(record.folder, "0-grpo")
        job(record.folder, "1-srpo", status="RUNNING")
    runs = stored_runs(uri)
    assert parents(runs) == {"ablation": None, "0-grpo": "ablation", "1-srpo": "ablation"}
    assert runs["0-grpo"].data.metrics == {"reward/mean": 0.75, "eval/accuracy": 0.75}
    assert runs["1-srpo"].info.status == "KILLED"
    assert read_run(record.folder / "0-grpo").is_delivered
    assert printed(screen).endswith(f"MLflow  mlflow ui --backend-store-uri {uri}\n")


def test_a_launcher_that_keeps_no_record_still_gets_its_table(tmp_path: Path, uri: str) -> None:
    record, screen = new_sweep(tmp_path), console()
    with open_sweep(record, TrackingConfig(uri, enabled=False), screen):
        job(record.folder, "0-grpo")
        job(record.folder, "1-srpo", status="FAILED")
    shown = printed(screen)
    assert "    0   0-grpo      done        0.750" in shown
    assert "    1   1-srpo      failed      0.750" in shown
    assert stored_runs(uri) == {}


def test_a_store_that_answers_late_gets_the_whole_family(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "SQLITE_PROBE_SECONDS", 0.05)
    lock = sqlite3.connect(uri.removeprefix("sqlite:///"), isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    record, screen = new_sweep(tmp_path), console()
    with open_sweep(record, TrackingConfig(uri), screen):
        lock.execute("ROLLBACK")
        lock.close()
        sync(job(record.folder, "0-grpo"))
        assert parents(stored_runs(uri)) == {"0-grpo": None}
    assert parents(stored_runs(uri)) == {"ablation": None, "0-grpo": "ablation"}
    assert f"{uri} does not take this sweep (database is locked). It goes on;" in printed(screen)


def test_a_dead_server_stops_no_sweep_and_sync_sends_all_of_it(tmp_path: Path, uri: str) -> None:
    record, screen = new_sweep(tmp_path), console()
    with open_sweep(record, TrackingConfig(DEAD), screen):
        for name in ("0-grpo", "1-srpo"):
            job(record.folder, name)
    assert f"Send the rest with: resetrl tracking sync {record.folder}" in printed(screen)
    with pytest.raises(ResetrlError, match=r"cannot be sent to http://127.0.0.1:9"):
        list(sync_sweep(record.folder))
    done = CliRunner().invoke(app, ["sync", str(record.folder), "--uri", uri])
    assert done.exit_code == 0
    assert "sent 0 metric values of ablation to " in done.stdout
    assert "sent 4 metric values of 1-srpo to " in done.stdout
    assert parents(stored_runs(uri)) == {
        "ablation": None,
        "0-grpo": "ablation",
        "1-srpo": "ablation",
    }
    assert sum(report.num_metrics for report in sync_sweep(record.folder)) == 0


def test_a_damaged_run_keeps_none_of_the_others_back(tmp_path: Path, uri: str) -> None:
    record = new_sweep(tmp_path)
    with open_sweep(record, TrackingConfig(uri, enabled=False), console()):
        job(record.folder, "0-grpo")
        job(record.folder, "1-srpo")
        (record.folder / "0-grpo" / "metrics.jsonl").write_text("rubbish\n")
    with pytest.raises(ResetrlError, match=r"0-grpo/metrics.jsonl is damaged at byte 0"):
        list(sync_sweep(record.folder))
    assert stored_runs(uri)["1-srpo"].info.status == "FINISHED"


def test_sync_tells_a_running_sweep_from_one_that_died(tmp_path: Path, uri: str) -> None:
    record = new_sweep(tmp_path)
    with open_sweep(record, TrackingConfig(uri), console()):
        assert sync(record.folder).status == "RUNNING"
    file = RunFile(record.folder, read_run(record.folder))
    file.change(lambda run: TrackedRun(run.key, run.name, run.uri, run.experiment, 1.0, run.run_id))
    assert sync(record.folder).status == "KILLED"


def test_a_sweep_that_is_running_is_not_opened_again(tmp_path: Path, uri: str) -> None:
    first, second = (open_sweep(new_sweep(tmp_path), TrackingConfig(uri), console()) for _ in "12")
    refused = pytest.raises(ConfigError, match="is running in another process")
    with first, refused, second:
        pass


PARALLEL = """
import multiprocessing, sys
from pathlib import Path
sys.path[:0] = [{tests!r} + "/run", {tests!r}]
from test_tracking import make_run, Tracking, TrackingConfig, make_record, make_evaluation

def work(name):
    run = make_run(Path({folder!r}) / name)
    tracking = Tracking(TrackingConfig({uri!r}), finish_seconds=120)
    tracking.resetrl_run_started(run)
    for step in range(1, 101):
        tracking.resetrl_step_finished(run, make_record(step))
    tracking.resetrl_evaluated(run, make_evaluation(100))
    tracking.resetrl_run_finished(run, None)
    assert tracking.status.complete, tracking.status.problem

if __name__ == "__main__":
    import matplotlib.backends.backend_agg, mlflow.store.tracking.sqlalchemy_store
    context = multiprocessing.get_context("fork")
    jobs = [context.Process(target=work, args=(f"job-{{i}}",)) for i in range(8)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    sys.exit(max(job.exitcode for job in jobs))
"""


def test_eight_jobs_at_once_lose_no_metric_in_one_database(tmp_path: Path, uri: str) -> None:
    code = PARALLEL.format(tests=str(Path(__file__).parents[1]), folder=str(tmp_path), uri=uri)
    environment = {**os.environ, **ENVIRONMENT, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    with sqlite3.connect(uri.removeprefix("sqlite:///")) as database:
        rows = database.execute(
            "select run_uuid, count(*), max(step) from metrics group by run_uuid"
        ).fetchall()
    assert [(count, last) for _, count, last in rows] == [(100 * 11 + 10, 100)] * 8
    assert {run.info.status for run in stored_runs(uri).values()} == {"FINISHED"}


@pytest.mark.slow
def test_a_server_that_dies_in_mid_sweep_loses_nothing(tmp_path: Path, uri: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server_uri = f"http://127.0.0.1:{port}"
    server = start_server(uri, tmp_path, port)
    record, screen = new_sweep(tmp_path), console()
    try:
        with open_sweep(record, TrackingConfig(server_uri), screen):
            sync(job(record.folder, "0-grpo"))
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
            job(record.folder, "1-srpo")
        assert f"Send the rest with: resetrl tracking sync {record.folder}" in printed(screen)
        assert stored_runs(uri)["ablation"].info.status == "RUNNING"
        server = start_server(uri, tmp_path, port)
        assert [report.status for report in sync_sweep(record.folder)] == ["FINISHED"] * 3
        assert parents(stored_runs(server_uri)) == {
            "ablation": None,
            "0-grpo": "ablation",
            "1-srpo": "ablation",
        }
    finally:
        os.killpg(server.pid, signal.SIGKILL)
