"""What the processes of `resetrl.worker_pool` do: the template, and its forks, the workers.

The template has one thread and no file but the socket to its pool; what a worker has, the template
and other workers do not.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from resetrl.worker_pool import START_SECONDS, WorkerSettings


def serve() -> None:
    """Be the template: fork workers, and end them, as the socket at standard input asks."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # which ends the process, also within C code
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started it
    signal.setitimer(signal.ITIMER_REAL, START_SECONDS)
    nowhere = os.open(os.devnull, os.O_RDWR)
    with socket.socket(fileno=os.dup(sys.stdin.fileno())) as control:
        os.dup2(nowhere, sys.stdin.fileno())
        settings = WorkerSettings(**json.loads(sys.argv[1]))
        _limit_memory(settings.memory_mb)
        function = _imported(settings.function)
        if settings.warm_up is not None:
            _imported(settings.warm_up)()
        gc.collect()
        gc.freeze()  # what is there now is no garbage: looking through it would also copy it
        os.dup2(nowhere, sys.stderr.fileno())
        signal.setitimer(signal.ITIMER_REAL, 0)
        _fork_on_request(control, function, settings.time_limit)


def _fork_on_request(
    control: socket.socket, function: Callable[[Any], object], time_limit: float
) -> None:
    """Answer a socket with a worker's id, a number with how that one ended; until it closes."""
    workers: set[int] = set()
    try:
        while True:
            request, descriptors, _, _ = socket.recv_fds(control, 64, 1)
            if not request:
                return
            if descriptors:
                with socket.socket(fileno=descriptors[0]) as channel:
                    channel.set_inheritable(False)
                    answer = _fork(control, channel, function, time_limit)
                workers.add(answer)
            else:
                worker = int(request)
                os.kill(worker, signal.SIGKILL)
                answer = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
                workers.remove(worker)
            control.sendall(b"%d" % answer)
    finally:
        for worker in workers:
            os.kill(worker, signal.SIGKILL)


def _fork(
    control: socket.socket,
    channel: socket.socket,
    function: Callable[[Any], object],
    time_limit: float,
) -> int:
    """The process id of a new worker, which runs jobs from its channel until that closes."""
    process_id = os.fork()
    if process_id == 0:
        try:
            control.close()
            for line in channel.makefile("rb"):
                signal.setitimer(signal.ITIMER_REAL, time_limit)
                message = _run(function, json.loads(line))
                signal.setitimer(signal.ITIMER_REAL, 0)
                channel.sendall(json.dumps(message).encode() + b"\n")
        finally:
            os._exit(0)  # never back into what the template does
    return process_id


def _imported(path: str) -> Callable[..., Any]:
    module, _, name = path.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


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
