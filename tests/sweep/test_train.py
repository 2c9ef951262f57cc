"""`resetrl train -m` from the command line: a grid with a failing cell, then its resume."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from resetrl.plugins import load_plugins
from resetrl.run.checkpoint import weights_hash
from resetrl.run.compose import compose
from resetrl.run.job import Surroundings, start_run
from resetrl.run.tracking.store import Store

pytestmark = pytest.mark.usefixtures("quiet_mlflow")

SMALL = ["steps=2", "prompts_per_step=2", "evaluation.problems=4", "checkpoint.every=1"]

PLUGIN = """
import dataclasses, enum
from pathlib import Path
from resetrl.builtin.losses import SuffixMean
from resetrl.hookspecs import hookimpl


class Mood(enum.Enum):  # a type that is known where the plugin is
    GOOD = 1
    BAD = 2


@dataclasses.dataclass
class Moody(SuffixMean):
    mood: Mood = Mood.GOOD

    def loss(self, logprobs, batch):
        assert type(self.mood) is Mood
        return super().loss(logprobs, batch)


@hookimpl
def resetrl_losses():
    return {"moody": Moody}


@hookimpl
def resetrl_step_finished(run, record):
    is_chosen = run.config["method"] == "srpo" and run.config["split"]["name"] == "2x4"
    if is_chosen and record.step == 2 and not Path("repaired").exists():
        raise KeyError("my key")
"""


def sweep(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "resetrl.cli", "train", "-m", *overrides]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def cells(folder: Path) -> list[dict[str, Any]]:
    return list(json.loads((folder / "sweep.json").read_text())["cells"])


@pytest.fixture(scope="module")
def grid(
    tmp_path_factory: pytest.TempPathFactory, empty_database: Path
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Two methods and two splits, a plugin that fails in one of the cells."""
    folder = tmp_path_factory.mktemp("grid")
    (folder / "moody.py").write_text(PLUGIN)
    (folder / "mlflow.db").write_bytes(empty_database.read_bytes())
    overrides = ["method=grpo,srpo", "split=1x4,2x4", "sweep.name=grid"]
    done = sweep(folder, *overrides, "plugin_paths=[moody.py]", "loss=moody", *SMALL)
    return folder, done


def test_every_cell_has_its_turn_and_the_failed_one_is_told(
    grid: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = grid
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr == (
        "error: 1 of 3 cells failed; resetrl train -m sweep.resume=grid runs again what is not "
        "done\n"
    )
    assert "(method=srpo split=2x4) failed; the end of multirun/grid/3-srpo-seed0/job.log:" in (
        done.stdout
    )
    assert "KeyError: 'my key'; repair the plugin or leave it out" in done.stdout
    states = [(cell["state"], cell["same_as"]) for cell in cells(folder / "multirun" / "grid")]
    assert states == [("done", None), ("done", 0), ("done", None), ("failed", None)]


def test_a_method_without_resets_leaves_the_split_out_and_runs_once(
    grid: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = grid
    assert "split=1x4 means nothing in cell 0 and is left out" in done.stdout
    written = (folder / "multirun" / "grid" / "0-grpo-seed0" / "config.yaml").read_text()
    assert "name: grpo" in written
    assert not (folder / "multirun" / "grid" / "1-grpo-seed0" / "config.yaml").exists()


def test_the_jobs_are_children_with_the_tags_that_make_them_comparable(
    grid: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = grid
    client = Store(f"sqlite:///{folder / 'mlflow.db'}").connect()
    experiment = client.get_experiment_by_name("resetrl").experiment_id
    runs = {run.info.run_name: run for run in client.search_runs([experiment])}
    parent = runs.pop("grid")
    assert parent.info.status == "FAILED"
    assert parent.data.tags["resetrl.sweep.cells"] == "2 done, 1 failed"
    assert {name: run.info.status for name, run in runs.items()} == {
        "0-grpo-seed0": "FINISHED",
        "2-srpo-seed0": "FINISHED",
        "3-srpo-seed0": "FAILED",
    }
    for run in runs.values():
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert {"method", "split", "task", "seed", "plugins"} <= set(run.data.tags)
    for name in ("dataset", "eval_set", "code"):
        assert len({run.data.tags[name] for run in runs.values()}) == 1
    assert len({run.data.tags["config_hash"] for run in runs.values()}) == 3


@pytest.mark.usefixtures("hydra_restore_singletons")
def test_a_moved_sweep_resumes_what_is_not_done_from_its_checkpoint_to_the_same_numbers(
    grid: tuple[Path, subprocess.CompletedProcess[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, _ = grid
    (folder / "repaired").touch()
    moved = folder / "moved"
    (folder / "multirun" / "grid").rename(moved)
    before = (moved / "2-srpo-seed0" / "metrics.jsonl").stat().st_mtime_ns
    done = sweep(folder, "sweep.resume=moved")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [cell["state"] for cell in cells(moved)] == ["done"] * 4
    assert "cell 0 (method=grpo) was done before: " in done.stdout
    assert (moved / "2-srpo-seed0" / "metrics.jsonl").stat().st_mtime_ns == before
    assert "3-srpo-seed0 resumes after step 1;" in (moved / "3-srpo-seed0/job.log").read_text()

    monkeypatch.chdir(folder)
    registry = load_plugins(["moody.py"])
    overrides = ["method=srpo", "split=2x4", "plugin_paths=[moody.py]", "loss=moody", *SMALL]
    config = compose([*overrides, "tracking.enabled=false"], registry)
    accuracy = start_run(config, tmp_path / "alone", Surroundings(registry, Console(quiet=True)))
    runs = (tmp_path / "alone", moved / "3-srpo-seed0")
    assert len({weights_hash(run / "checkpoints/step_000002") for run in runs}) == 1
    assert cells(moved)[3]["value"] == accuracy


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_a_stock_launcher_runs_and_resumes_the_same_sweep(
    launcher: str, tmp_path: Path, empty_database: Path
) -> None:
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.partition('_')[0]}_launcher")
    (tmp_path / "mlflow.db").write_bytes(empty_database.read_bytes())
    name = "sweep.name=stock"
    done = sweep(tmp_path, "method=grpo,srpo", f"hydra/launcher={launcher}", name, *SMALL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0-grpo-seed0   done" in done.stdout and "1-srpo-seed0   done" in done.stdout
    client = Store(f"sqlite:///{tmp_path / 'mlflow.db'}").connect()
    experiment = client.get_experiment_by_name("resetrl").experiment_id
    runs = {run.info.run_name: run for run in client.search_runs([experiment])}
    parent = runs.pop("stock")
    assert parent.info.status == "FINISHED"
    assert {run.data.tags["mlflow.parentRunId"] for run in runs.values()} == {parent.info.run_id}

    folder = tmp_path / "multirun" / "stock"
    journals = {run: (folder / run / "metrics.jsonl").stat().st_mtime_ns for run in runs}
    assert sweep(tmp_path, "sweep.resume=stock").returncode == 0
    assert journals == {run: (folder / run / "metrics.jsonl").stat().st_mtime_ns for run in runs}
