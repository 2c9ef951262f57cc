"""What goes on in the process of a job: from the pickled task to the answer."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, NoReturn

from resetrl.errors import ResetrlError

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn

INTERRUPTED = 130
"""The exit status of a job that was interrupted, as a shell has it."""


class JobError(ResetrlError):
    """A job of a sweep failed; the message says why."""


def run_job(
    payload: Sequence[bytes],
    log: str,
    environment: Mapping[str, str],
    reply: Connection,
    end_seconds: float,
) -> None:
    """Run a pickled hydra job in this process, its output in `log`, and send its JobReturn.

    `payload` is the task function, (singletons, hydra context) and the job's configuration, each
    pickled by itself: what unpickling the first imports, the others may need. If the starting
    process dies, this one is interrupted, and killed `end_seconds` later.
    """
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _redirect_output(log)
    threading.Thread(target=_end_with_parent, args=(end_seconds,), daemon=True).start()
    os.environ.clear()
    os.environ.update(environment)
    try:
        reply.send_bytes(_pickled(_run(payload)))
    except KeyboardInterrupt:
        _leave("interrupted", INTERRUPTED)


def _run(payload: Sequence[bytes]) -> JobReturn:
    import cloudpickle
    from hydra.core.singleton import Singleton
    from hydra.core.utils import JobStatus, run_job, setup_globals

    task_function, (singletons, context), config = map(cloudpickle.loads, payload)
    setup_globals()
    Singleton.set_state(singletons)
    done = run_job(
        task_function=task_function,
        config=config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
        hydra_context=context,
    )
    if done.status is JobStatus.FAILED:
        done.return_value = _told(done._return_value)
    return done


def _told(error: Exception) -> JobError:
    """The error as one that can be sent, after its story has been printed into the log."""
    if isinstance(error, ResetrlError):
        print(f"error: {error}", file=sys.stderr)
        return JobError(str(error))
    traceback.print_exception(error)
    return JobError(f"{type(error).__name__}: {error}")


def _pickled(done: JobReturn) -> bytes:
    import cloudpickle
    from hydra.core.utils import JobStatus

    try:
        return bytes(cloudpickle.dumps(done))
    except Exception as error:  # whatever an unknown task's value makes of being pickled
        done.status = JobStatus.FAILED
        done.return_value = JobError(f"what the task returned cannot be sent back: {error}")
        return bytes(cloudpickle.dumps(done))


def _redirect_output(log: str) -> None:
    """Everything this process and its children print goes to the end of the log."""
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    sys.stdout = open(1, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115


def _end_with_parent(end_seconds: float) -> None:
    """Wait for the starting process to die, however it does, and then end this one's group."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os.killpg(0, signal.SIGINT)
    time.sleep(end_seconds)
    os.killpg(0, signal.SIGKILL)


def _leave(sentence: str, status: int) -> NoReturn:
    print(sentence, file=sys.stderr)
    sys.exit(status)
