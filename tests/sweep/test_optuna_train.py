"""Short searches with the built-in policy, as a user runs them."""

import json
import subprocess
import sys

import optuna
import pytest
import yaml

from resetrl.errors import ConfigError
from resetrl.run.command import train

SMALL = [
    "steps=2",
    "prompts_per_step=2",
    "evaluation.every=1",
    "evaluation.problems=10",
    "checkpoint.every=2",
    "tracking.enabled=false",
    "hydra/sweeper=resetrl_optuna",
    "hydra/launcher=basic",
]


def trials_of(folder, name):
    storage = f"sqlite:///{folder}/multirun/{name}/optuna.db"
    return optuna.load_study(study_name=name, storage=storage).trials


@pytest.fixture(scope="module")
def pruned(tmp_path_factory):
    """Two trials of which the second, with an absurd learning rate, forgets how to count."""
    folder = tmp_path_factory.mktemp("pruned")
    overrides = [
        "learner.lr=2e-4,0.5",
        "hydra.sweeper.sampler=grid",
        "hydra.sweeper.pruner=median",
        "hydra.sweeper.pruner_options={n_startup_trials: 1}",
        "hydra.sweep.dir=multirun/rate",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "resetrl.cli", "train", "-m", *SMALL, *overrides],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


def test_a_run_that_falls_behind_is_pruned_as_an_ordinary_end(pruned):
    folder, output = pruned
    good, bad = trials_of(folder, "rate")
    assert (good.state.name, bad.state.name) == ("COMPLETE", "PRUNED")
    assert sorted(good.intermediate_values) == [1, 2]
    assert bad.intermediate_values == {1: 0.0}
    assert output.count("trial 1 was pruned after evaluation 1, eval/accuracy 0\n") == 2
    run = json.loads((folder / "multirun/rate/trial0001/tracking.json").read_text())
    assert run["status"] == "FINISHED"
    tags = ("optuna.study", "optuna.trial", "pruned")
    assert [run["tags"].get(tag) for tag in tags] == ["rate", "1", "true"]


def test_a_complete_run_is_tagged_with_its_trial_alone(pruned):
    folder, _ = pruned
    tags = json.loads((folder / "multirun/rate/trial0000/tracking.json").read_text())["tags"]
    assert (tags["optuna.study"], tags["optuna.trial"]) == ("rate", "0")
    assert "pruned" not in tags


def test_the_best_trial_is_left_as_overrides(pruned):
    folder, _ = pruned
    best = yaml.safe_load((folder / "multirun/rate/best.yaml").read_text())
    assert best == [*SMALL[:-2], "learner.lr=0.0002"]


def search(*arguments):
    train([*SMALL, *arguments], multirun=True, cfg=False, choices=False)


def test_accuracy_against_tokens_over_seeds(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    search(
        "steps=1",
        "split=1x4,2x4",
        "seed=0,1",
        "hydra.sweeper.n_trials=1",
        "hydra.sweeper.metrics=[eval/accuracy,total/generated_tokens]",
        "hydra.sweeper.directions=[maximize,minimize]",
        "hydra.sweep.dir=multirun/two",
    )
    (trial,) = trials_of(tmp_path, "two")
    (first, second), tokens = trial.user_attrs["outcomes"]
    assert trial.values == [(first + second) / 2, sum(tokens) / 2]
    assert min(tokens) > 100
    assert "Pareto front" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["seed=0,1"], "the search has no dimension"),
        (["learner.lr=1,2", "hydra.sweeper.metrics=[eval/luck]"], "'eval/luck' is no metric"),
        (["learner.lr=1,2", "hydra.sweeper.n_trialz=3"], "did you mean hydra.sweeper.n_trials?"),
        (["learner.lrr=1,2"], "learner.lrr is no option of this run: did you mean learner.lr?"),
        (["split=1x4,1x5"], "split=1x5 is unknown"),
        (["@absent.yaml"], "@absent.yaml cannot be read"),
        (["learner.lr=1,2", "hydra.sweeper.objective=lower_bound"], "needs two seeds at least"),
    ],
)
def test_a_wrong_search_is_refused_in_one_sentence_and_makes_no_study(
    tmp_path, monkeypatch, arguments, sentence
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as refused:
        search(*arguments)
    assert sentence in str(refused.value)
    assert list(tmp_path.rglob("optuna.db*")) == []
