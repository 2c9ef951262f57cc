"""What docs/experiments.md and docs/scaling.md show is true: every command means a sweep."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import shlex
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from resetrl.plugins import load_plugins
from resetrl.run.compose import compose, to_run_config
from resetrl.run.tracking.command import app
from resetrl.sweep.launcher import LauncherConfig
from resetrl.sweep.plan import plan_sweep, sample_configs
from resetrl.sweep.record import Cell

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {
    name: (DOCS / name).read_text(encoding="utf-8") for name in ("experiments.md", "scaling.md")
}
DISTRIBUTIONS = {"submitit_slurm": "submitit", "ray": "ray", "joblib": "joblib"}


def blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


COMMANDS = [
    line.removeprefix("$ ")
    for text in PAGES.values()
    for block in blocks("console", text)
    for line in block.splitlines()
]
SWEEPS = [command for command in COMMANDS if " train -m " in command]


def without_absent_launcher(overrides: list[str]) -> list[str]:
    """The launchers of other packages are optional here; hydra's own checks of them then too."""
    chosen = [item.partition("=")[2] for item in overrides if item.startswith("hydra/launcher=")]
    for name in chosen:
        if not importlib.util.find_spec(f"hydra_plugins.hydra_{DISTRIBUTIONS[name]}_launcher"):
            return [item for item in overrides if not re.match(r"\+?hydra[./]launcher", item)]
    return overrides


@pytest.mark.parametrize("command", SWEEPS, ids=range(len(SWEEPS)))
def test_every_sweep_of_the_pages_can_start(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = plan_sweep(shlex.split(SWEEPS[0])[3:]).record
    first.add([Cell(0, ("method=grpo", "split=1x4", "seed=0"))])
    plan = plan_sweep(without_absent_launcher(shlex.split(command)[3:]))
    assert plan.is_new is ("sweep.resume=" not in command and command != SWEEPS[0])
    assert sample_configs(plan.record.overrides, load_plugins())


def test_what_other_launchers_start_are_runs() -> None:
    text = "\n".join(blocks("bash", PAGES["scaling.md"]))
    runs = re.findall(r"(?:-m|--module) resetrl train (.*)", text)
    assert len(runs) == 4
    for run in runs:
        assert to_run_config(compose(shlex.split(run), load_plugins())).model.device == "cuda"


def test_the_other_commands_are_known() -> None:
    others = [shlex.split(command) for command in COMMANDS if command not in SWEEPS]
    for words in (words for words in others if words[:2] == ["resetrl", "train"]):
        to_run_config(compose(words[2:], load_plugins()))
    rest = [words[:3] for words in others if words[:2] != ["resetrl", "train"]]
    assert rest == [["resetrl", "tracking", "sync"]]
    assert CliRunner().invoke(app, ["sync", "--help"]).exit_code == 0


def test_every_option_of_the_launcher_has_a_row() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGES["experiments.md"], re.MULTILINE)
    options = [option.name for option in dataclasses.fields(LauncherConfig)]
    assert rows == [option for option in options if option != "_target_"]


def test_the_tags_of_the_page_can_be_given() -> None:
    (tag,) = re.findall(r"`(\+tracking\.tags\S+)`", PAGES["experiments.md"])
    (config,) = sample_configs([tag], load_plugins())
    assert config.tracking.tags == {"purpose": "ablation"}


def test_the_listed_file_is_a_list_of_overrides() -> None:
    (text,) = blocks("yaml", PAGES["scaling.md"])
    assert all(isinstance(each, str) for each in yaml.safe_load(text))
