import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import forked
import pytest

from resetrl.run.checkpoint import weights_hash
from resetrl.run.tracking import read_journal

SMALL = [
    "steps=6",
    "prompts_per_step=4",
    "evaluation.every=3",
    "evaluation.problems=10",
    "checkpoint.every=2",
    "save_rollouts_every=2",
    "tracking.enabled=false",
]


def resetrl(folder, *arguments, expect=0):
    done = forked.run(folder, "train", *arguments)
    assert done.returncode == expect, done.stdout + done.stderr
    return done


def figures(run_folder):
    """Every metric of a run that is no time, by step and name, and its weights."""
    metrics = {
        (record.step, name): value
        for record in read_journal(run_folder / "metrics.jsonl")
        for name, value in record.metrics.items()
        if "seconds" not in name
    }
    return metrics, weights_hash(run_folder / "checkpoints" / "step_000006")


def groups(run_folder):
    return {path.name: path.read_bytes() for path in sorted((run_folder / "rollouts").iterdir())}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """A run as a user starts it, importing everything itself."""
    folder = tmp_path_factory.mktemp("whole")
    command = [sys.executable, "-m", "resetrl.cli", "train", *SMALL, "hydra.run.dir=run"]
    subprocess.run(command, cwd=folder, check=True, timeout=300)
    return folder / "run"


def test_the_same_configuration_and_seed_give_the_same_numbers_to_the_last_bit(
    uninterrupted, tmp_path
):
    resetrl(tmp_path, *SMALL, "hydra.run.dir=run")
    assert figures(tmp_path / "run") == figures(uninterrupted)
    assert groups(tmp_path / "run") == groups(uninterrupted)


def test_another_run_seed_gives_other_numbers(uninterrupted, tmp_path):
    resetrl(tmp_path, *SMALL, "hydra.run.dir=run", "seed=1")
    assert figures(tmp_path / "run")[1] != figures(uninterrupted)[1]


@pytest.mark.parametrize("attempt", range(3))
def test_a_run_killed_at_a_random_step_resumes_to_the_same_numbers(
    uninterrupted, tmp_path, attempt
):
    step = random.SystemRandom().randint(2, 5)
    process = forked.start(tmp_path, "train", *SMALL, "hydra.run.dir=run")
    run_folder = tmp_path / "run"
    checkpoints = run_folder / "checkpoints"
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.is_alive():
        journal = run_folder / "metrics.jsonl"
        text = journal.read_text() if journal.exists() else ""
        if re.search(rf'"step": ?{step}\b', text) and list(checkpoints.glob("step_*")):
            break
        time.sleep(0.002)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL, f"the run ended before step {step} was seen"
    resetrl(tmp_path, "resume=run")
    assert figures(run_folder) == figures(uninterrupted)
    assert groups(run_folder) == groups(uninterrupted)


def test_a_finished_run_goes_on_only_if_given_more_steps(uninterrupted, tmp_path):
    done = resetrl(uninterrupted.parent, "resume=run", expect=1)
    assert "is already at step 6 of 6: nothing is left to do; add steps=" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["stepz=1"], "stepz is no option of this run: did you mean steps?"),
        (["model=hf", "model.path=nowhere"], "nowhere"),
        (["resume=nowhere"], "run 'nowhere' is no folder and no MLflow id"),
        (["resume=run", "seed=3"], "seed cannot change on resume"),
        (["split=2x4", "budget=6"], "exceeds budget=6"),
        (["hydra.run.dir=run"], "already holds a run: go on with resume="),
        (["plugin_paths=[absent.py]"], "absent.py does not exist"),
        (["oops"], "'oops' is no override: write key=value"),
        (["--setps=3"], "is no override: write key=value, setps=3, without dashes"),
    ],
)
def test_a_wrong_command_ends_in_one_sentence_and_harms_nothing(uninterrupted, arguments, sentence):
    before = {path: path.stat().st_mtime_ns for path in uninterrupted.rglob("*")}
    done = resetrl(uninterrupted.parent, *arguments, expect=1)
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert before == {path: path.stat().st_mtime_ns for path in uninterrupted.rglob("*")}


def test_a_sampler_adds_its_own_metrics_to_every_evaluation(tmp_path):
    (tmp_path / "guess.py").write_text(
        "from dataclasses import dataclass\n"
        "from resetrl.hookspecs import hookimpl\n"
        "from resetrl.step import Resets\n"
        "from resetrl.splits import GroupSplit, SeedPolicy\n\n"
        "@dataclass\n"
        "class Guess:\n"
        "    budget = 8\n\n"
        "    def sample(self, step, prompts, method, session, meter):\n"
        "        grpo = Resets(GroupSplit(8), SeedPolicy(), None)\n"
        "        return grpo.sample(step, prompts, method, session, meter)\n\n"
        "    def evaluate(self, answers, method, session, meter):\n"
        "        return {'asked': len(answers), 'temperature': method.sampling.temperature}\n\n"
        "@hookimpl\n"
        "def resetrl_samplers():\n"
        "    return {'guess': Guess}\n\n"
        "@hookimpl\n"
        "def resetrl_methods():\n"
        "    chosen = {'sampler': 'guess', 'split': None, 'reset_selector': None}\n"
        "    defaults = [{f'override /{kind}': name} for kind, name in chosen.items()]\n"
        "    return {'guess': {'defaults': defaults}}\n"
    )
    arguments = ["plugin_paths=[guess.py]", "method=guess", "steps=1", "hydra.run.dir=run"]
    resetrl(tmp_path, *SMALL[1:], *arguments)
    last = read_journal(tmp_path / "run" / "metrics.jsonl")[-1].metrics
    assert (last["eval/asked"], last["eval/temperature"]) == (10, 0)
    assert "eval/accuracy" in last


def test_debug_shows_the_traceback(tmp_path):
    done = resetrl(tmp_path, "stepz=1", "--debug", expect=1)
    assert "Traceback" in done.stderr


def copy_of(run_folder, target):
    target.mkdir()
    for path in run_folder.rglob("*"):
        copy = target / path.relative_to(run_folder)
        copy.mkdir() if path.is_dir() else copy.write_bytes(path.read_bytes())


def test_a_damaged_checkpoint_is_named_with_the_one_before_it(uninterrupted, tmp_path):
    copy_of(uninterrupted, tmp_path / "run")
    damaged = tmp_path / "run" / "checkpoints" / "step_000006" / "model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-8] + b"\0" * 8)
    done = resetrl(tmp_path, "resume=run", "steps=8", expect=1)
    assert "model.safetensors is missing or damaged" in done.stderr
    assert "goes back to step_000004" in done.stderr


def test_the_checkpoint_of_another_run_is_refused(uninterrupted, tmp_path):
    copy_of(uninterrupted, tmp_path / "run")
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text().replace("lr: 0.0002", "lr: 0.0003"))
    done = resetrl(tmp_path, "resume=run", "steps=8", expect=1)
    assert "was written by a run with another configuration" in done.stderr


def test_a_state_file_that_is_no_json_is_named(uninterrupted, tmp_path):
    copy_of(uninterrupted, tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "step_000006" / "state.json").write_text("{")
    done = resetrl(tmp_path, "resume=run", "steps=8", expect=1)
    assert "state.json is not readable" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_ends_in_one_sentence_and_keeps_what_was_written(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=5m", "none", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this machine allows no mount")
    try:
        done = resetrl(disk, *SMALL, "checkpoint.keep=9", "hydra.run.dir=run", expect=1)
        assert "Traceback" not in done.stderr
        assert "space" in done.stderr
        kept = sorted((disk / "run" / "checkpoints").glob("step_*"))
        assert kept, "the first checkpoint fits"
        for folder in kept:
            state = json.loads((folder / "state.json").read_text())
            assert set(state["files"]) <= {path.name for path in folder.iterdir()}
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_an_unreachable_tracking_server_warns_once_and_training_goes_on(tmp_path):
    done = resetrl(
        tmp_path,
        *SMALL[:-1],
        "steps=2",
        "tracking.uri=http://127.0.0.1:9",
        "hydra.run.dir=run",
    )
    assert (done.stdout + done.stderr).count("does not take this run") == 1
    assert {record.step for record in read_journal(Path(tmp_path / "run/metrics.jsonl"))} == {
        0,
        1,
        2,
    }


def test_a_plugin_that_fails_while_observing_is_named(tmp_path):
    (tmp_path / "observer.py").write_text(
        "from resetrl.hookspecs import hookimpl\n\n"
        "@hookimpl\n"
        "def resetrl_step_finished(run, record):\n"
        "    raise KeyError('my key')\n"
    )
    done = resetrl(tmp_path, *SMALL, "plugin_paths=[observer.py]", "hydra.run.dir=run", expect=1)
    assert "an observer failed in resetrl_step_finished" in done.stderr
    assert "observer.py:5): KeyError: 'my key'" in done.stderr
