"""Runs the attacks on this machine, with things laid out that none of them may touch."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import resetrl
from resetrl_sandbox.attacks import ATTACKS, Attack
from resetrl_sandbox.judging import judge

_TIME_LIMIT = 0.5
_LONGER_LIMIT = 2.0
"""For what ran out of time but should not have: a busy machine may have been the reason."""

_PATIENCE = 20.0
"""Seconds an attack may keep the host waiting, on a busy machine."""

_VARIABLE = "RESETRL_SANDBOX_BAIT"
_WRITTEN = "resetrl-sandbox-written"

_HONEST = "def f(x): return x * x\n"


@dataclass(frozen=True)
class Result:
    """How one attack ended: `Result(attack, "wrong: printed 'held: ...'", "", 0.02)`.

    `breach` says what it got at, empty if it was held.
    """

    attack: Attack
    happened: str
    breach: str
    seconds: float


def run_attacks(level: str, attacks: Sequence[Attack] = ATTACKS) -> Iterator[Result]:
    """Each attack in turn, followed by an honest program, which must still be judged right."""
    with Bait() as bait:
        _judge(level, Attack("", _HONEST, forged=True), bait.known, 0)
        time.sleep(0.5)  # the next supervisor has then set itself up
        idle = sandbox_processes()
        for attack in attacks:
            yield _run(level, attack, bait, idle)


def _run(level: str, attack: Attack, bait: Bait, idle: int) -> Result:
    if level == "rlimits" and not attack.safe_unconfined:
        return Result(attack, "not tried", "nothing at this level would stop it", 0.0)
    started = time.monotonic()
    expected = secrets.randbelow(10**12) + 10**6
    status, why = _judge(level, attack, bait.known, expected)
    if status == "timeout" and status not in attack.held:
        status, why = _judge(level, attack, bait.known, expected, _LONGER_LIMIT)
    seconds = time.monotonic() - started
    breaches = [*bait.breaches()]
    if status == "passed":
        breaches.append("it reached its aim")
    elif status not in attack.held:
        breaches.append(f"it should have ended as {' or '.join(attack.held)}")
    if seconds > _PATIENCE:
        breaches.append(f"it took {seconds:.0f} s")
    if _judge(level, Attack("", _HONEST, forged=True), bait.known, 49)[0] != "passed":
        breaches.append("an honest program failed after it")
    if (left := _settled(idle) - idle) > 0:
        breaches.append(f"{left} processes are left")
    return Result(attack, f"{status}: {why}" if why else status, "; ".join(breaches), seconds)


def _judge(
    level: str,
    attack: Attack,
    known: Mapping[str, object],
    expected: int,
    time_limit: float = _TIME_LIMIT,
) -> tuple[str, str]:
    test: dict[str, Any] = {"stdin": json.dumps(known), "output": "ESCAPED"}
    if attack.forged:
        test = {"args": [7], "output": expected}
    task = {
        "program": attack.program,
        "tests": [test],
        "entry_point": "f" if attack.forged else None,
        "limits": {
            "time_limit": time_limit,
            "program_limit": 10.0,
            "memory_mb": 512,
            "output_kb": 1024,
        },
        "tolerance": 1e-6,
        "level": level,
        "packages": {},
    }
    judged = judge(task)
    if "error" in judged:
        return "error", judged["error"]
    status, why = judged["tests"][0]
    return status, why


def sandbox_processes() -> int:
    """How many processes there are of sandboxes that this process started."""
    count, mark = 0, f'"host": {os.getpid()}}}'.encode()
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            count += mark in line.read_bytes()
    return count


def _settled(wanted: int) -> int:
    """The number of processes, given a moment to come down to what it was."""
    deadline = time.monotonic() + 2
    while (count := sandbox_processes()) > wanted and time.monotonic() < deadline:
        time.sleep(0.02)
    return count


class Bait:
    """A secret file, a process, sockets, an environment variable and an open descriptor.

    `known` is what attacks are told of them; `breaches` says which were found or hurt.
    """

    def __enter__(self) -> Bait:
        self._open = contextlib.ExitStack()
        folder = self._open.enter_context(tempfile.TemporaryDirectory())
        self._folder = Path(folder)
        secret = self._folder / "secret.txt"
        secret.write_text("a secret", encoding="utf-8")
        os.set_inheritable(self._open.enter_context(secret.open()).fileno(), True)
        self._victim = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", "import time; time.sleep(3600)"]
        )
        self._open.callback(self._victim.wait)
        self._open.callback(self._victim.kill)
        os.environ[_VARIABLE] = "1"
        self._open.callback(os.environ.pop, _VARIABLE)
        abstract = f"resetrl-{secrets.token_hex(8)}"
        self._servers = [
            socket.create_server(("127.0.0.1", 0)),
            _unix_server(f"{folder}/socket"),
            _unix_server(f"\0{abstract}"),
        ]
        for server in self._servers:
            server.setblocking(False)
            self._open.callback(server.close)
        self.known: dict[str, object] = {
            "folder": folder,
            "home": str(Path.home()),
            "secret_file": str(secret),
            "repository_file": str(resetrl.__file__),
            "process": os.getpid(),
            "victim": self._victim.pid,
            "variable": _VARIABLE,
            "port": self._servers[0].getsockname()[1],
            "unix_file": f"{folder}/socket",
            "unix_abstract": abstract,
        }
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def breaches(self) -> Iterator[str]:
        if self._victim.poll() is not None:
            yield "it killed another process"
        for folder in (self._folder, Path.home(), Path("/"), Path("/var/tmp"), Path("/dev/shm")):
            if (folder / _WRITTEN).exists():
                (folder / _WRITTEN).unlink()
                yield f"it wrote to {folder}"
        for server in self._servers:
            with contextlib.suppress(BlockingIOError):
                server.accept()[0].close()
                yield "it reached a server"


def _unix_server(address: str) -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    server.bind(address)
    server.listen()
    return server
