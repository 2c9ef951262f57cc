"""The worker's side of the pipe, with an engine that only notes what it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

import pytest

from resetrl.engines.vllm.remote.resetrl_vllm_worker import Server


class FakeEngine:
    """Draws the tokens 5, 6, ... for each request until it is aborted or has `max_tokens`."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.left: dict[str, int] = {}

    def add_request(self, name: str, prompt: Mapping[str, Any], params: Mapping[str, Any]) -> None:
        self.told.append((name, prompt))
        self.left[name] = params["max_tokens"]

    def has_unfinished_requests(self) -> bool:
        return bool(self.left)

    def step(self) -> list[Any]:
        outputs = []
        for name in list(self.left):
            token = 5 + len(self.told)
            self.left[name] -= 1
            if not self.left[name]:
                del self.left[name]
            logprobs = [{token: SimpleNamespace(logprob=-0.25)}]
            drawn = SimpleNamespace(token_ids=[token], logprobs=logprobs)
            outputs.append(SimpleNamespace(request_id=name, outputs=[drawn], num_cached_tokens=32))
        return outputs

    def abort_request(self, names: list[str]) -> None:
        self.told.append(("abort", names))
        for name in names:
            self.left.pop(name, None)

    def collective_rpc(self, method: str, kwargs: Mapping[str, Any] | None = None) -> None:
        if kwargs == {"update_info": {"path": "damaged"}}:
            raise ValueError("no such file\nand more")
        self.told.append((method, kwargs))

    def reset_prefix_cache(self) -> bool:
        return False

    def sleep(self, level: int) -> None:
        self.told.append(("sleep", level))

    def wake_up(self, tags: list[str]) -> None:
        self.told.append(("wake_up", tags))


class Trainer:
    """The other end of the pipe."""

    def __init__(self, connection: Connection, engine: FakeEngine) -> None:
        self.connection, self.engine = connection, engine

    def send(self, **message: Any) -> Any:
        self.connection.send_bytes(json.dumps(message).encode())
        return self.receive()

    def receive(self) -> Any:
        return json.loads(self.connection.recv_bytes())


@pytest.fixture
def trainer() -> Iterator[Trainer]:
    ours, theirs = Pipe()
    engine = FakeEngine()

    def serve() -> None:
        with pytest.raises(EOFError):
            Server(theirs, engine, lambda request: request).serve()

    thread = threading.Thread(target=serve)
    thread.start()
    yield Trainer(ours, engine)
    ours.close()
    thread.join(10)
    assert not thread.is_alive()


def test_a_wave_goes_on_until_the_trainer_has_ended_all(trainer: Trainer) -> None:
    """What it ends after one step is still part of the next."""
    asked = [{"token_ids": [1, 2], "max_tokens": 9}, {"token_ids": [3], "max_tokens": 9}]
    first = trainer.send(op="generate", salt="7", requests=asked)
    assert first == {
        "indices": [0, 1],
        "tokens": [7, 7],
        "logprobs": [-0.25, -0.25],
        "cached": [32, 32],
    }
    assert trainer.receive()["indices"] == [0, 1]
    trainer.connection.send_bytes(b'{"end": [1]}')
    assert trainer.receive()["indices"] == [0]
    trainer.connection.send_bytes(b'{"end": [0]}')
    trainer.connection.send_bytes(b'{"end": []}')
    assert trainer.receive() == {}
    assert trainer.engine.told == [
        ("1-0", {"prompt_token_ids": [1, 2], "cache_salt": "7"}),
        ("1-1", {"prompt_token_ids": [3], "cache_salt": "7"}),
        ("abort", ["1-1"]),
        ("abort", ["1-0"]),
    ]


def test_weights_go_through_vllms_own_transfer_calls(trainer: Trainer) -> None:
    for message in ({"op": "start_update"}, {"op": "update", "path": "x"}, {"op": "finish_update"}):
        assert trainer.send(**message) == {}
    assert trainer.engine.told == [
        ("start_weight_update", None),
        ("update_weights", {"update_info": {"path": "x"}}),
        ("finish_weight_update", None),
    ]


def test_gpu_handles_arrive_as_they_were(trainer: Trainer) -> None:
    import base64
    import pickle

    info = {"names": ["a"], "ipc_handles": [{"uuid": (1, b"handle")}]}
    trainer.send(op="update", ipc=base64.b64encode(pickle.dumps(info)).decode())
    assert trainer.engine.told == [("update_weights", {"update_info": info})]


def test_sleeping_discards_the_weights_and_waking_is_in_parts(trainer: Trainer) -> None:
    trainer.send(op="sleep")
    trainer.send(op="wake", tags=["weights"])
    trainer.send(op="wake", tags=["kv_cache"])
    assert trainer.engine.told == [
        ("sleep", 2),
        ("wake_up", ["weights"]),
        ("wake_up", ["kv_cache"]),
    ]


def test_a_cache_that_was_not_cleared_is_said_to_be_so(trainer: Trainer) -> None:
    assert trainer.send(op="reset_cache") == {"reset": False}


def test_an_error_is_one_line_and_the_worker_goes_on(trainer: Trainer) -> None:
    assert trainer.send(op="update", path="damaged") == {"error": "ValueError: no such file"}
    assert trainer.send(op="finish_update") == {}
