"""The one way to name a run, and what is said of a name that fits none or several."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from simulated import write_run

from resetrl.compare.load import Finder, Request
from resetrl.errors import ConfigError
from resetrl.run.names import find_run, folder_of_id, matching
from resetrl.run.tracking.spool import TrackedRun
from resetrl.run.tracking.store import Store

ONE, GRPO, SRPO = "runs/2026-01-05-srpo-seed0", "multirun/mine/0-grpo-seed0", "multirun/mine/1-srpo"


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run, a sweep of two cells, and a folder that is neither."""
    monkeypatch.chdir(tmp_path)
    for folder in (ONE, GRPO, SRPO):
        Path(folder, "checkpoints").mkdir(parents=True)
        Path(folder, "config.yaml").touch()
    Path("multirun/mine/sweep.json").write_text('{"cells": []}')
    Path("multirun/mine/tracking.json").touch()
    Path("notes").mkdir()


def refusal(name: str) -> str:
    with pytest.raises(ConfigError) as caught:
        find_run(name)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        (ONE, ONE),
        ("2026-01-05-srpo-seed0", ONE),
        ("srpo-seed0", ONE),
        ("mine/0-grpo-seed0", GRPO),
        ("1-srpo", SRPO),
        ("0-grpo", GRPO),
    ],
)
def test_a_run_is_its_folder_its_name_or_enough_of_it(name: str, folder: str) -> None:
    assert find_run(name) == Path(folder)


def test_an_ambiguous_name_lists_the_folders_of_the_candidates() -> None:
    assert refusal("seed0") == (
        f"run 'seed0' could be any of 2: {ONE}, {GRPO}; give more of its name, or its folder"
    )


def test_an_unknown_name_gets_close_ones_or_the_choices_the_newest_first() -> None:
    assert refusal("2026-01-05-srpo-seed1") == (
        f"run '2026-01-05-srpo-seed1' is unknown: did you mean {ONE}?"
    )
    assert refusal("x") == f"run 'x' is unknown: choose {ONE}, {SRPO}, {GRPO}"


def test_a_sweep_is_no_run_but_may_be_asked_for() -> None:
    assert refusal("multirun/mine") == (
        f"multirun/mine is no run but holds 2: {GRPO}, {SRPO}; choose one"
    )
    assert find_run("mine", or_sweep=True) == Path("multirun/mine")
    assert find_run("multirun/mine", or_sweep=True) == Path("multirun/mine")


def test_a_folder_that_is_no_run_is_told() -> None:
    assert refusal("notes") == "notes is no run: it holds no config.yaml"


def test_where_there_is_no_run_its_folder_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path / "notes")
    assert refusal("x") == (
        "run 'x' is no folder and no MLflow id, and no run lies below runs/ or multirun/ here: "
        "give its folder"
    )


def test_mlflow_knows_folders_by_id_and_by_whole_name(tmp_path: Path) -> None:
    folder, uri = tmp_path / "elsewhere", f"sqlite:///{tmp_path}/mlflow.db"
    folder.mkdir()
    tags = {"resetrl.run_dir": str(folder)}
    run_id = Store(uri).attach(TrackedRun("1" * 32, "afar", uri, "resetrl", 1.0, tags=tags))
    assert find_run(run_id) == find_run("afar") == folder_of_id(run_id, uri) == folder
    again = Store(uri).attach(TrackedRun("2" * 32, "afar", uri, "resetrl", 1.0))
    assert "'afar' could be any of 2: " in refusal("afar")
    assert str(folder) in refusal("afar") and again in refusal("afar")
    folder.rmdir()
    assert f"run {run_id} has its folder {folder}, which is not on this machine" in refusal(run_id)
    assert f"run {'f' * 32} is not in sqlite:" in refusal("f" * 32)


def test_looking_for_a_run_makes_no_store() -> None:
    refusal("x")
    refusal("f" * 32)
    assert not Path("mlflow.db").exists()


def test_a_whole_name_comes_before_a_part_of_one() -> None:
    assert matching("7", ["train-17", "train-7"]) == ["train-7"]
    assert matching("mine", ["multirun/mine", "multirun/not-mine"]) == ["multirun/mine"]
    assert matching("x", ["a"]) == []


def test_compare_and_diff_take_the_same_names() -> None:
    for name in ("srpo-seed0", "mine/0-grpo-seed0"):
        folder = find_run(name)
        shutil.rmtree(folder)
        write_run(folder, "srpo", 0)
    finder = Finder(Request(), [])
    assert finder.one("srpo-seed0").folder == Path(ONE).resolve()
    with pytest.raises(ConfigError, match=f"'seed0' could be any of 2: {ONE}, {GRPO}"):
        finder.one("seed0")
    assert len(Finder(Request(("mine",)), []).find()) == 2
