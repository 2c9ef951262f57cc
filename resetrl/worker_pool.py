"""Worker processes that can be killed: for functions that may hang or fill the memory.

A thread cannot be stopped, and a hang inside C code reaches no Python signal handler. So each job
runs in a worker process, whose kernel alarm ends it whatever it is doing, and a new one takes its
place. Workers end with the process that started them: idle ones when their standard input
closes, busy ones by their alarm at the latest. They are no sandbox: they run our own code on
data that cannot be trusted. POSIX only; the memory limit holds on Linux.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import json
import math
import os
import selectors
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from resetrl.errors import TrainingError

_START_SECONDS = 120.0
"""How long a worker may take to import its function, on a busy machine."""

_RESTART_SECONDS = 10.0
"""How long that usually takes at most, when a worker is replaced."""

_BOOT = "import sys; sys.path[:] = {path!r}; from resetrl.worker_pool import serve; serve()"


@dataclass(frozen=True)
class WorkerSettings:
    """What workers run, `package.module:function`, and the limits of one job.

    The function takes and returns what JSON can carry.
    """

    function: str
    time_limit: float
    memory_mb: int


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
        self._workers: list[_Worker] = []
        self._lock = threading.Lock()

    def map(self, jobs: Sequence[object]) -> list[Any]:
        """The result of each job, or `Failed`, in their order.

        Each job has the whole time limit. Raises TrainingError if no worker starts.
        """
        with self._lock, selectors.DefaultSelector() as selector:
            batch = _Batch(jobs)
            for _ in range(len(self._workers), min(self._num_workers, len(jobs))):
                self._workers.append(_Worker(self.settings))
            for worker in self._workers:
                selector.register(worker.output, selectors.EVENT_READ, worker)
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
        return _START_SECONDS + rounds * 2 * (self.settings.time_limit + _RESTART_SECONDS)

    def close(self) -> None:
        """End all workers; a later `map` starts new ones."""
        with self._lock:
            while self._workers:
                self._workers.pop().end()

    def _take_message(
        self, worker: _Worker, batch: _Batch, selector: selectors.BaseSelector
    ) -> None:
        message = worker.receive()
        if message is not None:
            batch.accept(worker, message)
        if message is None or message.get("failed") == "out_of_memory":
            selector.unregister(worker.output)
            self._workers.remove(worker)
            status = worker.end()
            if not worker.is_ready:
                raise TrainingError(
                    f"a worker for {self.settings.function} did not start (exit status {status}): "
                    f"give it more than {self.settings.memory_mb} MB, or see its message above"
                )
            batch.bury(worker, status, self.settings)
            if batch.is_done:
                return
            worker = _Worker(self.settings)
            self._workers.append(worker)
            selector.register(worker.output, selectors.EVENT_READ, worker)
        batch.give(worker)


class _Worker:
    """One process. It says that it is ready, then answers each line with a line."""

    def __init__(self, settings: WorkerSettings) -> None:
        self.job: int | None = None
        self.is_ready = False
        # One hash seed for all: else the order of sets, and with it SymPy's ways, would differ.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _BOOT.format(path=sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._input, self.output = self._process.stdin, self._process.stdout
        self.send(asdict(settings))

    def send(self, message: object) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has died: reading from it will tell
            self._input.write(json.dumps(message).encode() + b"\n")
            self._input.flush()

    def receive(self) -> dict[str, Any] | None:
        """Its next message, None if it has died."""
        line = self.output.readline()
        return json.loads(line) if line.endswith(b"\n") else None

    def end(self) -> int:
        """Kill the process if it still runs; returns its exit status."""
        self._process.kill()
        self.output.close()
        with contextlib.suppress(BrokenPipeError):
            self._input.close()
        return self._process.wait()


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
        """The next job for a worker that is ready and has none."""
        if worker.is_ready and worker.job is None and self._waiting:
            worker.job = self._waiting.popleft()
            worker.send(self._jobs[worker.job])

    def accept(self, worker: _Worker, message: Mapping[str, Any]) -> None:
        """What a worker says: that it is ready, a result or a failure."""
        if not worker.is_ready:
            worker.is_ready = True
        elif "failed" in message:
            self._finish(worker, Failed(message["failed"], message["why"]))
        else:
            self._finish(worker, message["result"])

    def bury(self, worker: _Worker, status: int, settings: WorkerSettings) -> None:
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
    """The pool of this process with these settings: starting a worker may take a second."""
    return _pool_of(os.getpid(), settings, num_workers)


@functools.cache
def _pool_of(process_id: int, settings: WorkerSettings, num_workers: int) -> WorkerPool:
    pool = WorkerPool(settings, num_workers)

    def close() -> None:
        if os.getpid() == process_id:  # a fork of this process has no workers of its own
            pool.close()

    atexit.register(close)
    return pool


# --- In the worker ----------------------------------------------------------------------------


def serve() -> None:
    """Run jobs from standard input until it closes."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # which ends the process, also within C code
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started it
    signal.setitimer(signal.ITIMER_REAL, _START_SECONDS)
    requests, replies = sys.stdin.buffer, os.dup(sys.stdout.fileno())
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    settings = WorkerSettings(**json.loads(requests.readline()))
    _limit_memory(settings.memory_mb)
    module, _, name = settings.function.partition(":")
    function = getattr(importlib.import_module(module), name)
    os.dup2(nowhere, sys.stderr.fileno())
    signal.setitimer(signal.ITIMER_REAL, 0)
    os.write(replies, b"{}\n")
    for line in requests:
        signal.setitimer(signal.ITIMER_REAL, settings.time_limit)
        message = _run(function, json.loads(line))
        signal.setitimer(signal.ITIMER_REAL, 0)
        os.write(replies, json.dumps(message).encode() + b"\n")


def _limit_memory(megabytes: int) -> None:
    import resource

    size = megabytes * 2**20
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    if most == resource.RLIM_INFINITY or size < most:
        resource.setrlimit(resource.RLIMIT_AS, (size, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _run(function: Callable[[Any], object], job: object) -> dict[str, object]:
    try:
        return {"result": function(job)}
    except MemoryError:
        return {"failed": "out_of_memory", "why": "the memory limit was reached"}
    except Exception as error:  # data that cannot be trusted may make a library raise anything
        return {"failed": "crashed", "why": f"{type(error).__name__}: {error}"[:200]}
