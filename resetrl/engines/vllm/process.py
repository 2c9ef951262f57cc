"""The worker process: its start, its messages, and what to say when it dies or hangs."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import tempfile
import time
import weakref
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from resetrl.engines.vllm.setup import REMOTE
from resetrl.errors import EngineError

Message = Mapping[str, Any]

_LOG_LINES = 8
_POLL_SECONDS = 1.0
_END_SECONDS = 5.0


class Channel(Protocol):
    """Where messages go: the worker process, or in tests something that answers like it."""

    def send(self, message: Message) -> None: ...

    def receive(self) -> Message:
        """The next reply; raises `resetrl.errors.EngineError` if it is an error or none comes."""
        ...

    def call(self, message: Message) -> Message:
        """The reply to one message."""
        ...


class WorkerProcess:
    """A process with vLLM in it, which ends when this object is forgotten or the trainer ends.

    Its output goes to a log file, which is kept if it does not end in order.
    """

    def __init__(self, python: str, environment: Mapping[str, str], timeout: float) -> None:
        self._timeout = timeout
        mine, theirs = socket.socketpair()
        handle, log = tempfile.mkstemp(prefix="resetrl-vllm-", suffix=".log")
        self._log = Path(log)
        self._process = subprocess.Popen(
            [python, str(REMOTE / "resetrl_vllm_worker.py"), str(theirs.fileno())],
            env=dict(environment),
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # an interrupt at the terminal is for the trainer alone
        )
        theirs.close()
        os.close(handle)
        self._connection = Connection(mine.detach())
        self.close = weakref.finalize(self, _end, self._process, self._connection, self._log)

    def start(self, settings: Message, timeout: float) -> None:
        """Have vLLM started with these EngineArgs; EngineError if it does not come up."""
        self.send(settings)
        self._receive(timeout, "engine.start_timeout")

    def call(self, message: Message) -> Message:
        self.send(message)
        return self.receive()

    def send(self, message: Message) -> None:
        try:
            self._connection.send_bytes(json.dumps(message).encode())
        except OSError:
            raise self._died() from None

    def receive(self) -> Message:
        return self._receive(self._timeout, "engine.reply_timeout")

    def _receive(self, timeout: float, option: str) -> Message:
        deadline = time.monotonic() + timeout
        try:
            while not self._connection.poll(_POLL_SECONDS):
                if self._process.poll() is not None:
                    raise self._died()
                if time.monotonic() > deadline:
                    self._process.kill()
                    raise EngineError(
                        f"the vLLM process has not answered for {timeout:g} s: look into its log "
                        f"{self._log}, or raise {option}{self._last_words()}"
                    )
            reply: Message = json.loads(self._connection.recv_bytes())
        except (EOFError, OSError):
            raise self._died() from None
        if "error" in reply:
            raise EngineError(f"vLLM says {reply['error']} (log: {self._log})")
        return reply

    def _died(self) -> EngineError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        code = self._process.returncode
        how = f"was ended by signal {-code}" if code is not None and code < 0 else "has ended"
        return EngineError(
            f"the vLLM process {how}: look into its log {self._log}{self._last_words()}"
        )

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()
        last = [line for line in lines if line.strip()][-_LOG_LINES:]
        return "; its last lines:\n" + "\n".join(last) if last else ""


def _end(process: subprocess.Popen[bytes], connection: Connection, log: Path) -> None:
    """Close the pipe, at which the worker ends by itself; kill it if it does not."""
    connection.close()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.returncode == 0:
        log.unlink(missing_ok=True)
