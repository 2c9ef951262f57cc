"""Worker processes that can be killed: for functions that may hang or fill the memory.

A thread cannot be stopped, and a hang inside C code reaches no Python signal handler. So each job
runs in a worker process, whose kernel alarm ends it whatever it is doing, and a new one takes its
place. Workers are forks of one template process, which has imported the function and warmed up;
so a new one starts within milliseconds, knows what the template knows, and shares its memory. The
template has no threads, and nothing of the process that started it.

All end with that process: the template when its socket closes, and its workers with it. They are
no sandbox: they run our own code on data that cannot be trusted. POSIX only; the memory limit
holds on Linux.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import math
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resetrl.errors import TrainingError

START_SECONDS = 120.0
"""How long a template may take to import its function and warm up, on a busy machine."""

_RESTART_SECONDS = 10.0
"""How long a worker may take to be replaced, on a busy machine."""

_BOOT = "import sys; sys.path[:] = {path!r}; from resetrl.worker_template import serve; serve()"


@dataclass(frozen=True)
class WorkerSettings:
    """What workers run, `package.module:function`, and the limits of one job.

    The function takes and returns what JSON can carry. `warm_up` names another one, which runs
    once before the workers are forked; it must leave no thread, child process or open file.
    """

    function: str
    time_limit: float
    memory_mb: int
    warm_up: str | None = None


@dataclass(frozen=True)
class Failed:
    """A job without a result: `Failed("timeout", "no result within 5 s")`.

    `status` is `timeout`, `out_of_memory` or `crashed`.
    """

    status: str
    why: str


class WorkerPool:
    """Workers for one function, started at the first job and replaced when they die."""

    def __init__(self, settings: WorkerSettings, num_workers: int) -> None:
        self.settings = settings
        self._num_workers = num_workers
        self._template: _Template | None = None
        self._workers: list[_Worker] = []
        self._lock = threading.Lock()

    def map(self, jobs: Sequence[object]) -> list[Any]:
        """The result of each job, or `Failed`, in their order.

        Each job has the whole time limit. Raises TrainingError if no worker starts.
        """
        with self._lock, selectors.DefaultSelector() as selector:
            batch = _Batch(jobs)
            for _ in range(len(self._workers), min(self._num_workers, len(jobs))):
                self._workers.append(self._new_worker())
            for worker in self._workers:
                selector.register(worker.channel, selectors.EVENT_READ, worker)
                batch.give(worker)
            try:
                while not batch.is_done:
                    for key, _ in selector.select():
                        self._take_message(key.data, batch, selector)
            finally:
                for worker in [w for w in self._workers if w.job is not None]:
                    self._workers.remove(worker)  # interrupted: what it says comes too late
                    worker.end()
            return batch.results

    def longest(self, num_jobs: int) -> float:
        """Seconds that `map` may take, if every job is tried twice and each ends its worker."""
        rounds = math.ceil(num_jobs / self._num_workers)
        return START_SECONDS + rounds * 2 * (self.settings.time_limit + _RESTART_SECONDS)

    def close(self) -> None:
        """End all processes; a later `map` starts new ones."""
        with self._lock:
            while self._workers:
                self._workers.pop().end()
            if self._template is not None:
                self._template.end()
                self._template = None

    def _take_message(
        self, worker: _Worker, batch: _Batch, selector: selectors.BaseSelector
    ) -> None:
        message = worker.receive()
        if message is not None:
            batch.accept(worker, message)
        if message is None or message.get("failed") == "out_of_memory":
            selector.unregister(worker.channel)
            self._workers.remove(worker)
            batch.bury(worker, worker.end(), self.settings)
            if batch.is_done:
                return
            worker = self._new_worker()
            self._workers.append(worker)
            selector.register(worker.channel, selectors.EVENT_READ, worker)
        batch.give(worker)

    def _new_worker(self) -> _Worker:
        """One more worker, of a new template if there is none or something killed it."""
        worker = self._template.fork() if self._template is not None else None
        if worker is None:
            template = self._template = _Template(self.settings)
            worker = template.fork()
            if worker is None:
                self._template = None
                raise TrainingError(
                    f"a worker for {self.settings.function} did not start (exit status "
                    f"{template.end()}): give it more than {self.settings.memory_mb} MB, or see "
                    "its message above"
                )
        return worker


class _Template:
    """The process whose forks the workers are. It alone can wait for them, so it also ends them."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            # One hash seed for all: else the order of sets, and so SymPy's ways, would differ.
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-c",
                    _BOOT.format(path=sys.path),
                    json.dumps(vars(settings)),
                ],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env={**os.environ, "PYTHONHASHSEED": "0"},
            )

    def fork(self) -> _Worker | None:
        """A new worker, as soon as the template is ready; None if it has died."""
        ours, theirs = socket.socketpair()
        with theirs:
            process_id = self._ask(b"fork", [theirs.fileno()])
        if process_id is None:
            ours.close()
            return None
        return _Worker(self, process_id, ours)

    def end_worker(self, process_id: int) -> int | None:
        """Kill a worker if it still runs; its exit status, None if the template has died."""
        return self._ask(b"%d" % process_id)

    def end(self) -> int:
        """Kill the process if it still runs; returns its exit status."""
        self._process.kill()
        self._control.close()
        return int(self._process.wait())

    def _ask(self, request: bytes, file_descriptors: Sequence[int] = ()) -> int | None:
        """The template's answer, None if it has died."""
        answer = b""
        try:
            socket.send_fds(self._control, [request], file_descriptors)
            answer = self._control.recv(64)
            if not answer:
                self._process.wait()  # nobody has the other end: it is about to exit
        except OSError:
            pass  # it has died
        finally:  # also if interrupted: the answer would be taken for that of the next request
            if not answer:
                self.end()
        return int(answer) if answer else None


class _Worker:
    """One process. It answers each line with a line."""

    def __init__(self, template: _Template, process_id: int, channel: socket.socket) -> None:
        self.job: int | None = None
        self.channel = channel
        self._template = template
        self._process_id = process_id
        self._replies = channel.makefile("rb")

    def send(self, message: object) -> None:
        with contextlib.suppress(ConnectionError):  # it has died: reading from it will tell
            self.channel.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> dict[str, Any] | None:
        """Its next message, None if it has died."""
        try:
            line = self._replies.readline()
        except ConnectionError:  # it had not read all of its job
            return None
        return json.loads(line) if line.endswith(b"\n") else None

    def end(self) -> int | None:
        """End the process if it still runs; returns its exit status, None if nobody knows it."""
        self._replies.close()
        self.channel.close()
        return self._template.end_worker(self._process_id)


class _Batch:
    """The jobs of one call: which are waiting, which have a result."""

    def __init__(self, jobs: Sequence[object]) -> None:
        self.results: list[Any] = [None] * len(jobs)
        self._jobs = jobs
        self._waiting = deque(range(len(jobs)))
        self._num_open = len(jobs)
        self._tried_again: set[int] = set()

    @property
    def is_done(self) -> bool:
        return self._num_open == 0

    def give(self, worker: _Worker) -> None:
        """The next job for a worker that has none."""
        if worker.job is None and self._waiting:
            worker.job = self._waiting.popleft()
            worker.send(self._jobs[worker.job])

    def accept(self, worker: _Worker, message: Mapping[str, Any]) -> None:
        """What a worker says: a result or a failure."""
        if "failed" in message:
            self._finish(worker, Failed(message["failed"], message["why"]))
        else:
            self._finish(worker, message["result"])

    def bury(self, worker: _Worker, status: int | None, settings: WorkerSettings) -> None:
        """What becomes of the job of a worker that died."""
        if worker.job is None:
            return
        if status == -signal.SIGALRM:
            self._finish(worker, Failed("timeout", f"no result within {settings.time_limit:g} s"))
        elif worker.job in self._tried_again:
            self._finish(worker, Failed("crashed", f"the worker died twice (status {status})"))
        else:  # it may have been killed for something else, such as the machine's memory
            self._tried_again.add(worker.job)
            self._waiting.append(worker.job)
            worker.job = None

    def _finish(self, worker: _Worker, result: object) -> None:
        assert worker.job is not None
        self.results[worker.job] = result
        worker.job = None
        self._num_open -= 1


def shared_pool(settings: WorkerSettings, num_workers: int) -> WorkerPool:
    """The pool of this process with these settings: starting it may take a second."""
    return _pool_of(os.getpid(), settings, num_workers)


@functools.cache
def _pool_of(process_id: int, settings: WorkerSettings, num_workers: int) -> WorkerPool:
    pool = WorkerPool(settings, num_workers)

    def close() -> None:
        if os.getpid() == process_id:  # a fork of this process has no workers of its own
            pool.close()

    atexit.register(close)
    return pool
