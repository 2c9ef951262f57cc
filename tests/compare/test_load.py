"""From names to runs: folders, and one real MLflow store that holds a sweep."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from simulated import run_data, write_run

from resetrl.compare.folders import read_answers, read_folder, run_folders
from resetrl.compare.load import Finder, Loaded, Parent, Request, load
from resetrl.compare.records import CompareError, Question, RunData
from resetrl.errors import ConfigError, ResetrlError
from resetrl.run.tracking import ENVIRONMENT, sync
from resetrl.run.tracking.query import RunQuery, quoted
from resetrl.run.tracking.spool import RunFile, TrackedRun
from resetrl.run.tracking.store import Store

SWEEP = "difficulty"


class World(NamedTuple):
    """A store with a sweep of four runs, one of them failed, and a run besides."""

    uri: str
    parent: str
    folder: Path
    single: str


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        uri = f"sqlite:///{root / 'mlflow.db'}"
        store = Store(uri)
        sweep = store.connect().create_run(
            store.experiment_id("resetrl"), tags={"resetrl.sweep": SWEEP}, run_name=SWEEP
        )
        parent = str(sweep.info.run_id)
        file = RunFile(root / "sweep", TrackedRun("k", SWEEP, uri, "resetrl", 1.7e9, parent))
        file.change(lambda same: same)
        for method, seed, status in (
            ("grpo", 0, "FINISHED"),
            ("grpo", 1, "FINISHED"),
            ("srpo", 0, "FINISHED"),
            ("srpo", 1, "FAILED"),
        ):
            folder = root / "sweep" / f"{method}-seed{seed}"
            run_id = sync(write_run(folder, method, seed, status=status, uri=uri)).run_id
            store.connect().set_tag(run_id, "mlflow.parentRunId", parent)
        single = sync(write_run(root / "single", "oracle", 7, uri=uri)).run_id
        yield World(uri, parent, root / "sweep", single)


def names(loaded: Loaded) -> list[str]:
    return sorted(run.name for run in loaded.runs)


ALL = ["grpo-seed0", "grpo-seed1", "srpo-seed0", "srpo-seed1"]


@pytest.mark.parametrize("by", ["folder", "parent", "name"])
def test_a_sweep_is_its_folder_its_name_or_the_id_of_its_parent(world: World, by: str) -> None:
    name = {"folder": str(world.folder), "parent": world.parent, "name": SWEEP}[by]
    found = load(Request((name,), uri=world.uri), Question())
    assert names(found) == ALL
    assert found.parent == Parent(world.uri, world.parent)


def test_folder_and_store_tell_the_same(world: World) -> None:
    question = Question(x="generated_tokens")
    from_disk = load(Request((str(world.folder),), uri=world.uri), question).runs
    from_store = load(Request((SWEEP,), uri=world.uri), question).runs
    by_name = {run.name: run for run in from_store}
    for run in from_disk:
        other = by_name[run.name]
        assert (run.run_id, run.status, run.params) == (other.run_id, other.status, other.params)
        assert (run.xs, run.values, run.totals) == (other.xs, other.values, other.totals)
        assert (run.answers, run.problems) == (other.answers, other.problems)


def test_a_run_has_its_curve_its_totals_and_its_answers(world: World) -> None:
    (run,) = load(Request((world.single,), uri=world.uri), Question(x="generated_tokens")).runs
    assert (run.steps, run.values) == ((0, 20, 40), (0.2, 0.5, 0.8))
    assert run.xs == (0.0, 1000.0, 2000.0)
    assert run.totals == {"generated_tokens": 2000.0, "rollouts": 320.0}
    assert (run.answers_step, sum(run.answers.values()), len(run.answers)) == (40, 8.0, 10)


def test_without_a_name_all_runs_of_the_experiment_are_found_but_not_the_sweep(
    world: World,
) -> None:
    found = load(Request(uri=world.uri), Question())
    assert names(found) == [*ALL[:2], "single", *ALL[2:]]
    assert found.parent is None


def test_a_filter_narrows_a_query_and_a_sweep(world: World) -> None:
    where = "tags.method = 'srpo'"
    for request in (
        Request(where=where, uri=world.uri),
        Request((SWEEP,), where=where, uri=world.uri),
        Request((world.parent,), where=where, uri=world.uri),
    ):
        found = load(request, Question())
        assert (names(found), found.parent) == (["srpo-seed0", "srpo-seed1"], None)


def test_a_run_named_twice_is_there_once(world: World) -> None:
    run = str(world.folder / "grpo-seed0")
    assert names(load(Request((run, SWEEP), uri=world.uri), Question())) == ALL


def test_answers_come_from_mlflow_if_the_folder_is_gone(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resetrl.compare.load._folder_here", lambda run: None)
    query = RunQuery(world.uri)
    assert query.table(world.single, "evaluation_rollouts.json") == []
    file = tmp_path / "evaluation_rollouts.json"
    file.write_text(
        '{"columns": ["uid", "question", "reference", "correct"], '
        '"data": [["p0", "0 + 1", "1", true], ["p1", "1 + 1", "2", false]]}'
    )
    query.log_files(world.single, [file], "")
    (run,) = load(Request((world.single,), uri=world.uri), Question()).runs
    assert run.answers == {"p0": 1.0, "p1": 0.0}


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            Request(("nothing",)),
            "nothing is no folder, and no sweep, run name or run id of .* "
            r"\(sweeps there: difficulty\)",
        ),
        (Request(("0" * 32,)), "run 0{32} is not in sqlite"),
        (Request(("runs/nothing",)), "runs/nothing is no folder, and no sweep, run name or run id"),
        (Request(where="tags.method = 'x'"), r"has no runs that match .*another --experiment"),
        (Request(where="method is x"), r"'method is x' is no MLflow filter \(.*write for example"),
        (Request(experiment="other"), "experiment other is not in .*: choose Default, resetrl"),
        (Request(("it's",), where='tags.method = "x"'), "no sweep, run name or run id"),
    ],
)
def test_what_is_not_there_is_told(world: World, request_: Request, message: str) -> None:
    request = Request(request_.names, request_.where, request_.experiment, world.uri)
    with pytest.raises(ResetrlError, match=message):
        load(request, Question())


def test_a_sweep_without_runs_is_told(world: World) -> None:
    store = Store(world.uri)
    tags = {"resetrl.sweep": "empty"}
    client = store.connect()
    run_id = client.create_run(store.experiment_id("other"), tags=tags).info.run_id
    with pytest.raises(CompareError, match=f"{run_id} has no runs yet"):
        load(Request((run_id,), uri=world.uri), Question())
    client.delete_run(run_id)
    client.delete_experiment(store.experiment_id("other"))


def test_one_run_is_wanted_where_a_sweep_will_not_do(world: World) -> None:
    finder = Finder(Request(uri=world.uri), [])
    assert finder.one(world.single).name == "single"
    for name in (SWEEP, str(world.folder)):
        with pytest.raises(CompareError, match=r"is 4 runs \(.*grpo-seed0, .*name one of them"):
            finder.one(name)


def test_asking_makes_no_database(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.db does not exist: name the store"):
        load(Request(("x",), uri=f"sqlite:///{tmp_path / 'gone.db'}"), Question())
    assert list(tmp_path.iterdir()) == []


def test_a_corrupted_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "broken.db").write_bytes(b"no database at all, but long enough" * 100)
    with pytest.raises(ConfigError, match=r"does not answer \(file is not a database\)"):
        RunQuery(f"sqlite:///{tmp_path / 'broken.db'}")


def test_another_programs_database_is_told_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as database:
        database.execute("create table alembic_version (version_num text)")
        database.execute("insert into alembic_version values ('not ours')")
    with pytest.raises(ConfigError, match=r"other\.db does not answer"):
        RunQuery(f"sqlite:///{path}").experiments()


def test_an_unreachable_server_is_told() -> None:
    with pytest.raises(ConfigError, match=r"http://127.0.0.1:9 does not answer \(Connection refus"):
        RunQuery("http://127.0.0.1:9")


def test_quotes_are_taken_as_they_are() -> None:
    assert (quoted("a"), quoted("it's")) == ("'a'", '"it\'s"')
    with pytest.raises(ConfigError, match="both kinds of quotes"):
        quoted("'\"")


# folders


def test_a_folder_that_holds_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(CompareError, match="holds no run: give the folder of a run or a sweep"):
        run_folders(tmp_path)


def test_runs_are_found_below_a_sweep_but_not_inside_runs(tmp_path: Path) -> None:
    run = write_run(tmp_path / "day" / "0", "srpo", 0)
    write_run(run / "rollouts" / "copy", "srpo", 0)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "config.yaml").write_text("x: 1")
    assert run_folders(tmp_path) == [run]
    assert run_folders(run) == [run]


def test_cells_of_a_sweep_that_left_no_run_are_there_with_their_state(tmp_path: Path) -> None:
    write_run(tmp_path / "0-grpo", "grpo", 0)
    write_run(tmp_path / "1-srpo", "srpo", 0, status="FAILED")
    cells = [
        {"number": 0, "folder": "0-grpo", "state": "done"},
        {"number": 1, "folder": "1-srpo", "state": "failed"},
        {"number": 2, "folder": "2-rrpo", "state": "failed"},
        {"number": 3, "folder": "", "state": "waiting"},
        {"number": 4, "folder": "4-grpo", "state": "done", "same_as": 0},
    ]
    (tmp_path / "sweep.json").write_text(json.dumps({"cells": cells}))
    found = load(Request((str(tmp_path),)), Question()).runs
    assert [(run.name, run.status) for run in found] == [
        ("0-grpo", "FINISHED"),
        ("1-srpo", "FAILED"),
        ("2-rrpo", "FAILED"),
        ("3", "WAITING"),
    ]


def test_a_damaged_record_of_a_sweep_is_told(tmp_path: Path) -> None:
    write_run(tmp_path / "0-grpo", "grpo", 0)
    (tmp_path / "sweep.json").write_text('{"cells": 3}')
    found = load(Request((str(tmp_path),)), Question()).runs
    assert found[1].name == "sweep.json" and found[1].status.startswith("UNREADABLE")


def test_a_run_that_never_started_is_there_with_that_status(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("seed: 0")
    assert read_folder(tmp_path, []).status == "NOT STARTED"


def test_a_run_whose_process_died_was_killed(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", "srpo", 0, status="RUNNING")
    assert read_folder(run, []).status == "KILLED"


def test_a_damaged_run_is_named_and_stops_nothing(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", "srpo", 0)
    with (run / "metrics.jsonl").open("ab") as stream:
        stream.write(b"rubbish\n")
    found = read_folder(run, [])
    assert found.status.startswith("UNREADABLE: ") and "damaged at byte" in found.status


def only_run(folder: Path, question: Question) -> RunData:
    (run,) = load(Request((str(folder),)), question).runs
    return run


def test_damaged_answers_are_told_and_the_run_counts(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", "srpo", 0)
    (run / "evaluations" / "step_000040.jsonl.gz").write_bytes(b"rubbish")
    found = only_run(run, Question())
    assert found.values == (0.2, 0.5, 0.8) and found.answers == {}
    assert found.problem.startswith("its answers could not be read")


def test_the_best_evaluation_brings_its_own_answers(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", "srpo", 0, (0.2, 0.9, 0.8))
    found = only_run(run, Question(at="best"))
    assert (found.answers_step, sum(found.answers.values())) == (20, 9.0)
    assert found.scores("best") == found.answers and found.scores("last") == {}


def test_a_run_without_the_metric_has_no_curve(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "srpo", 0)
    file = write_run(tmp_path / "b", "srpo", 1) / "metrics.jsonl"
    file.write_text('{"step":1,"time":1.0,"metrics":{"total/rollouts":8.0}}\n')
    found = load(Request((str(tmp_path),)), Question()).runs
    assert [run.values for run in found] == [(0.2, 0.5, 0.8), ()]


def test_a_metric_or_column_that_no_run_has_is_told(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", "srpo", 0)
    with pytest.raises(CompareError, match="no run has eval/acuracy: did you mean eval/accuracy"):
        only_run(run, Question(metric="eval/acuracy"))
    with pytest.raises(CompareError, match="no run has total/flops: did you mean total/rollouts"):
        only_run(run, Question(x="flops"))


def test_answers_to_other_questions_are_other_problems(tmp_path: Path) -> None:
    answers = read_answers(write_run(tmp_path / "run", "srpo", 0), 40)
    assert answers.scores("reward")["p7"] == 1.0 and answers.scores("reward")["p8"] == 0.0
    assert len(answers.problems) == 12
    assert read_answers(tmp_path, 40).problems == ""


def test_a_filter_does_not_go_with_folders(tmp_path: Path) -> None:
    with pytest.raises(CompareError, match="--where filters runs of an MLflow store"):
        load(Request((str(tmp_path),), where="tags.a = 'b'"), Question())


def test_a_fact_is_a_tag_a_parameter_or_the_name_of_a_component() -> None:
    run = run_data(params={"split.name": "1x4"}, tags={"method": "of the tag"})
    assert (run.fact("method"), run.fact("split"), run.fact("none")) == ("of the tag", "1x4", None)
