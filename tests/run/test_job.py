"""A cell of a sweep takes its folder as it finds it."""

from __future__ import annotations

import io
import pickle
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from resetrl.errors import CheckpointError, ConfigError
from resetrl.plugins import Registry, load_plugins
from resetrl.run.compose import compose
from resetrl.run.data import problems_hash
from resetrl.run.job import Surroundings, TrainJob, run_cell, start_run
from resetrl.run.tracking.spool import RunFile, read_run
from resetrl.types import Problem

SMALL = ["prompts_per_step=2", "evaluation.problems=4", "tracking.enabled=false"]
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_plugins()


def config_of(registry: Registry, *overrides: str) -> DictConfig:
    return compose([*SMALL, *overrides], registry)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    start_run(config_of(registry, "steps=1"), folder, Surroundings(registry, QUIET))
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def journal(folder: Path) -> bytes:
    return (folder / "metrics.jsonl").read_bytes()


def test_a_finished_cell_has_a_result_and_is_left_alone(run: Path, registry: Registry) -> None:
    config = config_of(registry, "steps=1")
    before = journal(run)
    accuracy = TrainJob().result(config, run)
    assert accuracy is not None
    assert run_cell(config, run, registry, QUIET, "") == accuracy
    assert journal(run) == before


def test_a_cell_killed_between_its_last_checkpoint_and_its_end_is_finished(
    run: Path, registry: Registry
) -> None:
    config = config_of(registry, "steps=1")
    accuracy = TrainJob().result(config, run)
    (run / "learning_curve.png").unlink()
    RunFile(run, read_run(run)).change(lambda run: replace(run, status="RUNNING"))
    assert TrainJob().result(config, run) is None
    before = journal(run)
    assert run_cell(config, run, registry, QUIET, "") == accuracy
    assert journal(run) == before
    assert read_run(run).status == "FINISHED" and (run / "learning_curve.png").exists()


def test_more_steps_are_no_other_cell(run: Path, registry: Registry) -> None:
    config = config_of(registry, "steps=2")
    assert TrainJob().result(config, run) is None
    run_cell(config, run, registry, QUIET, "key")
    assert TrainJob().result(config, run) is not None
    assert "steps: 2" in (run / "config.yaml").read_text()
    assert read_run(run).parent == "key"


def test_a_cell_without_checkpoint_starts_over(run: Path, registry: Registry) -> None:
    shutil.rmtree(run / "checkpoints")
    run_cell(config_of(registry, "steps=1"), run, registry, QUIET, "")
    assert (run / "checkpoints" / "step_000001").is_dir()


def test_fewer_steps_than_were_taken_are_refused(run: Path, registry: Registry) -> None:
    config = config_of(registry, "steps=2")
    run_cell(config, run, registry, QUIET, "")
    with pytest.raises(CheckpointError, match="is already at step 2 of 1"):
        run_cell(config_of(registry, "steps=1"), run, registry, QUIET, "")


def test_a_folder_with_another_run_is_refused_and_unharmed(run: Path, registry: Registry) -> None:
    other = config_of(registry, "steps=1", "seed=5")
    before = journal(run)
    assert TrainJob().result(other, run) is None
    with pytest.raises(ConfigError, match="holds a run of another configuration: choose another"):
        run_cell(other, run, registry, QUIET, "")
    assert journal(run) == before


def test_an_empty_folder_has_no_result(tmp_path: Path, registry: Registry) -> None:
    assert TrainJob().result(config_of(registry), tmp_path) is None


def test_a_sampler_has_neither_split_nor_selector(registry: Registry) -> None:
    config = compose(["reset_selector=uniform", "split=2x4"], registry)
    config.sampler = {"name": "other"}
    given = ["sampler=other", "split=2x4", "reset_selector=null", "reset_selector.depth=2"]
    assert TrainJob().inapplicable(given, config) == ["split=2x4", "reset_selector.depth=2"]


@pytest.mark.parametrize(
    ("overrides", "left_out"),
    [
        (["method=grpo", "split=1x4", "seed=0"], ["split=1x4"]),
        (["method=grpo", "split.base=4", "split.resets=[4]"], ["split.base=4", "split.resets=[4]"]),
        (["split=grpo", "reset_selector=uniform"], ["reset_selector=uniform"]),
        (["method=srpo", "split=1x4"], []),
        (["method=grpo", "seed=0"], []),
    ],
)
def test_what_means_nothing_beside_a_method_is_named(
    overrides: list[str], left_out: list[str], registry: Registry
) -> None:
    assert TrainJob().inapplicable(overrides, compose(overrides, registry)) == left_out


def test_unpickling_a_job_loads_its_plugins_first(tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from resetrl.builtin.losses import SuffixMean\n"
        "from resetrl.hookspecs import hookimpl\n\n"
        "@hookimpl\n"
        "def resetrl_losses():\n"
        '    return {"mine": SuffixMean}\n'
    )
    job = TrainJob((str(plugin),))
    assert pickle.loads(pickle.dumps(job)) == job
    assert any(name.startswith("resetrl_path_mine_") for name in sys.modules)


def test_problem_sets_are_told_apart_by_any_of_their_parts() -> None:
    problems = [Problem(f"p-{n}", f"{n}+1", str(n + 1)) for n in range(8)]
    same = [Problem(f"p-{n}", f"{n}+1", str(n + 1), {"note": n}) for n in range(8)]
    other = [*problems[:7], Problem("p-7", "7+1", "9")]
    assert problems_hash(problems) == problems_hash(same)
    assert len({problems_hash(each) for each in (problems, problems[:7], other)}) == 3
    assert problems_hash(problems, 4) != problems_hash(problems[:6], 4)


@pytest.mark.parametrize(
    ("checkpoints", "sentence"),
    [
        ([], "interrupted before the first checkpoint: start it again\n"),
        (
            ["step_000005"],
            "interrupted; resetrl train 'resume=FOLDER' goes on from step_000005\n",
        ),
    ],
)
def test_an_interrupted_run_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoints: list[str], sentence: str
) -> None:
    def interrupt(*arguments: object) -> float:
        raise KeyboardInterrupt

    folder = tmp_path / "my run"
    for name in checkpoints:
        (folder / "checkpoints" / name).mkdir(parents=True)
    monkeypatch.setattr("resetrl.run.job._in_its_processes", interrupt)
    console = Console(file=io.StringIO(), width=20)
    with pytest.raises(KeyboardInterrupt):
        start_run(OmegaConf.create(), folder, Surroundings(load_plugins(), console))
    assert console.file.getvalue() == sentence.replace("FOLDER", str(folder))
