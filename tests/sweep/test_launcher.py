"""The launcher's processes, driven by a small hydra application of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from resetrl.errors import ConfigError, ResetrlError
from resetrl.sweep.launcher import jobs_at_a_time
from resetrl.sweep.pool import Ended, visible_device

APPLICATION = """
import os, signal, subprocess, threading, time
import hydra
from hydra.core.config_store import ConfigStore

ConfigStore.instance().store(name="config", node={"what": "value", "x": 0})

@hydra.main(version_base="1.3", config_path=None, config_name="config")
def task(config):
    print("this is", config.what)
    if config.what == "error":
        raise ValueError("no such luck")
    if config.what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if config.what == "exit":
        os._exit(3)
    if config.what == "unpicklable":
        return threading.Lock()
    if config.what == "device":
        print("it sees", repr(os.environ["CUDA_VISIBLE_DEVICES"]))
    if config.what == "sleep":
        sleeper = subprocess.Popen(["sleep", "600"])
        if config.x == "stubborn":
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        with open(f"{config.x}.pids", "w") as file:
            file.write(f"{os.getpid()} {sleeper.pid}")
        os.rename(f"{config.x}.pids", f"{config.x}.ready")
        while True:
            time.sleep(1)
    return config.x

if __name__ == "__main__":
    task()
"""


@pytest.fixture
def application(tmp_path: Path) -> list[str]:
    (tmp_path / "app.py").write_text(APPLICATION)
    settings = ["hydra/launcher=resetrl", "hydra.sweep.dir=out", "hydra.launcher.n_jobs=2"]
    return [sys.executable, str(tmp_path / "app.py"), "-m", *settings]


def cells(folder: Path) -> list[dict[str, Any]]:
    return list(json.loads((folder / "out" / "sweep.json").read_text())["cells"])


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def until(is_so: Any, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(0.02)


def start(application: list[str], folder: Path, *overrides: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*application, *overrides],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # A shell that put pytest into the background has it ignore Ctrl-C, and so its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def pids_of(folder: Path, *names: str) -> list[int]:
    """The processes of some sleeping jobs, and of what these started, once they sleep."""
    files = [folder / f"{name}.ready" for name in names]
    until(lambda: all(file.exists() for file in files))
    return [int(pid) for file in files for pid in file.read_text().split()]


def test_no_failing_job_stops_the_others_and_each_has_its_outcome_and_log(
    application: list[str], tmp_path: Path
) -> None:
    done = start(application, tmp_path, "what=error,kill,value,exit,unpicklable", "x=7")
    output, _ = done.communicate(timeout=60)
    assert done.returncode == 1
    outcomes = [(cell["state"], cell["value"], cell["reason"]) for cell in cells(tmp_path)]
    assert outcomes[:4] == [
        ("failed", None, "ValueError: no such luck"),
        ("failed", None, "its process was killed by SIGKILL (out of memory?)"),
        ("done", 7.0, ""),
        ("failed", None, "its process ended with exit status 3"),
    ]
    assert outcomes[4][0] == "failed"
    assert outcomes[4][2].startswith("what the task returned cannot be sent back: ")
    logs = [(tmp_path / "out" / str(i) / "job.log").read_text() for i in range(5)]
    assert logs[2] == "this is value\n"
    assert logs[0].startswith("this is error\n") and "ValueError: no such luck" in logs[0]
    assert "cell 2 (what=value) done: 7.000 after" in output
    assert "cell 0 (what=error) failed after" in output


def test_each_job_is_given_a_device_of_its_own(application: list[str], tmp_path: Path) -> None:
    devices = "hydra.launcher.devices=[cuda:1,cpu]"
    done = start(application, tmp_path, devices, "what=device", "x=0,1")
    done.communicate(timeout=60)
    logs = [(tmp_path / "out" / str(i) / "job.log").read_text() for i in range(2)]
    assert logs == ["this is device\nit sees '1'\n", "this is device\nit sees ''\n"]


def test_ctrl_c_ends_every_job_with_all_that_it_started(
    application: list[str], tmp_path: Path
) -> None:
    sweep = start(application, tmp_path, "what=sleep", "x=a,b,c")
    pids = pids_of(tmp_path, "a", "b")
    sweep.send_signal(signal.SIGINT)
    output, _ = sweep.communicate(timeout=60)
    assert [cell["state"] for cell in cells(tmp_path)] == ["interrupted"] * 2 + ["waiting"]
    assert "ending 2 jobs; Ctrl-C again kills them" in output
    assert sweep.returncode != 0
    assert len(pids) == 4
    until(lambda: not any(map(is_alive, pids)))


def test_a_second_ctrl_c_kills_a_job_that_ignores_the_first(
    application: list[str], tmp_path: Path
) -> None:
    sweep = start(application, tmp_path, "what=sleep", "x=stubborn")
    pids = pids_of(tmp_path, "stubborn")
    assert sweep.stdout is not None
    sweep.send_signal(signal.SIGINT)
    while "ending 1 jobs" not in sweep.stdout.readline():
        pass
    time.sleep(0.2)  # it says so before it waits
    sweep.send_signal(signal.SIGINT)
    sweep.communicate(timeout=20)
    until(lambda: not any(map(is_alive, pids)))
    assert [cell["state"] for cell in cells(tmp_path)] == ["interrupted"]


def test_jobs_do_not_outlive_a_launcher_that_is_killed(
    application: list[str], tmp_path: Path
) -> None:
    sweep = start(application, tmp_path, "what=sleep", "x=a,b")
    pids = pids_of(tmp_path, "a", "b")
    os.kill(sweep.pid, signal.SIGKILL)
    sweep.wait()
    until(lambda: not any(map(is_alive, pids)))
    assert "interrupted" in (tmp_path / "out" / "0" / "job.log").read_text()


def test_a_job_that_is_killed_frees_its_place(application: list[str], tmp_path: Path) -> None:
    sweep = start(application, tmp_path, "what=sleep", "x=a,b,c", "hydra.launcher.n_jobs=1")
    for name in ("a", "b", "c"):
        os.kill(pids_of(tmp_path, name)[0], signal.SIGKILL)
    sweep.communicate(timeout=60)
    assert [cell["state"] for cell in cells(tmp_path)] == ["failed"] * 3


def test_as_many_jobs_as_devices_or_as_the_cores_allow() -> None:
    cores = len(os.sched_getaffinity(0))
    assert jobs_at_a_time(None, [], 1) == cores
    assert jobs_at_a_time(None, [], 1000) == 1
    assert jobs_at_a_time(None, ["cuda:0", "cuda:1", "cuda:2"], 1) == 3
    assert jobs_at_a_time(5, ["cuda:0"], 1) == 5
    with pytest.raises(ConfigError, match=r"hydra.launcher.n_jobs is 0: choose at least 1"):
        jobs_at_a_time(0, [], 1)


@pytest.mark.parametrize(("slot", "visible"), [("cuda:3", "3"), ("1", "1"), ("cpu", "")])
def test_a_slot_says_what_a_job_sees(slot: str, visible: str) -> None:
    assert visible_device(slot) == visible


def test_a_slot_that_is_no_device_is_named() -> None:
    with pytest.raises(ResetrlError, match=r"hydra.launcher.devices has 'gpu': write cuda:0"):
        visible_device("gpu")


def test_how_a_process_ended_is_told_in_words() -> None:
    assert Ended(0, -15, b"", 1.0).reason == "its process was killed by SIGTERM"
    assert Ended(0, 1, b"", 1.0).reason == "its process ended with exit status 1"
