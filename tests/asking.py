"""What tests of evaluation and correction share: a policy that counts its calls, a session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from resetrl.method import Inference
from resetrl.models import LoadedModel, ModelConfig
from resetrl.run.data import PromptMaker
from resetrl.testing import FakeTask, FakeTokenizer, ScriptedPolicy
from resetrl.types import Completion, Limits, Request

LIMITS = Limits(max_thoughts=6, max_thought_len=40, max_completion_len=200)


@dataclass
class CountingPolicy(ScriptedPolicy):
    """A scripted policy; `calls` are the number of requests of each call of the engine."""

    calls: list[int] = field(default_factory=list, init=False)

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        if requests:
            self.calls.append(len(requests))
        return super().generate(requests)


def make_inference(policy: ScriptedPolicy, run_seed: int = 0) -> Inference:
    task = FakeTask()
    return Inference(
        policy=policy,
        verifier=task.verifier(),
        task=task,
        tokenizer=cast(Any, FakeTokenizer()),
        delimiter="</thought>",
        localization_prompt="tiny",
        run_seed=run_seed,
    )


def make_maker(context_len: int = 4096) -> PromptMaker:
    """Prompts in the tiny format: the question and a line break, one token a character."""
    model = SimpleNamespace(config=SimpleNamespace(max_position_embeddings=context_len))
    loaded = LoadedModel(cast(Any, model), cast(Any, FakeTokenizer()))
    return PromptMaker(loaded, ModelConfig(), LIMITS)


def question_of(request: Request) -> str:
    return FakeTokenizer().decode(request.prompt_ids).strip()


def boxed(answer: object) -> str:
    return f"\\boxed{{{answer}}}"
