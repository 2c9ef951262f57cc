"""The trusted side of the sandbox: starts a launcher, sends it programs, checks what comes back."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resetrl_sandbox.external import bubblewrap, docker, end_container

_HERE = Path(__file__).parent

_BOOT = """
import sys, types
package = types.ModuleType("resetrl_sandbox")
package.__path__ = [{folder!r}]
sys.modules["resetrl_sandbox"] = package
from resetrl_sandbox.inside.launcher import main
main()
"""
"""Imports the launcher without this package's own `__init__`, which needs resetrl."""

_SLACK = 15.0
"""Seconds beyond a program's own limit after which the sandbox itself counts as failed."""

_LONGEST_LINE = 64 << 20


class SandboxFailure(Exception):
    """The sandbox did not do its work: no fault of the program."""


@dataclass(frozen=True)
class Job:
    """A program with the inputs of its tests: `{"stdin": "1 2"}` or `{"args": [1, 2]}` each.

    `time_limit` is CPU seconds a test, `program_limit` seconds for all tests of the program.
    Arguments are written by `resetrl_sandbox.inside.program.plain`.
    """

    program: str
    tests: Sequence[Mapping[str, object]]
    entry_point: str | None = None
    time_limit: float = 4.0
    program_limit: float = 30.0
    memory_mb: int = 512
    output_kb: int = 1024

    def line(self) -> bytes:
        message = {**vars(self), "tests": list(self.tests), "output_bytes": self.output_kb << 10}
        return json.dumps(message).encode() + b"\n"


class Launcher:
    """A launcher process at one level; each program it runs gets processes of its own.

    Its settings are in its command line, with the process id of its host, so that a host can tell
    its own. `packages` maps the names of packages that programs may import to their folders;
    `memory_mb` is that of a program, which bounds a container's, too.
    """

    def __init__(self, level: str, packages: Mapping[str, str], memory_mb: int = 512) -> None:
        python = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
        inner = "landlock_seccomp" if level.startswith("external") else level
        settings = json.dumps({"level": inner, "packages": packages, "host": os.getpid()})
        command = [python, "-I", "-c", _BOOT.format(folder=str(_HERE)), settings]
        self._container = ""
        if level == "external_bubblewrap":
            command = [*bubblewrap(python, _HERE, packages), *command]
        elif level == "external_docker":
            self._container = f"resetrl-sandbox-{secrets.token_hex(8)}"
            outer = docker(self._container, python, _HERE, packages, memory_mb)
            command = [*outer, *command]
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - `close` does
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=None if self._container else {},  # Docker's client has its settings there
            cwd="/",
            bufsize=0,
        )
        self._rest = b""

    def run(self, job: Job) -> Iterator[dict[str, Any]]:
        """What each test did, as it ends; believe none of it before all have been yielded.

        A result has `limit` (None, cpu, wall, output or program), `status` (the exit status,
        negative for a signal), `cpu` seconds, `stdout` and `answer` (base64) and the end of
        `stderr`. Raises SandboxFailure, also if at the end the secret does not come back.
        """
        deadline = time.monotonic() + job.program_limit + _SLACK
        self._write(job.line())
        for number in range(len(job.tests)):
            message = self._receive(deadline)
            if message.pop("test", None) != number:
                raise SandboxFailure(f"test {number} was answered out of turn")
            if "error" in message:
                raise SandboxFailure(message["error"])
            yield message
        if self._receive(deadline) != {"done": True}:
            raise SandboxFailure("the supervisor did not finish")
        secret = {"secret": secrets.token_hex(16)}
        self._write(json.dumps(secret).encode() + b"\n")
        if self._receive(deadline) != secret:
            raise SandboxFailure("the results were not the supervisor's")

    def close(self) -> None:
        """End the launcher; everything it has started dies with it."""
        if self._container:
            end_container(self._container)
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            with contextlib.suppress(BrokenPipeError):
                stream.close()  # type: ignore[union-attr]

    def _write(self, line: bytes) -> None:
        assert self._process.stdin is not None
        rest = memoryview(line)
        with contextlib.suppress(BrokenPipeError):  # reading will tell why
            while rest:
                rest = rest[self._process.stdin.write(rest) or 0 :]

    def _receive(self, deadline: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        output = self._process.stdout.fileno()
        parts = [self._rest]
        while b"\n" not in parts[-1]:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([output], [], [], left)[0]:
                raise SandboxFailure("the sandbox did not answer in time")
            part = os.read(output, 1 << 20)
            if not part:
                raise SandboxFailure(f"the launcher has ended{self._last_words()}")
            parts.append(part)
            if sum(map(len, parts)) > _LONGEST_LINE:
                raise SandboxFailure("the sandbox answered too much")
        line, _, self._rest = b"".join(parts).partition(b"\n")
        try:
            message = json.loads(line)
        except ValueError:
            raise SandboxFailure("the sandbox answered something that is no JSON") from None
        if not isinstance(message, dict):
            raise SandboxFailure("the sandbox answered something that is no message")
        if message.keys() == {"error"}:
            raise SandboxFailure(str(message["error"]))
        return message

    def _last_words(self) -> str:
        """The last line of what it, or what it was started by, had to say, after a colon."""
        end = os.fstat(self._errors.fileno()).st_size
        text = os.pread(self._errors.fileno(), 1000, max(0, end - 1000)).decode("utf-8", "replace")
        lines = text.strip().splitlines()
        return f": {lines[-1]}" if lines else ""
