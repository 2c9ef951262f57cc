"""The external levels: what Docker is asked for, how its failures read, and what holds inside."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from resetrl_sandbox import external
from resetrl_sandbox.check import run_attacks
from resetrl_sandbox.external import docker
from resetrl_sandbox.host import Launcher
from resetrl_sandbox.levels import SandboxError, Usable, level_at_least, reach, why_not

EXTERNAL: list[Usable] = ["external_bubblewrap", "external_docker"]

ANSWERS = """#!/bin/sh
echo "$@" >> {folder}/log
case "$1" in
images) {images} ;;
import) wc -c >> {folder}/log ;;
run) {run} ;;
esac
"""


def put_docker(
    folder: Path, patch: pytest.MonkeyPatch, images: str = "echo 85fd328f5468", run: str = "cat"
) -> Path:
    """A program `docker` that logs what it is asked, the only one on the path but the system's."""
    program = folder / "docker"
    program.write_text(ANSWERS.format(folder=folder, images=images, run=run), encoding="utf-8")
    program.chmod(0o755)
    patch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder / "log"


def test_a_container_gets_no_network_no_rights_and_a_few_folders_to_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = put_docker(tmp_path, monkeypatch)
    monkeypatch.setattr(external, "_SYSTEM", ("/usr/lib",))
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    monkeypatch.setattr("os.getpid", lambda: 4336 + 6)
    numpy = tmp_path / 'num"py'
    numpy.mkdir()
    command = docker("one", "/usr/bin/python3", Path("/own"), {"numpy": str(numpy)}, 512)
    assert log.read_text(encoding="utf-8") == "images --quiet resetrl-sandbox:empty\n"
    place = command.index("--env")
    assert command[:place] == [
        *(f"{tmp_path}/docker", "run", "--rm", "--interactive", "--name", "one"),
        *("--pull", "never", "--network", "none", "--ipc", "none", "--read-only"),
        *("--log-driver", "none", "--user", "61190:61190", "--cap-drop", "ALL"),
        *("--security-opt", "no-new-privileges", "--pids-limit", "128"),
        *("--memory", "1536m", "--memory-swap", "1536m"),
    ]
    assert "https_proxy=" in command and "NO_PROXY=" in command
    quoted = f'{tmp_path}/num""py'
    assert [field for field in command[place:] if field.startswith("type=")] == [
        'type=bind,readonly,"source=/usr/lib","target=/usr/lib"',
        'type=bind,readonly,"source=/usr/bin/python3","target=/usr/bin/python3"',
        'type=bind,readonly,"source=/own","target=/own"',
        f'type=bind,readonly,"source={quoted}","target={quoted}"',
    ]
    assert command[-1] == "resetrl-sandbox:empty"


def test_the_image_is_made_of_nothing_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = put_docker(tmp_path, monkeypatch, images="true")
    docker("one", "/usr/bin/python3", Path("/own"), {}, 512)
    assert log.read_text(encoding="utf-8").splitlines() == [
        "images --quiet resetrl-sandbox:empty",
        "import - resetrl-sandbox:empty",
        "1024",
    ]


@pytest.mark.parametrize(
    ("images", "run", "reason"),
    [
        ("echo permission denied >&2; exit 1", "", "permission denied"),
        ("exit 7", "", "docker ended with status 7"),
        ("exec sleep 60", "", "docker did not answer within 0.5 s"),
        ("echo id", "echo no space left >&2; exit 125", "the launcher has ended: no space left"),
    ],
    ids=["refused", "wordless", "hung", "not started"],
)
def test_a_docker_that_does_not_work_says_why(
    images: str, run: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_docker(tmp_path, monkeypatch, images, run)
    monkeypatch.setattr(external, "_PATIENCE", 0.5)
    assert why_not.__wrapped__("external_docker") == reason


def test_without_either_program_the_remedy_names_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("resetrl_sandbox.levels.why_not", why_not.__wrapped__)
    assert reach("external").refused == {
        "external_bubblewrap": "bwrap is not installed",
        "external_docker": "docker is not installed",
    }
    with pytest.raises(SandboxError, match=r"install bubblewrap \(the command bwrap\), or"):
        level_at_least("external")


def test_bubblewrap_comes_before_docker_and_own_namespaces_before_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missing: set[str] = set()
    monkeypatch.setattr("resetrl_sandbox.levels.why_not", lambda level: "no" * (level in missing))
    assert level_at_least("rlimits") == "namespaces"
    assert level_at_least("external") == "external_bubblewrap"
    missing |= {"namespaces", "external_bubblewrap"}
    assert level_at_least("namespaces") == level_at_least("external") == "external_docker"


def test_a_launcher_that_is_closed_has_its_container_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = put_docker(tmp_path, monkeypatch, run="exec sleep 60")
    launcher = Launcher("external_docker", {})
    launcher.close()
    last = log.read_text(encoding="utf-8").splitlines()[-1]
    assert last.startswith("kill resetrl-sandbox-") and len(last) == 37


# --- Where there is one -----------------------------------------------------------------------


def skip_without(level: Usable) -> None:
    if reason := why_not(level):
        pytest.skip(reason)


@pytest.mark.parametrize("level", EXTERNAL)
def test_every_attack_is_held(level: Usable) -> None:
    skip_without(level)
    breached = [each for each in run_attacks(level) if each.breach]
    assert breached == []


SLEEPS = """
from resetrl_sandbox.host import Job, Launcher
launcher = Launcher("external_docker", {})
list(launcher.run(Job("print(1)", [{"stdin": ""}])))
print(launcher._container, flush=True)
list(launcher.run(Job("import time; time.sleep(60)", [{"stdin": ""}], time_limit=60)))
"""


def test_a_host_that_is_killed_leaves_no_container() -> None:
    skip_without("external_docker")
    host = subprocess.Popen([sys.executable, "-c", SLEEPS], stdout=subprocess.PIPE, text=True)
    assert host.stdout is not None
    name = host.stdout.readline().strip()
    assert name in containers()
    host.kill()
    host.wait()
    host.stdout.close()
    deadline = time.monotonic() + 20
    while name in containers() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert name not in containers()


def containers() -> str:
    command = ["docker", "ps", "--all", "--format", "{{.Names}}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
