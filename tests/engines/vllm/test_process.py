"""The worker process: what is said when it dies, hangs or refuses; it never stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from resetrl.engines.vllm import process
from resetrl.engines.vllm.process import WorkerProcess, join
from resetrl.errors import EngineError

HEAD = """
import json, os, signal, sys, time
from multiprocessing.connection import Connection
connection = Connection(int(sys.argv[1]))
def receive(): return json.loads(connection.recv_bytes())
def send(message): connection.send_bytes(json.dumps(message).encode())
"""


def start(
    body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, timeout: float = 20.0
) -> WorkerProcess:
    """A worker process with another program in it."""
    (tmp_path / "resetrl_vllm_worker.py").write_text(HEAD + body)
    monkeypatch.setattr(process, "REMOTE", tmp_path)
    monkeypatch.setattr(process, "_POLL_SECONDS", 0.05)
    monkeypatch.setattr(process.tempfile, "tempdir", str(tmp_path))
    return WorkerProcess(sys.executable, os.environ, timeout)


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """One whose name leaves room for that of a socket."""
    with tempfile.TemporaryDirectory(prefix="rl-", dir="/tmp") as folder:
        yield Path(folder)


def test_messages_go_there_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = start("while True: send({'got': receive()})", tmp_path, monkeypatch)
    assert worker.call({"op": "x", "values": [0.1, 2]}) == {"got": {"op": "x", "values": [0.1, 2]}}


def test_a_worker_that_dies_is_reported_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = "receive(); print('out of memory', flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    worker = start(body, tmp_path, monkeypatch)
    with pytest.raises(EngineError, match=r"was ended by signal 9: .*\.log; .*\nout of memory"):
        worker.call({})
    with pytest.raises(EngineError, match="was ended by signal 9"):
        worker.send({})
    worker.close()
    assert len(list(tmp_path.glob("resetrl-vllm-*/vllm.log"))) == 1


def test_a_worker_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = start("receive(); time.sleep(60)", tmp_path, monkeypatch, timeout=0.2)
    with pytest.raises(EngineError, match=r"not answered for 0.2 s: .* raise engine.reply_timeout"):
        worker.call({})


def test_what_vllm_refuses_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = start("receive(); send({'error': 'ValueError: no'})", tmp_path, monkeypatch)
    with pytest.raises(EngineError, match=r"vLLM says ValueError: no \(log: "):
        worker.start({"model": "x"}, timeout=20)


def test_a_worker_ends_in_order_and_takes_its_log_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = "try: receive()\nexcept EOFError: pass"
    worker = start(body, tmp_path, monkeypatch)
    worker.close()
    assert list(tmp_path.glob("resetrl-vllm-*")) == []


def test_a_worker_that_waits_for_other_ranks_is_not_one_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = """
receive()
for _ in range(8):
    time.sleep(0.1)
    send({"waits": True})
send({"done": 1})
"""
    worker = start(body, tmp_path, monkeypatch, timeout=0.6)
    assert worker.call({}) == {"done": 1}


SHARED = """
from multiprocessing.connection import Listener
message = receive()
listener = Listener(message["socket"])
send({})
other = listener.accept()
other.send_bytes(other.recv_bytes())
receive()
print("out of memory", flush=True)
os._exit(3)
"""


def test_another_rank_joins_the_worker_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short_folder: Path
) -> None:
    worker = start(SHARED, short_folder, monkeypatch)
    worker.start({}, timeout=20, num_others=1)
    joined = join(worker.folder, timeout=20)
    assert joined.call({"op": "x"}) == {"op": "x"}
    worker.send({})
    with pytest.raises(EngineError, match=r"has ended: look into its log .*\nout of memory"):
        joined.call({"op": "y"})
    with pytest.raises(EngineError, match=r"of another rank cannot be reached in .*: "):
        join(tmp_path, timeout=20)


def test_a_folder_too_deep_for_a_socket_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    worker = start("receive()", deep, monkeypatch)
    with pytest.raises(EngineError, match=r"longer than a socket's may be: set TMPDIR"):
        worker.start({}, timeout=20, num_others=1)


def test_no_worker_outlives_a_killed_trainer(tmp_path: Path) -> None:
    """The worker itself, which waits for settings without having imported vLLM."""
    trainer = """
import os, sys, time
from resetrl.engines.vllm.process import WorkerProcess, join
worker = WorkerProcess(sys.executable, os.environ, 10.0)
print(worker._process.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", trainer],
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as running:
        assert running.stdout is not None
        pid = int(running.stdout.readline())
        running.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(pid)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended may wait for its new parent to notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
