"""A number of processes at a time, each with its own log, process group and device.

Processes come from multiprocessing's fork server, which imports what all of them need once: a
job of seconds does not spend most of them on importing torch.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from resetrl.errors import ResetrlError
from resetrl.run.launch import without_script
from resetrl.sweep.job import run_job

END_SECONDS = 30.0
"""How long an interrupted job may take to write down how far it came."""


@dataclass(frozen=True)
class Ended:
    """A process that is gone: `Ended(3, -9, b"", 12.5)` was killed after 12.5 s without an answer.

    `exit_code` is negative for a signal; `answer` is what the job sent, empty if nothing.
    """

    number: int
    exit_code: int
    answer: bytes
    seconds: float

    @property
    def reason(self) -> str:
        """Why there is no answer: `killed by SIGKILL`, `exit status 3`."""
        if self.exit_code >= 0:
            return f"its process ended with exit status {self.exit_code}"
        name = signal.Signals(-self.exit_code).name
        hint = " (out of memory?)" if self.exit_code == -signal.SIGKILL else ""
        return f"its process was killed by {name}{hint}"


@dataclass
class _Running:
    number: int
    process: ForkServerProcess
    answers: Connection
    slots: Sequence[int]
    started: float
    answer: bytes = b""


@dataclass
class JobPool:
    """Runs jobs in processes, as many at a time as `num_slots` hold; slot k has `devices[k % len]`.

    A job takes a slot for each process it will have. The numbers of the jobs are the caller's. A
    device is `cpu`, `cuda:1` or `1`; a job sees those of its slots only. Without devices it sees
    what this process sees.
    """

    num_slots: int
    devices: Sequence[str] = ()
    _running: list[_Running] = field(default_factory=list, init=False)

    def has_room(self, num_processes: int = 1) -> bool:
        """Whether a job of so many processes may start now.

        On CPU cores one alone may have more processes than there are slots.
        """
        if not self._running and not self.devices:
            return True
        return len(self._free_slots()) >= num_processes

    def _free_slots(self) -> list[int]:
        taken = {slot for job in self._running for slot in job.slots}
        return [slot for slot in range(self.num_slots) if slot not in taken]

    @property
    def numbers(self) -> list[int]:
        """The jobs that run."""
        return [job.number for job in self._running]

    def start(
        self, number: int, payload: Sequence[bytes], log: Path, num_processes: int = 1
    ) -> None:
        """Start a job that writes to the end of `log`; see `resetrl.sweep.job.run_job`."""
        slots = self._free_slots()[:num_processes]
        environment = dict(os.environ)
        if self.devices:
            devices = [visible_device(self.devices[slot % len(self.devices)]) for slot in slots]
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(filter(None, devices))
        answers, reply = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("forkserver").Process(
            target=run_job,
            args=(tuple(payload), str(log), environment, reply, END_SECONDS),
            name=f"resetrl-job-{number}",
        )
        try:
            with without_script():  # cloudpickle sends what it defines by value
                process.start()
        except (OSError, EOFError) as error:
            raise ResetrlError(
                f"job {number} could not be started ({error or 'the fork server died'}): what it "
                "printed is above; run fewer jobs at a time if memory is short"
            ) from error
        reply.close()
        self._running.append(_Running(number, process, answers, slots, time.monotonic()))

    def wait(self, seconds: float) -> list[Ended]:
        """The jobs that have ended; waits so long for a first one."""
        news: list[int | Connection] = [job.process.sentinel for job in self._running]
        news += [job.answers for job in self._running if not job.answers.closed]
        ready = wait(news, seconds)
        for job in self._running:
            if job.answers in ready:
                with suppress(EOFError):  # it ended without an answer
                    job.answer = job.answers.recv_bytes()
                job.answers.close()
        return [self._end(job) for job in list(self._running) if job.process.sentinel in ready]

    def stop(self) -> list[Ended]:
        """Interrupt every job, kill what is left after `END_SECONDS`, and return them.

        A KeyboardInterrupt while it waits kills at once.
        """
        ended: list[Ended] = []
        deadline = time.monotonic() + END_SECONDS
        self._signal(signal.SIGINT)
        try:
            while self._running and (left := deadline - time.monotonic()) > 0:
                ended += self.wait(left)
        except KeyboardInterrupt:
            pass
        self._signal(signal.SIGKILL)
        while self._running:
            ended += self.wait(1.0)
        return ended

    def _end(self, job: _Running) -> Ended:
        job.process.join()
        _signal_group(job.process, signal.SIGKILL)  # what the job started and left behind
        self._running.remove(job)
        if not job.answers.closed:  # the process ended between the look at it and this
            with suppress(EOFError):
                job.answer = job.answers.recv_bytes()
            job.answers.close()
        exit_code = job.process.exitcode
        assert exit_code is not None
        return Ended(job.number, exit_code, job.answer, time.monotonic() - job.started)

    def _signal(self, number: signal.Signals) -> None:
        for job in self._running:
            _signal_group(job.process, number)


def _signal_group(process: ForkServerProcess, number: signal.Signals) -> None:
    assert process.pid is not None
    for send in (os.killpg, os.kill):  # a process that has just begun is in no group of its own
        with suppress(ProcessLookupError, PermissionError):
            send(process.pid, number)
            return


def visible_device(device: str) -> str:
    """CUDA_VISIBLE_DEVICES of a device slot: `cuda:1` and `1` give `1`, `cpu` gives nothing."""
    name = device.strip().removeprefix("cuda:")
    if name != "cpu" and not name.isdecimal():
        raise ResetrlError(
            f"hydra.launcher.devices has {device!r}: write cuda:0, cuda:1 ... or cpu"
        )
    return "" if name == "cpu" else name


def warm_up(preload: Sequence[str]) -> None:
    """Start the fork server, unless it runs, so that it imports while this process goes on.

    A Ctrl-C in the terminal, which reaches the whole group, is none of its business.
    """
    forkserver.set_forkserver_preload(list(preload))
    with _interrupts_ignored():
        forkserver.ensure_running()


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # no signals there
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
