"""The external levels: a launcher inside of bubblewrap or of a Docker container.

They are for machines that forbid user namespaces to all programs but a few: `bwrap` is often one
of those, and the Docker daemon is root. Both show the launcher the same few folders of this
machine, so that the Python inside is the one outside; no image is ever downloaded.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

_SYSTEM = ("/usr/lib", "/usr/lib64", "/usr/share/zoneinfo", "/lib", "/lib64")

_IMAGE = "resetrl-sandbox:empty"
"""An image without a single file, made where it is missing."""

_EMPTY_TAR = bytes(1024)

_PATIENCE = 10.0
"""Seconds that the Docker daemon may take to answer."""

_OWN_MB = 1024
"""Megabytes of a container besides its program's: the launcher, inputs and collected output."""

_USERS = range(61184, 65520)
"""What systemd hands out to services while they run, so that no file is anybody's of these."""

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
"""What Docker's own configuration may put into every container, passwords and all."""


def bubblewrap(python: str, package: Path, packages: Mapping[str, str]) -> list[str]:
    """The command before the launcher's own; raises FileNotFoundError without bubblewrap."""
    program = shutil.which("bwrap")
    if program is None:
        raise FileNotFoundError("bwrap is not installed")
    command = [
        *(program, "--unshare-all", "--die-with-parent", "--new-session", "--clearenv"),
        *("--uid", "65534", "--gid", "65534", "--cap-drop", "ALL"),
        *("--proc", "/proc", "--dev", "/dev"),
    ]
    for path in _SYSTEM:
        if os.path.islink(path):
            command += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            command += ["--ro-bind", path, path]
    for path in _of_python(python, package, packages):
        command += ["--ro-bind", path, path]
    return [*command, "--chdir", "/", "--"]


def docker(
    name: str, python: str, package: Path, packages: Mapping[str, str], memory_mb: int
) -> list[str]:
    """The command before the launcher's own, for a container of this name.

    Each container has a user of its own: the kernel counts a user's threads over all of them.
    Nothing that it prints is kept in a log. Raises OSError, with the reason, if the daemon does
    not answer in time, refuses, or cannot make the image.
    """
    if not _docker("images", "--quiet", _IMAGE).strip():
        _docker("import", "-", _IMAGE, given=_EMPTY_TAR)
    user, memory = _USERS[os.getpid() % len(_USERS)], f"{memory_mb + _OWN_MB}m"
    command = [
        *(_docker_program(), "run", "--rm", "--interactive", "--name", name, "--pull", "never"),
        *("--network", "none", "--ipc", "none", "--read-only", "--log-driver", "none"),
        *("--user", f"{user}:{user}", "--cap-drop", "ALL"),
        *("--security-opt", "no-new-privileges", "--pids-limit", "128"),
        *("--memory", memory, "--memory-swap", memory),
    ]
    for variable in _PROXIES:
        command += ["--env", f"{variable}=", "--env", f"{variable.lower()}="]
    system = filter(os.path.isdir, _SYSTEM)
    for path in dict.fromkeys([*system, *_of_python(python, package, packages)]):
        fields = (f"{each}={path}".replace('"', '""') for each in ("source", "target"))
        command += ["--mount", "type=bind,readonly," + ",".join(f'"{each}"' for each in fields)]
    return [*command, _IMAGE]


def end_container(name: str) -> None:
    """Kill a container that may still run; raises nothing, since it may also have ended."""
    try:
        _docker("kill", name)
    except OSError:
        return  # it ends by itself, as the client that held its standard input is dead


def _of_python(python: str, package: Path, packages: Mapping[str, str]) -> Iterator[str]:
    """Paths of the interpreter, its library, the launcher and what programs may import."""
    yield from (python, os.path.join(sys.base_prefix, "lib"), str(package))
    for folder in packages.values():
        yield from filter(os.path.isdir, (folder, f"{folder}.libs"))


def _docker_program() -> str:
    program = shutil.which("docker")
    if program is None:
        raise FileNotFoundError("docker is not installed")
    return program


def _docker(*arguments: str, given: bytes = b"") -> bytes:
    """What a command of Docker's client prints; raises OSError if it fails or hangs."""
    command = [_docker_program(), *arguments]
    try:
        done = subprocess.run(
            command, input=given, capture_output=True, timeout=_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"docker did not answer within {_PATIENCE:g} s") from None
    if done.returncode != 0:
        reason = " ".join(done.stderr.decode("utf-8", "replace").split())
        raise OSError(reason or f"docker ended with status {done.returncode}")
    return done.stdout
