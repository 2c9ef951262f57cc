"""Tracking against real SQLite stores, dead and hanging servers, full disks and kill -9."""

from __future__ import annotations

import io
import os
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console
from stores import start_server, until
from typer.testing import CliRunner

from resetrl.errors import ConfigError, ResetrlError
from resetrl.run.context import Evaluation, RunContext
from resetrl.run.tracking import (
    ENVIRONMENT,
    Journal,
    JournalRecord,
    StoreUnavailable,
    Tracking,
    TrackingConfig,
    prepare_store,
    read_journal,
    step_record_metrics,
    store,
    sync,
)
from resetrl.run.tracking.command import app
from resetrl.run.tracking.config import redacted, resolve_uri
from resetrl.run.tracking.facts import flat_params, mlflow_name, rollouts_table, run_tags
from resetrl.run.tracking.files import write_atomically
from resetrl.run.tracking.sender import Delivery, Sender
from resetrl.run.tracking.spool import RunFile, TrackedRun, read_run
from resetrl.run.tracking.store import Store
from resetrl.testing.fakes import make_rollout
from resetrl.types import PhaseUsage, StepRecord, Update, Verdict

pytestmark = pytest.mark.usefixtures("quiet_mlflow")

DEAD = "http://127.0.0.1:9"


def make_run(folder: Path, start_step: int = 0, **config: object) -> RunContext:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text("seed: 0\n")
    config = {"method": "srpo", "seed": 0, "split": {"name": "1x4"}, **config}
    console = Console(file=io.StringIO(), width=10_000)
    return RunContext(folder.name, folder, config, start_step, 8, [{"plugin": "mine"}], console)


def printed(run: RunContext) -> str:
    assert isinstance(run.console.file, io.StringIO)
    return run.console.file.getvalue()


def make_record(step: int) -> StepRecord:
    metrics = {"draws/accuracy": step / 8}
    usage = PhaseUsage(1, 2, 3, 4, 0.5, 6.0)
    return StepRecord(step, [], [], [], Update(0.25, 1.5, {"ratio": 1.0}), {"draw": usage}, metrics)


def make_evaluation(step: int) -> Evaluation:
    judged = [
        (make_rollout(["3+4*6=7", "\\boxed{2}"]), Verdict(1.0, True, {"extracted": "2"})),
        (make_rollout(["no box"]), Verdict(0.0, False)),
    ]
    return Evaluation(step, 0.5, 0.5, judged, PhaseUsage(4, 40, 0, 30, 2.0, 9.0))


def train(tracking: Tracking, run: RunContext, steps: range) -> None:
    """What the train loop tells its observer, without the end."""
    tracking.resetrl_run_started(run)
    for step in steps:
        tracking.resetrl_step_finished(run, make_record(step))
        if step % 4 == 0:
            tracking.resetrl_evaluated(run, make_evaluation(step))


def history(uri: str, run_id: str, name: str) -> list[tuple[int, float]]:
    points = Store(uri).connect().get_metric_history(run_id, name)
    return sorted((point.step, point.value) for point in points)


def num_values(uri: str) -> int:
    path = uri.removeprefix("sqlite:///")
    with sqlite3.connect(path) as database:
        (count,) = database.execute("select count(*) from metrics").fetchone()
    return int(count)


ACCURACIES = [
    (1, 0.125),
    (2, 0.25),
    (3, 0.375),
    (4, 0.5),
    (5, 0.625),
    (6, 0.75),
    (7, 0.875),
    (8, 1),
]
VALUES_PER_STEP, VALUES_PER_EVALUATION = 11, 10
"""One metric, three of the update, six of one phase."""


# the journal


def test_a_resumed_journal_loses_later_steps_and_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [
        b'{"step":%d,"time":%d.0,"metrics":{"a":0.5}}\n' % (step, step) for step in range(1, 5)
    ]
    path.write_bytes(b"".join(lines) + b'{"step":5,"ti')
    Journal(path, start_step=2).close()
    assert path.read_bytes() == lines[0] + lines[1]


def test_a_torn_line_is_cut_even_if_every_whole_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step":1,"time":1.0,"metrics":{"a":0.5}}\n{"st')
    Journal(path, start_step=9).append(JournalRecord(10, 2.0, {"a": 1.0}))
    assert [record.step for record in read_journal(path)] == [1, 10]


def test_a_run_that_starts_over_starts_its_journal_over(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step":0,"time":1.0,"metrics":{"eval/accuracy":0.4}}\n')
    Journal(path, start_step=0).close()
    assert path.read_bytes() == b""


def test_what_the_journal_holds_for_a_step_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step":4,"time":1.0,"metrics":{"eval/accuracy":0.4}}\n')
    journal = Journal(path, start_step=4)
    journal.append(JournalRecord(4, 2.0, {"eval/accuracy": 0.4}))
    journal.append(JournalRecord(4, 2.0, {"eval/accuracy": 0.4, "eval/reward": 0.5}))
    assert read_journal(path) == [
        JournalRecord(4, 1.0, {"eval/accuracy": 0.4}),
        JournalRecord(4, 2.0, {"eval/reward": 0.5}),
    ]


def test_values_that_json_lacks_come_back_from_a_strict_journal(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    Journal(path, 0).append(JournalRecord(1, 1.0, {"a": float("nan"), "b": float("-inf")}))
    assert path.read_text() == '{"step":1,"time":1.0,"metrics":{"a":"nan","b":"-inf"}}\n'
    (record,) = read_journal(path)
    assert str(record.metrics["a"]) == "nan" and record.metrics["b"] == float("-inf")


def test_a_damaged_line_in_the_middle_is_named_by_its_place(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step":1,"time":1.0,"metrics":{}}\nrubbish\n{"step":2}\n')
    with pytest.raises(ResetrlError, match=r"metrics\.jsonl is damaged at byte 35"):
        read_journal(path)


def test_a_full_disk_is_one_sentence_and_tears_no_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    journal = Journal(path, 0)
    journal.append(JournalRecord(1, 1.0, {"a": 0.5}))
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, hard))
    try:
        with pytest.raises(
            ResetrlError, match=r"metrics\.jsonl cannot be written .*free some space"
        ):
            journal.append(JournalRecord(2, 2.0, {"a": 0.5}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes() == before
    journal.append(JournalRecord(2, 2.0, {"a": 0.5}))
    assert [record.step for record in read_journal(path)] == [1, 2]


# what a run says of itself


def test_a_step_becomes_flat_metrics() -> None:
    assert step_record_metrics(make_record(2)) == {
        "draws/accuracy": 0.25,
        "update/loss": 0.25,
        "update/grad_norm": 1.5,
        "update/ratio": 1.0,
        "phase/draw/requests": 1.0,
        "phase/draw/prompt_tokens": 2.0,
        "phase/draw/cached_tokens": 3.0,
        "phase/draw/generated_tokens": 4.0,
        "phase/draw/seconds": 0.5,
        "phase/draw/learned_tokens": 0.0,
        "phase/draw/flops": 6.0,
    }


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("eval/accuracy", "eval/accuracy"),
        ("pass@1", "pass_1"),
        ("loss (clipped)", "loss _clipped_"),
        ("grün", "gr_n"),
        ("/a//b/../c", "a/b/c"),
        ("?", "_"),
        ("", "_"),
        ("x" * 300, "x" * 250),
    ],
)
def test_names_are_sanitised_to_what_mlflow_takes(name: str, taken: str) -> None:
    from mlflow.utils.validation import _validate_metric_name

    assert mlflow_name(name) == taken
    _validate_metric_name(taken)


def test_parameters_are_flat_cut_with_a_mark_and_hold_no_password() -> None:
    params = flat_params(
        {"a": {"b": 0.5, "c": None}, "list": [1, 2], "none": {}, "long": "x" * 7000}
        | {"uri": "postgresql://ada:secret@host/db"}
    )
    assert params["a.b"] == "0.5" and params["a.c"] == "None"
    assert params["list"] == "[1, 2]" and params["none"] == "{}"
    assert len(params["long"]) == 6000
    assert params["long"].endswith("xxx ... [cut from 7000 characters]")
    assert params["uri"] == "postgresql://***@host/db"


def test_tags_say_what_a_run_is_compared_by(tmp_path: Path) -> None:
    tags = run_tags(make_run(tmp_path / "run", task="chain"), tmp_path)
    assert tags["method"] == "srpo" and tags["split"] == "1x4" and tags["task"] == "chain"
    assert tags["seed"] == "0"
    assert tags["plugins"] == '[{"plugin":"mine"}]'
    assert tags["resetrl.run_dir"] == str(tmp_path / "run")
    assert tags["version.python"].startswith("3.")


def test_the_commit_is_that_of_the_checkout_the_command_started_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resetrl
    from resetrl.run.tracking.facts import git_tags

    monkeypatch.setattr(resetrl, "__file__", str(tmp_path / "installed" / "__init__.py"))
    checkout = tmp_path / "checkout"
    identity = ["-c", "user.name=ada", "-c", "user.email=ada@example.org"]
    subprocess.run(["git", "init", "-q", checkout], check=True)
    (checkout / "note").write_text("a")
    subprocess.run(["git", "-C", checkout, "add", "note"], check=True)
    subprocess.run(["git", "-C", checkout, *identity, "commit", "-qm", "one"], check=True)
    clean = git_tags(checkout)
    (checkout / "note").write_text("b")
    assert len(clean["git_commit"]) == 40 and clean["git_dirty"] == "false"
    assert git_tags(checkout) == {**clean, "git_dirty": "true"}
    assert git_tags(tmp_path) == {}


def test_the_rollouts_of_an_evaluation_are_a_table() -> None:
    table = rollouts_table(make_evaluation(4))
    assert table == {
        "columns": [
            *("uid", "question", "reference", "completion"),
            *("extracted", "correct", "reward", "tokens"),
        ],
        "data": [
            [
                "problem-0",
                "3+4*6",
                "2",
                "3+4*6=7</thought>\\boxed{2}</thought>",
                "2",
                True,
                1.0,
                12,
            ],
            ["problem-0", "3+4*6", "2", "no box</thought>", None, False, 0.0, 7],
        ],
    }


# the configuration


@pytest.mark.parametrize("uri", ["mlruns", "file:///tmp/mlruns", ""])
def test_a_folder_is_no_store(uri: str) -> None:
    with pytest.raises(ConfigError, match=r"tracking.uri is .*write sqlite:///mlflow.db or http"):
        TrackingConfig(uri=uri)


def test_a_relative_database_lies_where_the_command_was_started(tmp_path: Path) -> None:
    assert resolve_uri("sqlite:///mlflow.db", tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    assert resolve_uri("sqlite:////data/a.db?x=1", tmp_path) == "sqlite:////data/a.db?x=1"
    assert resolve_uri(DEAD, tmp_path) == DEAD


def test_importing_tracking_imports_no_heavy_library() -> None:
    code = "import sys, resetrl.run.tracking, resetrl.run.curves; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"mlflow", "torch", "matplotlib", "sqlalchemy", "numpy"} & set(modules)


# whole runs


def test_a_run_arrives_whole(tmp_path: Path, uri: str) -> None:
    run = make_run(tmp_path / "srpo-seed0", lr=2e-4)
    tracking = Tracking(TrackingConfig(uri="sqlite:///mlflow.db"), {"sweep": "7"}, tmp_path)
    train(tracking, run, range(1, 9))
    tracking.resetrl_run_finished(run, None)

    status = tracking.status
    assert status is not None and status.complete and status.problem == ""
    assert status.uri == uri and status.command == f"mlflow ui --backend-store-uri {uri}"
    client = Store(uri).connect()
    stored = client.get_run(status.run_id)
    assert stored.info.status == "FINISHED" and stored.info.run_name == "srpo-seed0"
    assert client.get_experiment_by_name("resetrl").experiment_id == stored.info.experiment_id
    assert stored.data.params == {
        "method": "srpo",
        "seed": "0",
        "split.name": "1x4",
        "lr": "0.0002",
    }
    assert stored.data.tags["sweep"] == "7" and stored.data.tags["method"] == "srpo"
    assert history(uri, status.run_id, "draws/accuracy") == ACCURACIES
    assert history(uri, status.run_id, "eval/seconds") == [(4, 2.0), (8, 2.0)]
    assert num_values(uri) == 8 * VALUES_PER_STEP + 2 * VALUES_PER_EVALUATION
    assert printed(run) == ""


def test_artifacts_arrive_and_the_table_is_one_to_mlflow(tmp_path: Path, uri: str) -> None:
    import mlflow

    run = make_run(tmp_path / "run")
    tracking = Tracking(TrackingConfig(uri=uri))
    train(tracking, run, range(1, 5))
    tracking.resetrl_run_finished(run, None)
    assert tracking.status is not None
    run_id = tracking.status.run_id
    client = Store(uri).connect()
    assert sorted(file.path for file in client.list_artifacts(run_id)) == [
        "config.yaml",
        "evaluation_rollouts.json",
        "learning_curve.png",
    ]
    experiment = client.get_run(run_id).info.experiment_id
    mlflow.set_tracking_uri(uri)  # which load_table uses beside the client's own
    try:
        table = client.load_table(experiment, "evaluation_rollouts.json", [run_id])
    finally:
        mlflow.set_tracking_uri(None)
    assert list(table["correct"]) == [True, False] and list(table["tokens"]) == [12, 7]


def test_a_failed_run_is_marked_failed_and_an_interrupted_one_killed(
    tmp_path: Path, uri: str
) -> None:
    for error, marked in ((ValueError("nan"), "FAILED"), (KeyboardInterrupt(), "KILLED")):
        run = make_run(tmp_path / marked)
        tracking = Tracking(TrackingConfig(uri=uri))
        train(tracking, run, range(1, 2))
        tracking.resetrl_run_finished(run, error)
        assert tracking.status is not None
        stored = Store(uri).connect().get_run(tracking.status.run_id)
        assert stored.info.status == marked


def test_without_mlflow_the_run_folder_still_has_everything(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    tracking = Tracking(TrackingConfig(enabled=False), {}, tmp_path)
    train(tracking, run, range(1, 5))
    tracking.resetrl_run_finished(run, None)
    assert tracking.status is None
    assert [record.step for record in read_journal(run.folder / "metrics.jsonl")] == [1, 2, 3, 4, 4]
    assert (run.folder / "learning_curve.png").read_bytes()[1:4] == b"PNG"
    assert (run.folder / "evaluation_rollouts.json").exists()
    assert not (tmp_path / "mlflow.db").exists()


def test_a_run_that_ends_before_it_started_is_no_second_error(tmp_path: Path) -> None:
    Tracking(TrackingConfig()).resetrl_run_finished(make_run(tmp_path / "run"), ValueError("bad"))


def test_two_runs_at_once_in_one_store_keep_apart(tmp_path: Path, uri: str) -> None:
    runs = [make_run(tmp_path / name, seed=seed) for seed, name in enumerate(("one", "two"))]
    trackings = [Tracking(TrackingConfig(uri=uri)) for _ in runs]
    for tracking, run in zip(trackings, runs, strict=True):
        train(tracking, run, range(1, 9))
    for tracking, run in zip(trackings, runs, strict=True):
        tracking.resetrl_run_finished(run, None)
    stored = [tracking.status.run_id for tracking in trackings if tracking.status is not None]
    assert len(set(stored)) == 2
    client = Store(uri).connect()
    assert [client.get_run(run_id).data.params["seed"] for run_id in stored] == ["0", "1"]
    assert [history(uri, run_id, "draws/accuracy") for run_id in stored] == [ACCURACIES] * 2


KILLED_RUN = """
import os, signal, sys, time
from pathlib import Path
sys.path[:0] = [{tests!r}, {tests!r} + "/.."]
from test_tracking import make_run, train, Tracking, TrackingConfig
run = make_run(Path({folder!r}))
tracking = Tracking(TrackingConfig(uri={uri!r}))
train(tracking, run, range(1, 7))
while not (sender := tracking._sender)._delivery.num_sent >= {values}:
    time.sleep(0.05)
with open(run.folder / "metrics.jsonl", "ab") as journal:
    journal.write(b'{{"step":7,"ti')
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_and_resumed_run_sends_nothing_twice(tmp_path: Path, uri: str) -> None:
    folder = tmp_path / "run"
    values = 6 * VALUES_PER_STEP + VALUES_PER_EVALUATION
    code = KILLED_RUN.format(
        tests=str(Path(__file__).parent), folder=str(folder), uri=uri, values=values
    )
    killed = subprocess.run([sys.executable, "-c", code], env={**os.environ, **ENVIRONMENT})
    assert killed.returncode == -signal.SIGKILL
    assert num_values(uri) == values
    run_id = read_run(folder).run_id

    resumed = make_run(folder, start_step=4, method="grpo")
    tracking = Tracking(TrackingConfig(uri=uri))
    train(tracking, resumed, range(5, 9))
    tracking.resetrl_run_finished(resumed, None)
    assert tracking.status is not None and tracking.status.run_id == run_id
    assert history(uri, run_id, "draws/accuracy") == ACCURACIES
    assert num_values(uri) == 8 * VALUES_PER_STEP + 2 * VALUES_PER_EVALUATION
    steps = Counter(record.step for record in read_journal(folder / "metrics.jsonl"))
    assert steps == {1: 1, 2: 1, 3: 1, 4: 2, 5: 1, 6: 1, 7: 1, 8: 2}
    stored = Store(uri).connect().get_run(run_id)
    assert stored.info.status == "FINISHED"
    assert stored.data.params["method"] == "srpo", "MLflow keeps the first value"
    assert stored.data.tags["resumed_with"] == "method=grpo"


def test_a_run_resumed_from_another_directory_stays_in_its_database(
    tmp_path: Path, uri: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    folder = tmp_path / "run"
    for start_step, directory in ((0, tmp_path), (4, elsewhere)):
        run = make_run(folder, start_step)
        tracking = Tracking(TrackingConfig(uri="sqlite:///mlflow.db"), {}, directory)
        train(tracking, run, range(start_step + 1, start_step + 5))
        tracking.resetrl_run_finished(run, None)
    assert tracking.status is not None and tracking.status.uri == uri
    assert history(uri, tracking.status.run_id, "draws/accuracy") == ACCURACIES
    assert not elsewhere.exists()


def test_a_run_whose_id_was_lost_is_found_again_by_its_key(tmp_path: Path, uri: str) -> None:
    lost = TrackedRun("0" * 32, "run", uri, "resetrl", 1.0)
    first, second = Store(uri).attach(lost), Store(uri).attach(lost)
    assert first == second


def test_a_file_in_place_of_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResetrlError, match=r"config\.yaml cannot be written \(.*out=.*/file"):
        write_atomically(tmp_path / "file" / "config.yaml", b"", resume="out")


def test_preparing_a_store_twice_makes_one_experiment(uri: str) -> None:
    prepare_store(uri, "ablation")
    prepare_store(uri, "ablation")
    names = [each.name for each in Store(uri).connect().search_experiments()]
    assert sorted(names) == ["Default", "ablation"]


def test_a_deleted_experiment_is_named(uri: str) -> None:
    prepare_store(uri, "old")
    client = Store(uri).connect()
    client.delete_experiment(client.get_experiment_by_name("old").experiment_id)
    with pytest.raises(StoreUnavailable, match="experiment old was deleted there"):
        prepare_store(uri, "old")


# when the store does not answer


def test_an_unreachable_server_warns_once_and_nothing_is_lost_after_sync(
    tmp_path: Path, uri: str
) -> None:
    run = make_run(tmp_path / "run")
    tracking = Tracking(TrackingConfig(uri=DEAD))
    train(tracking, run, range(1, 9))
    started = time.monotonic()
    tracking.resetrl_run_finished(run, None)
    assert time.monotonic() - started < 15
    assert printed(run) == (
        f"Tracking: {DEAD} does not take this run (Connection refused). It goes on; its "
        f"metrics stay in {run.folder}/metrics.jsonl, to be sent with: "
        f"resetrl tracking sync {run.folder}\n"
    )
    assert tracking.status is not None and not tracking.status.complete
    assert tracking.status.command == f"resetrl tracking sync {run.folder}"

    with pytest.raises(ResetrlError, match=r"cannot be sent to http://127.0.0.1:9 .*--uri"):
        sync(run.folder)
    report = sync(run.folder, uri)
    assert (
        report.num_metrics == 8 * VALUES_PER_STEP + 2 * VALUES_PER_EVALUATION
        and report.status == "FINISHED"
    )
    assert history(uri, report.run_id, "draws/accuracy") == ACCURACIES
    stored = Store(uri).connect().get_run(report.run_id)
    assert stored.data.params["method"] == "srpo" and stored.data.tags["split"] == "1x4"
    assert stored.info.status == "FINISHED" and stored.info.end_time > stored.info.start_time
    again = sync(run.folder)
    assert (again.run_id, again.uri, again.num_metrics) == (report.run_id, uri, 0)
    assert num_values(uri) == 8 * VALUES_PER_STEP + 2 * VALUES_PER_EVALUATION


def test_a_server_that_hangs_holds_up_neither_training_nor_its_end(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        run = make_run(tmp_path / "run")
        hanging = f"http://127.0.0.1:{server.getsockname()[1]}"
        tracking = Tracking(TrackingConfig(uri=hanging), finish_seconds=0.5)
        started = time.monotonic()
        train(tracking, run, range(1, 4))
        tracking.resetrl_run_finished(run, None)
        assert time.monotonic() - started < 5
    assert printed(run).count("does not take this run (no answer within 0.5 s)") == 1


def test_a_locked_database_is_told_and_sent_to_once_it_is_free(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "SQLITE_PROBE_SECONDS", 0.05)
    run = make_run(tmp_path / "run")
    warned: list[str] = []
    file = RunFile(run.folder, TrackedRun("0" * 32, "run", uri, "resetrl", 1.0))
    sender = Sender(Delivery(file), warned.append, interval=0.05)
    lock = sqlite3.connect(uri.removeprefix("sqlite:///"), isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    sender.start()
    until(lambda: bool(warned))
    lock.execute("ROLLBACK")
    lock.close()
    sender.finish(seconds=15)
    assert warned == ["database is locked"]
    assert sender.complete and file.run.run_id


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database, but long enough to be taken for one" * 20)
    with pytest.raises(StoreUnavailable, match="file is not a database"):
        prepare_store(f"sqlite:///{tmp_path / 'mlflow.db'}", "resetrl")


def test_a_mistake_in_the_thread_surfaces_with_its_traceback(tmp_path: Path) -> None:
    class Mistaken(Delivery):
        def deliver(self) -> None:
            raise ZeroDivisionError("a mistake")

    file = RunFile(tmp_path, TrackedRun("0" * 32, "run", DEAD, "resetrl", 1.0))
    warned: list[str] = []
    sender = Sender(Mistaken(file), warned.append)
    sender.start()
    sender.finish(seconds=5)
    assert warned == [f"ZeroDivisionError: a mistake; see {tmp_path}/tracking_error.txt"]
    assert 'ZeroDivisionError("a mistake")' in (tmp_path / "tracking_error.txt").read_text()
    assert not sender.complete and sender.problem == warned[0]


def test_a_delivery_that_hangs_is_told_during_training(tmp_path: Path) -> None:
    release = threading.Event()

    class Hanging(Delivery):
        def deliver(self) -> None:
            release.wait()

    file = RunFile(tmp_path, TrackedRun("0" * 32, "run", DEAD, "resetrl", 1.0))
    warned: list[str] = []
    sender = Sender(Hanging(file), warned.append)
    sender.start()
    time.sleep(0.2)
    sender.check(patience=0.05)
    sender.check(patience=0.05)
    release.set()
    sender.finish(seconds=5)
    assert warned == ["no answer for 0.05 s"]


def test_a_run_that_died_is_marked_killed_by_sync_and_a_living_one_is_not(
    tmp_path: Path, uri: str
) -> None:
    file = RunFile(tmp_path, TrackedRun("0" * 32, "run", uri, "resetrl", 1.0))
    file.change(lambda run: run)
    journal = Journal(tmp_path / "metrics.jsonl", 0)
    journal.append(JournalRecord(1, 1.0, {"a": 0.5}))
    assert sync(tmp_path).status == "RUNNING"
    journal.close()
    assert sync(tmp_path).status == "KILLED"


def test_sync_says_what_it_did_and_names_a_folder_that_is_no_run(tmp_path: Path, uri: str) -> None:
    RunFile(tmp_path, TrackedRun("0" * 32, "run", uri, "resetrl", 1.0)).change(lambda run: run)
    Journal(tmp_path / "metrics.jsonl", 0).append(JournalRecord(1, 1.0, {"a": 0.5}))
    done = CliRunner().invoke(app, ["sync", str(tmp_path)])
    assert done.exit_code == 0
    assert f"sent 1 metric values of {tmp_path.name} to {uri}: run " in done.stdout
    with pytest.raises(ConfigError, match=r"is no run folder: it holds no tracking\.json"):
        sync(tmp_path / "nowhere")


def test_passwords_are_struck_out() -> None:
    assert redacted("https://ada:secret@host:5000/x") == "https://***@host:5000/x"
    assert redacted(DEAD) == DEAD


@pytest.mark.slow
def test_a_server_that_dies_in_mid_run_loses_nothing(tmp_path: Path, uri: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server_uri = f"http://127.0.0.1:{port}"
    server = start_server(uri, tmp_path, port)
    try:
        run = make_run(tmp_path / "run")
        tracking = Tracking(TrackingConfig(uri=server_uri))
        train(tracking, run, range(1, 5))
        until(lambda: num_values(uri) == 4 * VALUES_PER_STEP + VALUES_PER_EVALUATION, seconds=120)
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        for step in range(5, 9):
            tracking.resetrl_step_finished(run, make_record(step))
        tracking.resetrl_run_finished(run, None)
        assert printed(run).count("does not take this run") == 1
        server = start_server(uri, tmp_path, port)
        report = sync(run.folder)
        assert report.num_metrics == 4 * VALUES_PER_STEP
        assert history(server_uri, report.run_id, "draws/accuracy") == ACCURACIES
        assert num_values(uri) == 8 * VALUES_PER_STEP + VALUES_PER_EVALUATION
        assert len(Store(server_uri).connect().list_artifacts(report.run_id)) == 3
    finally:
        os.killpg(server.pid, signal.SIGKILL)
