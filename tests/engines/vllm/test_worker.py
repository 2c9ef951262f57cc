"""The worker's side of the pipe, with an engine that only notes what it is told."""

from __future__ import annotations

import base64
import json
import pickle
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
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
        self.begun: set[str] = set()
        self.breaks_after = 10**9
        self.room = 10**9
        self.batches: list[int] = []

    def add(self, name: str, request: Mapping[str, Any], salt: str) -> None:
        self.left[name] = request["max_tokens"]
        self.told.append((name, request["token_ids"], salt))

    def step(self) -> list[Any]:
        self.breaks_after -= 1
        if self.breaks_after < 0:
            raise RuntimeError("out of memory")
        self.batches.append(len(self.left))
        outputs = []
        for name in list(self.left)[: self.room]:
            token = 5 + len(self.told)
            self.left[name] -= 1
            if not self.left[name]:
                del self.left[name]
            drawn = SimpleNamespace(
                request_id=name,
                new_token_ids=[token],
                new_logprobs=SimpleNamespace(logprobs=[[-0.25]]),
                prefill_stats=None if name in self.begun else SimpleNamespace(num_cached_tokens=32),
                finished=name not in self.left,
            )
            self.begun.add(name)
            outputs.append(drawn)
        return outputs

    def abort(self, names: list[str]) -> None:
        self.told.append(("abort", names))
        for name in names:
            self.left.pop(name, None)

    def call_workers(self, method: str, kwargs: Mapping[str, Any] | None = None) -> None:
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

    def tell(self, **message: Any) -> None:
        self.connection.send_bytes(json.dumps(message).encode())

    def send(self, **message: Any) -> Any:
        self.tell(**message)
        return self.receive()

    def receive(self) -> Any:
        return json.loads(self.connection.recv_bytes())


@contextmanager
def served(num: int, patience: float = 60.0) -> Iterator[list[Trainer]]:
    """That many trainers of one worker, which ends when the first of them does."""
    pipes = [Pipe() for _ in range(num)]
    engine = FakeEngine()

    def serve() -> None:
        with pytest.raises(EOFError):
            Server([theirs for _, theirs in pipes], engine, patience).serve()

    thread = threading.Thread(target=serve)
    thread.start()
    yield [Trainer(ours, engine) for ours, _ in pipes]
    for ours, _ in pipes:
        ours.close()
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def trainer() -> Iterator[Trainer]:
    with served(1) as (trainer,):
        yield trainer


@pytest.fixture
def two() -> Iterator[list[Trainer]]:
    with served(2) as trainers:
        yield trainers


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
    trainer.tell(end=[1])
    assert trainer.receive()["indices"] == [0]
    trainer.tell(end=[0])
    trainer.tell(end=[])
    assert trainer.receive() == {}
    assert trainer.engine.told == [
        ("1-0", [1, 2], "7"),
        ("1-1", [3], "7"),
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


def test_a_request_that_vllm_refuses_leaves_none_of_its_wave_behind(trainer: Trainer) -> None:
    asked = [{"token_ids": [1], "max_tokens": 9}, {"token_ids": [2]}]
    assert trainer.send(op="generate", salt="", requests=asked) == {
        "error": "KeyError: 'max_tokens'"
    }
    assert trainer.engine.told[-1] == ("abort", ["1-0"])
    assert trainer.send(op="reset_cache") == {"reset": False}


def test_an_engine_that_breaks_in_a_step_says_so_once(
    trainer: Trainer,
) -> None:
    asked = [{"token_ids": [1], "max_tokens": 9}]
    trainer.engine.breaks_after = 2
    trainer.send(op="generate", salt="", requests=asked)
    for _ in range(2):
        trainer.tell(end=[])
        reply = trainer.receive()
    assert reply == {"error": "RuntimeError: out of memory"}
    assert trainer.send(op="reset_cache") == {"reset": False}


def draw(trainer: Trainer, lengths: list[int]) -> list[int]:
    """Go on with a wave until each request has its length; returns how many tokens came of each."""
    counts = [0] * len(lengths)
    while reply := trainer.receive():
        for index in reply["indices"]:
            counts[index] += 1
        trainer.tell(end=[i for i in reply["indices"] if counts[i] == lengths[i]])
    return counts


def test_waves_of_two_trainers_are_computed_together(two: list[Trainer]) -> None:
    """The second comes while the first is under way, and each hears of its own tokens only."""
    first, second = two
    request = {"token_ids": [1], "max_tokens": 9}
    first.tell(op="generate", salt="1", requests=[request, request])
    for _ in range(2):
        assert first.receive()["indices"] == [0, 1]
    second.tell(op="generate", salt="1", requests=[request])
    for _ in range(2):
        first.tell(end=[])
    with ThreadPoolExecutor(2) as pool:
        counts = pool.map(draw, two, [[2, 9], [3]])
        assert list(counts) == [[3, 7], [4]]  # one too many of each but what had no more
    assert first.engine.batches[:3] == [2, 2, 3]


def test_parameters_go_in_once_both_trainers_have_brought_theirs(two: list[Trainer]) -> None:
    """Handles of each GPU from the trainer on it, but one file for all from the first."""
    for trainer, gpu in zip(two, "ab", strict=True):
        info = {"names": ["x"], "ipc_handles": [{gpu: gpu.upper()}]}
        trainer.tell(op="update", ipc=base64.b64encode(pickle.dumps(info)).decode())
    assert [trainer.receive() for trainer in two] == [{}, {}]
    both = {"names": ["x"], "ipc_handles": [{"a": "A", "b": "B"}]}
    two[1].tell(op="update")
    assert not two[1].connection.poll(0.2)
    two[0].tell(op="update", path="x")
    assert [trainer.receive() for trainer in two] == [{}, {}]
    assert two[0].engine.told == [
        ("update_weights", {"update_info": both}),
        ("update_weights", {"update_info": {"path": "x"}}),
    ]


def test_trainers_that_want_different_things_are_told(two: list[Trainer]) -> None:
    two[0].tell(op="sleep")
    two[1].tell(op="start_update")
    told = {"error": "the ranks want different things: sleep, start_update"}
    assert [trainer.receive() for trainer in two] == [told, told]


def after_waiting(trainer: Trainer) -> Any:
    """The first reply that is not a word of comfort."""
    while "waits" in (reply := trainer.receive()):
        pass
    return reply


def test_a_trainer_that_waits_hears_that_all_is_well() -> None:
    """For room beside the requests of the other; or for the other to ask for the same."""
    request = {"token_ids": [1], "max_tokens": 20}
    with served(2, patience=0.01) as (first, second):
        first.engine.room = 1
        second.tell(op="generate", salt="", requests=[request])
        second.receive()
        first.tell(op="generate", salt="", requests=[request])
        time.sleep(0.05)
        for _ in range(19):
            second.tell(end=[])
            time.sleep(0.005)
            assert after_waiting(second)["indices"] == [0]
        second.tell(end=[])
        assert after_waiting(second) == {}
        assert first.receive() == {"waits": True}
        assert after_waiting(first)["indices"] == [0]
        for _ in range(19):
            first.tell(end=[])
            after_waiting(first)
        first.tell(end=[])
        assert after_waiting(first) == {}
        first.tell(op="sleep")
        assert first.receive() == {"waits": True}
        second.tell(op="sleep")
        assert [after_waiting(first), after_waiting(second)] == [{}, {}]
        assert first.engine.told[-1] == ("sleep", 2)
