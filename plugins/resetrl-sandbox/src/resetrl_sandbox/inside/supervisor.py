"""One program's supervisor: sets up its namespaces, runs each of its tests in a fresh process.

The conversation, in lines of JSON: a job comes in; a result of each test goes out; when every
process of the program is dead, `{"done": true}`; a secret comes in and goes back out. No process
that has ever run the program's code was alive when the secret came, so only the supervisor can
know it, and whatever else might have been written there is not believed. The program has no
descriptor that leads here. In its pid namespace the supervisor is not even a process.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from resetrl_sandbox.inside import kernel
from resetrl_sandbox.inside.calls import filter_for
from resetrl_sandbox.inside.folders import SCRATCH, Folders, unshare_as_user
from resetrl_sandbox.inside.program import ANSWER, Limits, become_program, keep_descriptors

NOTHING_TO_DO = 3
"""Exit status when standard input is at its end."""

UNABLE = 4
"""Exit status when this machine does not let it set up the sandbox, which it has said."""

ENTERED = b"\n"
"""What a test's process writes before the program's code runs in it, which can then not unwrite it:
a process that is not shut in is our failure, not the program's."""

_ERRORS_KEPT = 4096
"""Bytes of standard error that are kept, the last ones."""

_OPEN_FILES = 64
_THREADS = 64


def read_line() -> bytes:
    """A line of standard input, which has no more than that until it is answered."""
    parts = []
    while part := os.read(0, 1 << 20):
        parts.append(part)
        if part.endswith(b"\n"):
            break
    return b"".join(parts)


def say(message: Mapping[str, object]) -> None:
    line = memoryview(json.dumps(message).encode() + b"\n")
    while line:
        line = line[os.write(1, line) :]


@dataclass
class Supervisor:
    """Waits for one program, ready to run it. `processes` is an open /proc; `threads` counts those
    that the user had when the launcher started."""

    level: str
    folders: Folders
    processes: int
    threads: int

    def serve(self) -> int:
        """Run the next program and report; returns the exit status for this process."""
        kernel.die_with_parent()
        try:
            first = self._set_up()
        except OSError as error:
            say({"error": f"{self.level} cannot be set up: {error}"})
            return UNABLE
        job = json.loads(read_line() or "null")
        if job is None:
            return NOTHING_TO_DO
        ends = time.monotonic() + job["program_limit"]
        for number, test in enumerate(job["tests"]):
            say({"test": number, **self._run(job, test, ends)})
        if first is not None:
            os.kill(first, signal.SIGKILL)  # and with it everything in its pid namespace
            os.waitpid(first, 0)
        say({"done": True})
        say(json.loads(read_line()))
        return 0

    def _set_up(self) -> int | None:
        """Enter fresh namespaces; returns the first process of the pid namespace."""
        if self.level != "namespaces":
            kernel.set_dumpable(False)
            return None
        fresh = kernel.CLONE_NEWPID | kernel.CLONE_NEWNET | kernel.CLONE_NEWNS
        unshare_as_user(fresh | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS, self.processes)
        kernel.set_dumpable(False)
        kernel.mount(
            "",
            SCRATCH,
            "tmpfs",
            kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC,
            "mode=700,size=16m,nr_inodes=1k",
        )
        ours, its_own = os.pipe()
        first = os.fork()
        if first == 0:
            os.close(its_own)
            os.read(ours, 1)  # until the supervisor dies: then everything here does
            os._exit(0)
        os.close(ours)
        kernel.die_with_parent()  # which a change of privileges may have undone
        return first

    def _run(self, job: Mapping[str, Any], test: Mapping[str, Any], ends: float) -> dict[str, Any]:
        """Run one test to its end and say how that was."""
        # Without a filter, whoever may start a thread may start a process: then nobody may.
        threads = 0 if self.level == "rlimits" else self.threads + _THREADS
        limits = Limits(job["time_limit"], job["memory_mb"], threads, _OPEN_FILES)
        wall = min(2 * limits.seconds + 1, ends - time.monotonic())
        if wall <= 0:
            return {"limit": "program"}
        pipes = [os.pipe() for _ in range(3)]
        given = _read_only_file(test.get("stdin", "").encode("utf-8", "surrogatepass"))
        started = time.monotonic()
        process = os.fork()
        if process == 0:
            try:
                self._enter(limits, [given, *(writer for _, writer in pipes)])
                become_program(job["program"], job.get("entry_point"), test.get("args"))
            except OSError as error:
                os.write(2, str(error).encode())
            finally:
                os._exit(UNABLE)
        os.close(given)
        for _, writer in pipes:
            os.close(writer)
        collected = _Collected([reader for reader, _ in pipes], job["output_bytes"])
        limit = collected.wait(process, started + wall)
        _, status, usage = os.wait4(process, 0)
        collected.drain()
        output, errors, answer = (bytes(each) for each in collected.texts)
        if not (answer.startswith(ENTERED) or limit):
            return {"error": f"a test could not be shut in: {errors.decode('utf-8', 'replace')}"}
        cpu = usage.ru_utime + usage.ru_stime
        late = cpu >= limits.seconds or os.waitstatus_to_exitcode(status) == -signal.SIGXCPU
        return {
            "limit": limit or ("output" if collected.is_too_much else "cpu" if late else None),
            "status": os.waitstatus_to_exitcode(status),
            "cpu": round(cpu, 4),
            "stdout": base64.b64encode(output).decode(),
            "answer": base64.b64encode(answer[len(ENTERED) :]).decode(),
            "stderr": errors.decode("utf-8", "replace"),
        }

    def _enter(self, limits: Limits, descriptors: list[int]) -> None:
        """In the test's process: leave it nothing but its four descriptors and its limits."""
        kernel.die_with_parent()
        os.setsid()
        keep_descriptors(descriptors)
        limits.apply()
        scratch = self.level == "namespaces"
        os.chdir(SCRATCH if scratch else "/")
        if scratch:
            kernel.drop_capabilities()
        kernel.no_new_privileges()
        if self.level != "rlimits":
            kernel.restrict_files(
                self.folders.readable, [*self.folders.devices, *([SCRATCH] if scratch else [])]
            )
            kernel.install_filter(filter_for(kernel.MACHINE, os.getpid()))
        os.write(ANSWER, ENTERED)


def _read_only_file(content: bytes) -> int:
    """Content as an open file without a name, which nobody can change or make larger."""
    descriptor = os.memfd_create("stdin", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


class _Collected:
    """What a process writes: standard output, standard error (its end only), its answer."""

    def __init__(self, readers: list[int], most: int) -> None:
        self.texts = [bytearray(), bytearray(), bytearray()]
        self._readers = dict(zip(readers, self.texts, strict=True))
        self._most = most
        for reader in readers:
            os.set_blocking(reader, False)

    @property
    def is_too_much(self) -> bool:
        return any(len(self.texts[place]) > self._most for place in (0, 2))

    def wait(self, process: int, deadline: float) -> str | None:
        """Collect until the process has ended; kill it at a limit, and say which."""
        handle = os.pidfd_open(process)
        poll = select.poll()
        for descriptor in (handle, *self._readers):
            poll.register(descriptor, select.POLLIN)
        poll.register(0, 0)  # only its end
        limit = None
        while True:
            left = deadline - time.monotonic()
            ready = [d for d, _ in poll.poll(max(left, 0) * 1000)]
            if 0 in ready:  # the host has ended, which in a container nobody else would tell
                os._exit(NOTHING_TO_DO)
            for descriptor in ready:
                if descriptor != handle and not self._take(descriptor):
                    poll.unregister(descriptor)
            limit = "output" if self.is_too_much else "wall" if left <= 0 else None
            if limit or handle in ready:
                break
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        os.close(handle)
        return limit

    def drain(self) -> None:
        """Take what is still in the pipes, now that nobody writes, and close them."""
        for reader in self._readers:
            while not self.is_too_much and self._take(reader):
                pass
            os.close(reader)

    def _take(self, reader: int) -> bool:
        """Read once; False if there is nothing, or never again."""
        try:
            part = os.read(reader, 1 << 16)
        except BlockingIOError:
            return False
        text = self._readers[reader]
        text += part
        if text is self.texts[1]:
            del text[:-_ERRORS_KEPT]
        return bool(part)
