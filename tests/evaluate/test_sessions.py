"""Both commands from their arguments to their files, with the tiny policy."""

import csv
import fcntl
import json
import shutil

import pytest
from published import FOLDER

from resetrl.errors import ResetrlError
from resetrl.evaluate.correct_session import run_correct
from resetrl.evaluate.eval_session import run_eval
from resetrl.run.rollouts import read_evaluation
from resetrl.run.tracking import ENVIRONMENT, read_journal
from resetrl.run.tracking.store import Store

QUIET = "tracking.enabled=false"


def test_an_evaluation_of_a_run_is_that_of_its_training(trained_run, tmp_path):
    out = tmp_path / "out"
    run_eval([str(trained_run), "problems=12", "samples=2", f"out={out}", QUIET])
    trained = read_evaluation(trained_run / "evaluations" / "step_000001.jsonl.gz")
    assert read_evaluation(out / "evaluations" / "step_000001.jsonl.gz") == trained
    summary = json.loads((out / "results.json").read_text())
    accuracy = sum(answer.correct for answer in trained) / 12
    assert summary["tasks"]["chain"]["scores"]["accuracy"]["value"] == accuracy
    (record,) = read_journal(out / "metrics.jsonl")
    assert record.step == 1
    assert record.metrics["eval/accuracy"] == record.metrics["eval/chain/accuracy"] == accuracy
    rows = list(csv.DictReader((out / "results.csv").open()))
    names = ["accuracy", "reward", "pass@1", "pass@2", "maj@2"]
    assert [row["score"] for row in rows] == names


def test_a_stopped_evaluation_goes_on_to_the_same_results(trained_run, tmp_path, capsys):
    arguments = [str(trained_run), "problems=6", "samples=2", "chunk=6", QUIET]
    run_eval([*arguments, f"out={tmp_path / 'whole'}"])
    shutil.copytree(tmp_path / "whole", tmp_path / "part")
    file = tmp_path / "part" / "answers" / "chain.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:2]) + lines[2][:30])
    (tmp_path / "part" / "results.json").unlink()
    capsys.readouterr()
    run_eval([*arguments, f"out={tmp_path / 'part'}"])
    assert "part goes on" in capsys.readouterr().out
    assert scores(tmp_path / "part") == scores(tmp_path / "whole")
    assert [json.loads(line)["uid"] for line in file.read_bytes().splitlines()] == [
        json.loads(line)["uid"] for line in lines
    ]


def scores(folder):
    tasks = json.loads((folder / "results.json").read_text())["tasks"]
    return {label: (task["scores"], task["shape"]) for label, task in tasks.items()}


def test_a_suite_is_answered_task_by_task(tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text(
        "name: mine\n"
        "tasks:\n"
        "  easy: {name: chain, max_operations: 2, eval_size: 4}\n"
        "  hard: {name: chain, min_hard: 3, max_operations: 4, eval_size: 4}\n"
    )
    out = tmp_path / "out"
    run_eval([f"suite={tmp_path / 'mine.yaml'}", "samples=0", f"out={out}", QUIET])
    printed = capsys.readouterr().out
    assert "mean of tasks" in printed and "easy" in printed and "[" in printed
    assert sorted(path.name for path in (out / "answers").iterdir()) == ["easy.jsonl", "hard.jsonl"]
    uids = [answer.uid for answer in read_evaluation(out / "evaluations/step_000000.jsonl.gz")]
    assert [uid.partition(":")[0] for uid in uids] == ["easy"] * 4 + ["hard"] * 4
    rows = list(csv.DictReader((out / "results.csv").open()))
    assert [row["task"] for row in rows if row["score"] == "accuracy"] == [
        "easy",
        "hard",
        "mean of tasks",
    ]


def test_two_processes_do_not_write_one_evaluation(tmp_path):
    arguments = ["problems=2", "samples=0", f"out={tmp_path / 'out'}", QUIET]
    run_eval(arguments)
    with (tmp_path / "out" / "metrics.jsonl").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(ResetrlError, match="another process is at work"):
            run_eval(arguments)


def test_a_correction_reports_every_round(trained_run, tmp_path, capsys):
    out = tmp_path / "out"
    run_correct([str(trained_run), "problems=12", "rounds=2", f"out={out}", QUIET])
    printed = capsys.readouterr().out
    assert "An upper bound: the verifier" in printed
    rows = list(csv.DictReader((out / "results.csv").open()))
    accuracy = [float(row["accuracy"]) for row in rows]
    assert accuracy == sorted(accuracy)  # right answers are left alone
    assert all(float(row["low"]) <= float(row["accuracy"]) <= float(row["high"]) for row in rows)
    trained = read_evaluation(trained_run / "evaluations" / "step_000001.jsonl.gz")
    assert accuracy[0] == sum(answer.correct for answer in trained) / 12
    assert [record.step for record in read_journal(out / "metrics.jsonl")] == [0, 1, 2, 2]
    after = [
        sum(answer.correct for answer in read_evaluation(out / f"evaluations/step_{n:06}.jsonl.gz"))
        for n in range(3)
    ]
    assert [count / 12 for count in after] == accuracy


def test_a_correction_comes_out_the_same_again(trained_run, tmp_path):
    texts = []
    for name in ("a", "b"):
        run_correct([str(trained_run), "problems=6", "rounds=1", f"out={tmp_path / name}", QUIET])
        texts.append((tmp_path / name / "evaluations/step_000001.jsonl.gz").read_bytes())
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["task=reasoning_gym/gcd", "reset_selector=oracle"], "oracle needs a task with a step"),
        (["reset_selector=null"], "reset_selector is null, so there is nowhere to go back to"),
        (["stop=self"], "tiny policy never learned to say"),
        (
            ["stop=self", "self_verification.prompt=absent.txt"],
            r"no verification prompt 'absent\.txt': choose thoughts",
        ),
        (["sampling.temperature=0"], r"a greedy suffix repeats what it was to correct"),
    ],
)
def test_a_correction_that_cannot_work_is_refused_before_it_starts(
    tmp_path, monkeypatch, arguments, sentence
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ResetrlError, match=sentence):
        run_correct([*arguments, QUIET])
    assert list(tmp_path.iterdir()) == []


def test_both_are_runs_of_their_own_in_mlflow(trained_run, tmp_path, monkeypatch, empty_database):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    uri = f"sqlite:///{shutil.copy(empty_database, tmp_path / 'mlflow.db')}"
    options = ["problems=3", f"tracking.uri={uri}"]
    run_eval([str(trained_run), "samples=0", *options, f"out={tmp_path / 'eval'}"])
    run_correct([str(trained_run), "rounds=1", *options, f"out={tmp_path / 'correct'}"])
    client = Store(uri).connect()
    for name in ("eval", "correct"):
        experiment = client.get_experiment_by_name(f"resetrl-{name}")
        (run,) = client.search_runs([experiment.experiment_id])
        assert (run.info.status, run.data.tags["command"]) == ("FINISHED", name)
        assert run.data.tags["evaluated_run"] == "trained"
        assert run.data.params["task.min_hard"] == "1"
        assert f"{name}/accuracy" in run.data.metrics
        artifacts = {file.path for file in client.list_artifacts(run.info.run_id)}
        assert {"results.json", "results.csv", "evaluation_rollouts.json"} <= artifacts
    history = client.get_metric_history(run.info.run_id, "correct/accuracy")
    assert [metric.step for metric in history] == [0, 1]


def test_the_papers_ten_benchmarks_are_one_suite_that_a_folder_can_hold(tmp_path):
    out = tmp_path / "out"
    limits = ["limits.max_completion_len=24", "limits.max_thought_len=24"]
    arguments = ["suite=paper10", f"suite.folder={FOLDER}", "problems=2", "samples=0"]
    run_eval([*arguments, *limits, f"out={out}", QUIET])
    tasks = json.loads((out / "results.json").read_text())["tasks"]
    assert len(tasks) == 10
    assert {task["problems"] for task in tasks.values()} == {2}
    answered = [json.loads(line) for line in (out / "answers" / "strategyqa.jsonl").open()]
    assert [row["reference"] for row in answered] == ["no", "yes"]
