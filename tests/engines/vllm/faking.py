"""Stand-ins for the two sides of the pipe between the trainer and vLLM."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from resetrl.engines.vllm.policy import VllmPolicy
from resetrl.errors import EngineError
from resetrl.testing import word_level_tokenizer

SHAPES = {"model.layers.0.a": [2], "model.layers.1.a": [2], "lm_head.weight": [3]}


class FakeChannel:
    """A worker that draws the tokens of a script, one list for each request of a wave.

    `calls` are the messages as they came, requests left out; `ends` what was ended, step by step.
    """

    def __init__(self, *scripts: list[int], refuses: str = "", resets: bool = True) -> None:
        self.scripts = scripts
        self.refuses = refuses
        self.resets = resets
        self.calls: list[str] = []
        self.ends: list[list[int]] = []
        self.requests: list[Mapping[str, Any]] = []
        self.salts: list[str] = []
        self._wave: Iterator[Mapping[str, Any]] = iter(())

    def call(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        self.send(message)
        return self.receive()

    def send(self, message: Mapping[str, Any]) -> None:
        if "end" in message:
            self.ends.append(message["end"])
            return
        self.calls.append(" ".join([message["op"], *message.get("tags", [])]))
        self._wave = iter([self._answer(message["op"])])
        if message["op"] == "generate":
            self.requests, self._wave = message["requests"], self._steps()
            self.salts.append(message["salt"])

    def receive(self) -> Mapping[str, Any]:
        reply = next(self._wave)
        if "error" in reply:
            raise EngineError(reply["error"])
        return reply

    def _answer(self, op: str) -> Mapping[str, Any]:
        if op == self.refuses:
            return {"error": "ValueError: no"}
        return {"reset": self.resets} if op == "reset_cache" else {}

    def _steps(self) -> Iterator[Mapping[str, Any]]:
        going = dict(enumerate(self.scripts[: len(self.requests)]))
        place = 0
        while going:
            yield {
                "indices": list(going),
                "tokens": [script[place] for script in going.values()],
                "logprobs": [-0.5] * len(going),
                "cached": [4 * index for index in going],
            }
            place += 1
            for index in self.ends[-1]:
                del going[index]
        yield {}


def parameters(**changed: Any) -> Callable[[], Iterator[tuple[str, Any]]]:
    """Parameters of `SHAPES`, each filled with its place in the list; None leaves one out."""
    import torch

    tensors = {name: torch.full(shape, float(i)) for i, (name, shape) in enumerate(SHAPES.items())}
    tensors |= changed
    return lambda: iter([(name, value) for name, value in tensors.items() if value is not None])


class FakeLearner:
    """A learner that only has weights."""

    def __init__(self, weights: Callable[[], Iterator[tuple[str, Any]]]) -> None:
        self.weights = weights


def make_policy(channel: FakeChannel, *, sleeps: bool = False) -> VllmPolicy:
    return VllmPolicy(
        channel=channel,
        tokenizer=word_level_tokenizer(),
        delimiter="</thought>",
        eos_ids=frozenset([1]),
        context_len=96,
        shapes=SHAPES,
        initial=parameters(),
        sleeps=sleeps,
    )
