"""What docs/optuna.md shows is true: its commands start, its table says what options there are."""

import dataclasses
import re
import shlex
from pathlib import Path

import optuna
import pytest
import yaml

from resetrl.plugins import load_plugins
from resetrl.run.compose import opened_hydra
from resetrl.run.override_files import expand
from resetrl.run.results import METRICS
from resetrl.sweep.optuna_settings import SearchSettings

PAGE = (Path(__file__).parents[2] / "docs" / "optuna.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


COMMANDS = [line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines()]
SEARCHES = [command for command in COMMANDS if "best.yaml" not in command]


@pytest.mark.parametrize("command", SEARCHES, ids=range(len(SEARCHES)))
def test_a_search_of_the_page_starts_and_ends(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (search,) = blocks("yaml")
    (tmp_path / "search.yaml").write_text(search)
    program, train, multirun, *overrides = shlex.split(command)
    assert (program, train, multirun) == ("resetrl", "train", "-m")
    quick = ["hydra.sweeper.n_trials=1", "hydra.sweep.dir=here", "hydra/launcher=basic"]
    with opened_hydra(load_plugins()) as hydra:
        jobs = hydra.multirun(
            "train", lambda config: dict.fromkeys(METRICS, 0.5), [*expand(overrides), *quick]
        )
    seeds = re.search(r"seed=range\((\d)\)", command + search)
    assert [len(batch) for batch in jobs] == [int(seeds[1])]
    assert list((tmp_path / "here").glob("best*.yaml"))


def test_every_option_has_a_row():
    rows = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    options = [option.name for option in dataclasses.fields(SearchSettings)]
    assert rows == [option for option in options if option != "params"]


def test_the_listed_file_is_a_list_of_overrides():
    (text,) = blocks("yaml")
    assert all(isinstance(each, str) for each in yaml.safe_load(text))


def test_a_task_of_ones_own_is_pruned(hydra_restore_singletons, hydra_sweep_runner, tmp_path):
    (code,) = blocks("python")
    namespace = {}
    exec(compile(code, "optuna.md", "exec"), namespace)
    runner = hydra_sweep_runner(
        calling_file=None,
        calling_module="hydra.test_utils.a_module",
        task_function=namespace["task"],
        config_path="configs",
        config_name="compose.yaml",
        overrides=[
            "hydra/sweeper=resetrl_optuna",
            "hydra.job.chdir=false",
            "+gain=2,1,3",
            "hydra.sweeper.sampler=grid",
            "hydra.sweeper.pruner=median",
            "hydra.sweeper.pruner_options={n_startup_trials: 1}",
        ],
        temp_dir=tmp_path / "own",
    )
    with runner:
        study = optuna.load_study(study_name="own", storage=f"sqlite:///{tmp_path}/own/optuna.db")
        found = [(trial.state.name, trial.value) for trial in study.trials]
    assert found == [("COMPLETE", 6.0), ("PRUNED", 1.0), ("COMPLETE", 9.0)]
