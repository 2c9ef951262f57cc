"""Several processes: the same run as one, checks before it, and how it ends when one fails."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import rank_tasks
import torch
from rich.console import Console
from safetensors.torch import load_file

from resetrl.builtin.learners import DeepSpeed, Torch
from resetrl.errors import ConfigError, ResetrlError
from resetrl.plugins import load_plugins
from resetrl.run.compose import compose, config_hash, load_config, to_run_config
from resetrl.run.job import Surroundings, resume_run, start_run
from resetrl.run.launch import check_processes, run_in_processes

QUIET = Console(quiet=True)
TINY = ["steps=2", "prompts_per_step=4", "evaluation.problems=5", "evaluation.every=1"]
TINY += ["tracking.enabled=false", "updates.mini_batches=4", "checkpoint.every=1"]


@pytest.fixture(scope="module")
def registry():
    return load_plugins()


@pytest.fixture(scope="module")
def alone(registry, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone") / "run"
    start_run(compose(TINY, registry), folder, Surroundings(registry, QUIET))
    return folder


@pytest.fixture(scope="module")
def together(registry, tmp_path_factory):
    """Two processes with the policy apart from the parameters, which a stage 3 has in parts."""
    folder = tmp_path_factory.mktemp("together") / "run"
    options = ["learner=deepspeed", "learner.stage=3", "launch.nproc=2"]
    start_run(compose(TINY + options, registry), folder, Surroundings(registry, QUIET))
    return folder


def metrics_of(folder):
    """All but times and what the probes of a policy with parameters of its own cost."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    kept = re.compile(r"^(?!total/|sync/|phase/sync/)(?!.*seconds$)")
    return [
        {name: value for name, value in json.loads(line)["metrics"].items() if kept.match(name)}
        for line in lines
    ]


def close(one, other):
    return one.keys() == other.keys() and all(
        torch.allclose(torch.as_tensor(one[key]), torch.as_tensor(other[key]), atol=1e-5)
        for key in one
    )


def weights_of(folder, step=2):
    return load_file(folder / "checkpoints" / f"step_{step:06d}" / "model.safetensors")


def test_two_processes_make_the_run_that_one_makes(alone, together):
    expected, got = metrics_of(alone), metrics_of(together)
    assert len(expected) == len(got) == 5
    assert all(close(*pair) for pair in zip(expected, got, strict=True))
    assert close(weights_of(alone), weights_of(together))


def test_the_policy_apart_is_probed_after_every_sync(together):
    lines = (together / "metrics.jsonl").read_text().splitlines()
    gaps = [json.loads(line)["metrics"].get("sync/probe_gap") for line in lines]
    assert [gap is not None and gap < 1e-5 for gap in gaps] == [False, True, False, True, False]


def test_one_process_goes_on_with_the_run_of_two(registry, alone, together):
    overrides = ["steps=3", "launch.nproc=1"]
    for folder in (alone, together):
        config = load_config(folder, overrides)
        resume_run(config, folder, Surroundings(registry, QUIET))
    assert close(weights_of(alone, 3), weights_of(together, 3))


def test_the_number_of_processes_is_no_part_of_the_run(registry):
    one, two = (compose(["learner=deepspeed", f"launch.nproc={n}"], registry) for n in (1, 2))
    assert config_hash(one) == config_hash(two)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["learner=torch"], "learner=torch trains in one process, but the run has 2"),
        (["prompts_per_step=5"], "prompts_per_step=5 cannot be shared by 2 processes"),
        (["model.device=cuda:0"], "model.device=cuda:0 is one GPU, but the run has 2"),
        (["launch.nproc=0"], "launch.nproc is 0: choose at least 1"),
    ],
)
def test_what_several_processes_cannot_do_is_said_before_anything_loads(
    overrides, message, registry, tmp_path
):
    config = compose(["learner=deepspeed", "launch.nproc=2", *overrides], registry)
    with pytest.raises(ConfigError, match=message):
        start_run(config, tmp_path / "run", Surroundings(registry, QUIET))
    assert not (tmp_path / "run").exists()


def test_another_number_than_the_launcher_started_is_refused(registry, monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "4")
    config = to_run_config(compose(["learner=deepspeed", "launch.nproc=2"], registry))
    with pytest.raises(ConfigError, match=r"launch\.nproc=2, but 4 processes were started"):
        check_processes(config, DeepSpeed(), 4)


def test_a_missing_package_is_said_before_anything_loads(registry, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    config = to_run_config(compose(["learner=deepspeed"], registry))
    with pytest.raises(ConfigError, match="needs the package deepspeed"):
        check_processes(config, DeepSpeed(), 1)
    check_processes(config, Torch(), 1)


def test_what_ranks_tell_one_another():
    first, second = run_in_processes(rank_tasks.report, (), 2, QUIET)
    assert first == [["a", "b", "c"], [0, 1], [0, 1, 1], 3, "0", "not worth it"]
    assert second == [["d", "e"], *first[1:]]


def test_a_failing_rank_ends_the_others_and_its_traceback_is_shown():
    shown = Console(file=io.StringIO(), width=120)
    with pytest.raises(ResetrlError, match=r"rank 1 failed \(ZeroDivisionError: what nobody"):
        run_in_processes(rank_tasks.fail, ("crash",), 2, shown)
    assert 'raise ZeroDivisionError("what nobody foresaw")' in shown.file.getvalue()


def test_a_killed_rank_ends_the_others():
    with pytest.raises(ResetrlError, match=r"rank 1 was killed by SIGKILL \(out of memory\?\)"):
        run_in_processes(rank_tasks.fail, ("kill",), 2, QUIET)


def test_ranks_with_other_plugins_are_stopped_by_one_sentence():
    shown = Console(file=io.StringIO(), width=120)
    sentence = r"^rank 1 on .*- mine 1.0 f+; \+ mine 1.1 f+. Install"
    with pytest.raises(ResetrlError, match=sentence) as caught:
        run_in_processes(rank_tasks.load_other_plugins, (), 2, shown)
    assert not shown.file.getvalue()
    assert "in check_manifests" in caught.value.__notes__[0]  # what --debug shows


START = """
import sys, rank_tasks
from rich.console import Console
from resetrl.run.launch import run_in_processes
run_in_processes(rank_tasks.wait, (sys.argv[1],), 2, Console(quiet=True))
"""


@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, signal.SIGTERM, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)],
)
def test_ranks_end_in_order_when_the_starting_process_is_interrupted_or_gone(number, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(rank_tasks.__file__).parent)}
    command = [sys.executable, "-c", START, str(tmp_path)]
    starting = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    wait_for(tmp_path, "there_0", "there_1")
    starting.send_signal(number)
    wait_for(tmp_path, "ended_0", "ended_1")
    assert starting.wait(30) != 0


def wait_for(folder, *names):
    deadline = time.monotonic() + 60
    while not all((folder / name).exists() for name in names):
        assert time.monotonic() < deadline, f"{names} are not there: {list(folder.iterdir())}"
        time.sleep(0.05)


def test_the_configuration_says_how_many_processes_made_the_run(together):
    assert "nproc: 2" in (together / "config.yaml").read_text()
