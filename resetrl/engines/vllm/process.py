"""The worker process: its start, its messages, and what to say when it dies or hangs."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import weakref
from collections.abc import Mapping
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import Any, Protocol

from resetrl.engines.vllm.setup import REMOTE
from resetrl.errors import EngineError

Message = Mapping[str, Any]

_LOG = "vllm.log"
_SOCKET = "socket"
_SOCKET_PATH_LEN = 100
_FOLDER_PATH_LEN = 60
"""Bytes that the path of a socket may have on any system, and that of a folder for vLLM's, whose
names have 37."""

_PATIENCE_SECONDS = 10.0
"""How often a worker that is well says so to a rank that waits."""

_LOG_LINES = 8
_POLL_SECONDS = 1.0
_END_SECONDS = 20.0
"""vLLM gives the processes of several GPUs some seconds to end."""


class Channel(Protocol):
    """Where messages go: the worker process, or in tests something that answers like it."""

    def send(self, message: Message) -> None: ...

    def receive(self) -> Message:
        """The next reply; raises `resetrl.errors.EngineError` if it is an error or none comes."""
        ...

    def call(self, message: Message) -> Message:
        """The reply to one message."""
        ...


class WorkerChannel:
    """A connection to a worker process, which another rank may have started in its folder.

    The worker answers within `timeout` seconds, or says that it waits for other ranks.
    """

    def __init__(self, folder: Path, connection: Connection, timeout: float) -> None:
        self.folder = folder
        self._log = folder / _LOG
        self._connection = connection
        self._timeout = timeout

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
        reply: Message = {"waits": True}
        while "waits" in reply:
            reply = self._next(timeout, option)
        if "error" in reply:
            words = self._last_words()
            raise EngineError(f"vLLM says {reply['error']} (log: {self._log}){words}")
        return reply

    def _next(self, timeout: float, option: str) -> Message:
        deadline = time.monotonic() + timeout
        try:
            while not self._connection.poll(_POLL_SECONDS):
                if self._has_ended():
                    raise self._died()
                if time.monotonic() > deadline:
                    self._kill()
                    raise EngineError(
                        f"the vLLM process has not answered for {timeout:g} s: look into its log "
                        f"{self._log}, or raise {option}{self._last_words()}"
                    )
            message: Message = json.loads(self._connection.recv_bytes())
        except (EOFError, OSError):
            raise self._died() from None
        return message

    def _has_ended(self) -> bool:
        """Whether the worker is known to be gone; a closed connection says so too."""
        return False

    def _kill(self) -> None:
        """End a worker that hangs, if it is this process's own."""

    def _died(self) -> EngineError:
        how, words = self._how_it_ended(), self._last_words()
        return EngineError(f"the vLLM process {how}: look into its log {self._log}{words}")

    def _how_it_ended(self) -> str:
        return "has ended"

    def _last_words(self) -> str:
        with contextlib.suppress(FileNotFoundError):  # its rank ended in order and took it along
            lines = self._log.read_text(errors="replace").splitlines()
            last = [line for line in lines if line.strip()][-_LOG_LINES:]
            return "; its last lines:\n" + "\n".join(last) if last else ""
        return ""


class WorkerProcess(WorkerChannel):
    """A process with vLLM in it, which ends when this object is forgotten or the trainer ends.

    Its output goes to a log file, which is kept if it does not end in order.
    """

    def __init__(self, python: str, environment: Mapping[str, str], timeout: float) -> None:
        folder = Path(tempfile.mkdtemp(prefix="resetrl-vllm-"))
        variables = dict(environment)
        if len(os.fsencode(folder)) < _FOLDER_PATH_LEN:  # vLLM leaves its own sockets behind
            variables["VLLM_RPC_BASE_PATH"] = str(folder)
        mine, theirs = socket.socketpair()
        with (folder / _LOG).open("wb") as log:
            self._process = subprocess.Popen(
                [python, str(REMOTE / "resetrl_vllm_worker.py"), str(theirs.fileno())],
                env=variables,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # an interrupt at the terminal is for the trainer alone
            )
        theirs.close()
        super().__init__(folder, Connection(mine.detach()), timeout)
        self.close = weakref.finalize(self, _end, self._process, self._connection, folder)

    def start(self, settings: Message, timeout: float, num_others: int = 0) -> None:
        """Have vLLM started with these EngineArgs; EngineError if it does not come up.

        It then waits for that many other ranks, which `join` it.
        """
        path = str(self.folder / _SOCKET)
        if num_others and len(os.fsencode(path)) > _SOCKET_PATH_LEN:
            raise EngineError(
                f"the ranks cannot meet at {path}, whose name is longer than a socket's may be: "
                "set TMPDIR to a folder with a shorter name"
            )
        patience = min(_PATIENCE_SECONDS, self._timeout / 3)
        self.send(
            {"settings": settings, "socket": path, "others": num_others, "patience": patience}
        )
        self._receive(timeout, "engine.start_timeout")

    def _has_ended(self) -> bool:
        return self._process.poll() is not None

    def _kill(self) -> None:
        self._process.kill()

    def _how_it_ended(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        code = self._process.returncode
        return f"was ended by signal {-code}" if code is not None and code < 0 else "has ended"


def join(folder: Path, timeout: float) -> WorkerChannel:
    """A channel to the worker that another rank has started, with a folder of its own."""
    try:
        connection = Client(str(folder / _SOCKET))
    except OSError as error:
        raise EngineError(
            f"the vLLM process of another rank cannot be reached in {folder}: {error}"
        ) from error
    return WorkerChannel(folder, connection, timeout)


def _end(process: subprocess.Popen[bytes], connection: Connection, folder: Path) -> None:
    """Close the pipe, at which the worker ends by itself; kill it if it does not."""
    connection.close()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.returncode == 0:
        shutil.rmtree(folder, ignore_errors=True)
