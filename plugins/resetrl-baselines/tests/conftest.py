"""One torch thread, the recorded cases, and a step's surroundings made of fakes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from resetrl.builtin.verifiers import Exact
from resetrl.meter import Meter
from resetrl.method import Method, Session
from resetrl.testing import FakeLoss, FakeTask, RecordingLearner, ScriptedPolicy, make_problems
from resetrl.testing.fakes import FakeTokenizer, as_tokenizer
from resetrl.types import Limits, Prompt, Rollout, Sampled, Sampling, Verdict


@pytest.fixture(autouse=True, scope="session")
def one_torch_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def parity() -> Callable[[str], dict[str, Any]]:
    """A case recorded from the reference, github.com/Ankur-Samanta/SRPO @67f4a26, by its id."""
    path = Path(__file__).parent / "data" / "parity_cases.json"
    cases = json.loads(path.read_text(encoding="utf-8"))["cases"]
    return {case["id"]: case for case in cases}.__getitem__


class Doubtful:
    """Exact comparison of the box, and an error on whatever holds a question mark."""

    def verify(self, rollouts: Sequence[Rollout]) -> list[Verdict]:
        verdicts = Exact().verify(rollouts)
        return [
            Verdict(0.0, False, error="cannot tell") if "?" in rollout.completion.text else verdict
            for rollout, verdict in zip(rollouts, verdicts, strict=True)
        ]


class Surroundings:
    """A method and a session around a sampler, its policy scripted; the task asks 0+1, 1+1, ..."""

    def __init__(self, sampler: Any, script: Any, **session: Any) -> None:
        task = FakeTask()
        self.policy = ScriptedPolicy(script)
        self.meter = Meter(self.policy.counters, num_parameters=1)
        self.session = Session(
            policy=self.policy,
            learner=RecordingLearner(),
            verifier=Doubtful(),
            task=task,
            tokenizer=as_tokenizer(FakeTokenizer()),
            delimiter="</thought>",
            localization_prompt=session.pop("localization_prompt", "tiny"),
            run_seed=0,
            **session,
        )
        self.method = Method(
            sampler=sampler,
            loss=FakeLoss(),
            advantage="none",
            binarise_rewards=False,
            mask_prefix=True,
            sampling=Sampling(),
            limits=Limits(max_thoughts=6, max_thought_len=10, max_completion_len=100),
        )

    def sample(self, num_prompts: int = 1, step: int = 1) -> Sampled:
        return self.method.sampler.sample(
            step, prompts(num_prompts), self.method, self.session, self.meter
        )

    def asked(self) -> list[str]:
        """What the policy was asked, as texts, the prefix behind a bar."""
        decode = FakeTokenizer().decode
        return [
            decode(request.prompt_ids)
            + "|" * bool(request.prefix.token_ids)
            + decode(request.prefix.token_ids)
            for request in self.policy.requests
        ]


def prompts(num: int) -> Sequence[Prompt]:
    return [
        Prompt(problem, tuple(FakeTokenizer().encode(f"{problem.question}\n")))
        for problem in make_problems(num)
    ]


@pytest.fixture
def surroundings() -> type[Surroundings]:
    return Surroundings
