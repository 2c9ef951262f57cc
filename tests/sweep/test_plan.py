"""Which sweep a command means, and that it never becomes another one's."""

from __future__ import annotations

from pathlib import Path

import pytest

from resetrl.errors import ConfigError
from resetrl.plugins import load_plugins
from resetrl.sweep.plan import all_plugin_paths, plan_sweep, sample_configs
from resetrl.sweep.record import Cell, SweepRecord, locked, read_sweep


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def begun(name: str, *overrides: str) -> SweepRecord:
    record = SweepRecord(Path("multirun") / name, name, overrides)
    record.add([Cell(0, ("seed=0",), "0-srpo-seed0", "done", "5f2c", 0.75, 12.5)])
    record.add([Cell(1, ("seed=1",), "1-srpo-seed1", "running")])
    return record


def test_a_new_sweep_lies_under_its_name() -> None:
    plan = plan_sweep(["sweep.name=ablation", "seed=range(5)"])
    assert plan.is_new
    assert plan.record.folder == Path("multirun/ablation") and plan.record.name == "ablation"
    assert plan.record.overrides == ("seed=range(5)",)


def test_without_a_name_it_is_called_after_the_time() -> None:
    first = plan_sweep(["seed=0,1"]).record
    assert first.folder.parent == Path("multirun") and first.name.startswith("20")
    first.write()
    assert plan_sweep(["seed=0,1"]).record.folder != first.folder


def test_the_same_command_again_goes_on_with_its_sweep() -> None:
    begun("ablation", "seed=range(2)", "method=grpo", "steps=20")
    plan = plan_sweep(["method=grpo", "steps=40", "sweep.name=ablation", "seed=0,1"])
    assert not plan.is_new
    assert plan.record.overrides == ("method=grpo", "steps=40", "seed=0,1")
    assert [cell.state for cell in plan.record.cells.values()] == ["done", "interrupted"]


@pytest.mark.parametrize(
    "overrides",
    [["seed=0,1,2"], ["seed=1,0"], ["seed=0,1", "method=grpo"], ["seed=0,1", "steps=20,40"]],
)
def test_other_cells_under_a_known_name_are_refused_and_nothing_is_written(
    overrides: list[str],
) -> None:
    record = begun("ablation", "seed=0,1")
    before = (record.folder / "sweep.json").read_bytes()
    with pytest.raises(ConfigError, match=r"sweep ablation in multirun/ablation has other cells"):
        plan_sweep(["sweep.name=ablation", *overrides])
    assert (record.folder / "sweep.json").read_bytes() == before


def test_a_sweep_of_which_nothing_ran_may_become_another() -> None:
    SweepRecord(Path("multirun/ablation"), "ablation", ("seed=0,1",)).write()
    assert plan_sweep(["sweep.name=ablation", "method=grpo,rrpo"]).is_new


def test_a_folder_that_is_no_sweep_is_left_alone() -> None:
    Path("multirun/notes").mkdir(parents=True)
    Path("multirun/notes/text").write_text("mine")
    with pytest.raises(ConfigError, match=r"multirun/notes exists and is no sweep"):
        plan_sweep(["sweep.name=notes", "seed=0,1"])


def test_a_resume_needs_the_name_or_the_folder_only() -> None:
    begun("ablation", "seed=0,1", "steps=20", "hydra.launcher.n_jobs=2")
    for where in ("ablation", "multirun/ablation"):
        plan = plan_sweep([f"sweep.resume={where}", "steps=40", "hydra.launcher.n_jobs=4"])
        assert plan.record.overrides == ("seed=0,1", "steps=40", "hydra.launcher.n_jobs=4")


def test_a_sweep_whose_folder_moved_is_resumed_where_it_lies() -> None:
    begun("ablation", "seed=0,1")
    Path("multirun/ablation").rename("elsewhere")
    record = plan_sweep(["sweep.resume=elsewhere"]).record
    assert record.folder_of(record.cells[0]) == Path("elsewhere/0-srpo-seed0")


@pytest.mark.parametrize("override", ["seed=0,1,2", "method=grpo", "steps=20,40"])
def test_a_resume_that_would_be_another_sweep_is_refused(override: str) -> None:
    begun("ablation", "seed=0,1", "method=srpo")
    with pytest.raises(ConfigError, match=r"would make it another sweep than ablation"):
        plan_sweep(["sweep.resume=ablation", override])


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["sweep.resume=nowhere"], r"no multirun/nowhere.*; the sweeps here are ablation"),
        (["sweep.resume=a", "sweep.name=b"], r"sweep.name and sweep.resume exclude each other"),
        (["sweep.nmae=a"], r"sweep.nmae is no option of a sweep"),
        (["sweep.name=a,b"], r"sweep.name=a,b: a sweep has one name"),
        (["sweep.name=a/b"], r"sweep.name is 'a/b': use letters, digits"),
        (["sweep.name=a", "hydra.sweep.dir=b"], r"both name the folder: give one"),
        (["hydra.sweep.dir=${now:%Y}"], r"hydra.sweep.dir is .*: give one path"),
        (["seed=shuffle(range(3))"], r"keeps its order; leave it out"),
        (["reset_selector=null,uniform"], r"null cannot be one of several values"),
        (["tracking.experiment=a,b"], r"a sweep has one place in MLflow"),
        (["oops"], r"'oops' is no override: write key=value"),
    ],
)
def test_a_wrong_command_is_one_sentence(overrides: list[str], sentence: str) -> None:
    begun("ablation", "seed=0,1")
    with pytest.raises(ConfigError, match=sentence):
        plan_sweep(overrides)


def test_a_folder_of_ones_own_choice() -> None:
    plan = plan_sweep(["hydra.sweep.dir='my sweeps/one'", "seed=0,1"])
    assert plan.record.folder == Path("my sweeps/one") and plan.record.name == "one"


def test_a_damaged_record_is_named() -> None:
    begun("ablation", "seed=0,1")
    Path("multirun/ablation/sweep.json").write_text('{"format": 1, "cells": [{}]}')
    with pytest.raises(ConfigError, match=r"sweep.json is damaged .*its runs are unharmed"):
        read_sweep(Path("multirun/ablation"))
    Path("multirun/ablation/sweep.json").write_text('{"format": 7}')
    with pytest.raises(ConfigError, match=r"has format 7, this resetrl reads 1"):
        read_sweep(Path("multirun/ablation"))


def test_a_folder_without_record_is_no_sweep(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is no sweep: it holds no sweep.json"):
        plan_sweep([f"sweep.resume={tmp_path}"])


def test_a_record_comes_back_as_it_was_written() -> None:
    record = begun("ablation", "seed=0,1")
    record.change(1, state="done", same_as=0, left_out=("split=1x4",), value=0.5)
    assert read_sweep(record.folder) == record


def test_a_running_sweep_is_not_started_twice() -> None:
    folder = Path("multirun/ablation")
    refused = pytest.raises(ConfigError, match="is running in another process")
    with locked(folder), refused, locked(folder):
        pass
    with locked(folder):
        pass


def test_the_plugins_of_all_cells_are_needed() -> None:
    assert all_plugin_paths(["plugin_paths=[a.py,b.py],[c.py]"]) == ["a.py", "b.py", "c.py"]
    assert all_plugin_paths(["plugin_paths=[a.py]", "seed=0,1"]) == ["a.py"]
    assert all_plugin_paths(["seed=0,1"]) == []


def test_the_samples_hold_every_name_but_not_every_number() -> None:
    overrides = ["method=grpo,srpo", "seed=range(50)", "learner.lr=1e-4,2e-4", "steps=3"]
    samples = sample_configs(overrides, load_plugins())
    assert [sample.method for sample in samples] == ["grpo", "srpo"]
    assert {sample.seed for sample in samples} == {0}
    assert samples[0].steps == 3 and "launcher" in samples[0].hydra


def test_an_unknown_choice_among_the_values_is_found_before_anything_is_made() -> None:
    with pytest.raises(ConfigError, match=r"method=ppo is unknown: choose .* srpo_nomask$"):
        sample_configs(["method=grpo,ppo", "seed=0,1"], load_plugins())
