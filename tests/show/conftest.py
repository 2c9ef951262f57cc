"""A small saved run, built by hand: three prompts, one of them worth showing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from resetrl.run.rollouts import write_groups
from resetrl.types import (
    Completion,
    Group,
    Problem,
    Prompt,
    ResetState,
    Rollout,
    Selection,
    StepRecord,
    Update,
    Verdict,
)

EVIL = "<script>alert(1)</script></style>{{ 7*7 }}\x1b[31m\u202e&\"'"
LONG = "We add the two numbers. " * 40


def rollout(prompt: Prompt, thoughts: Sequence[str], prefix: int = 0, index: int = 0) -> Rollout:
    """A rollout with 3 tokens a thought, each of log-probability -0.5."""
    closed = tuple(f"{thought}</thought>" for thought in thoughts)
    ends = tuple(3 * number for number in range(1, len(thoughts) + 1))
    num_tokens = 3 * len(thoughts)
    completion = Completion(
        token_ids=(9,) * num_tokens,
        logprobs=(-0.5,) * num_tokens,
        thought_ends=ends,
        thoughts=closed,
        stop="answer",
        text="".join(closed),
        prefix_len=3 * prefix,
    )
    return Rollout(prompt, completion, index)


def verdict(answer: str, reference: str) -> Verdict:
    correct = answer == reference
    why = "" if correct else f"expected {reference}"
    return Verdict(float(correct), correct, {"extracted": answer, "why": why})


def groups(
    uid: str,
    question: str,
    base: Sequence[Sequence[str]],
    selection: Selection | None = None,
    suffixes: Sequence[Sequence[str]] = (),
) -> list[Group]:
    """A prompt of reference 2, answered in the last thoughts; its first rollout is the seed."""
    prompt = Prompt(Problem(uid, question, "2"), (1,))
    rollouts = tuple(rollout(prompt, each, index=i) for i, each in enumerate(base))
    verdicts = tuple(verdict(each[-1][-2:-1], "2") for each in base)
    made = [Group("base", rollouts, verdicts)]
    if selection is not None:
        state = ResetState(rollouts[0], verdicts[0], selection)
        kept = selection.thought - 1
        made.append(
            Group(
                "reset",
                tuple(rollout(prompt, each, kept, i) for i, each in enumerate(suffixes)),
                tuple(verdict(each[-1][-2:-1], "2") for each in suffixes),
                state,
            )
        )
    return made


@pytest.fixture
def run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`runs/2026-01-05-srpo-seed0` below the current folder, with steps 10 and 20 saved."""
    monkeypatch.chdir(tmp_path)
    folder = Path("runs/2026-01-05-srpo-seed0")
    right, wrong = ["1+1=2", "\\boxed{2}"], ["1+1=3", "\\boxed{3}"]
    chain = groups(
        "chain-train-17",
        "3+4*6",
        [["3+4=7", "7*6=3", "\\boxed{3}"], ["3+4=7", "7*6=2", "\\boxed{2}"]],
        Selection(2, "boxed", "1:3+4=7 ok 2:7*6=3 x \\boxed{2}"),
        [["3+4=7", "7*6=2", "\\boxed{2}"], ["3+4=7", "7*6=4", "\\boxed{4}"]],
    )
    plain = groups("chain-train-7", "1+1", [right, right])
    equal = groups("chain-train-9", "1+1", [wrong, wrong], Selection(1, "drawn"), [wrong, wrong])
    prose = groups(
        "words-1",
        f"What is 1+1? {EVIL}",
        [[EVIL, LONG, "\\boxed{3}"], ["1+1=2", "\\boxed{2}"]],
        Selection(2, "odd", f"Thought 2. {EVIL}"),
        [[EVIL, "So it is two.", "\\boxed{2}"], [EVIL, LONG, "\\boxed{4}"]],
    )
    flat = [0.0, 0.0]
    write_groups(folder, _record(10, prose, [[-1.0, 1.0], [1.0, -1.0]]))
    write_groups(
        folder,
        _record(20, [*plain, *equal, *chain], [flat, flat, flat, [-1.0, 1.0], [1.0, -1.0]]),
    )
    return folder


@pytest.fixture
def tree_folder(tmp_path: Path) -> Path:
    """A run of a sampler with kinds of groups of its own: a part, a role, shaped rewards."""
    prompt = Prompt(Problem("chain-1", "1+1", "2"), (1,))
    whole = rollout(prompt, ["1+1=2", "\\boxed{2}"])
    part = rollout(prompt, ["1+1=2"])
    part = replace(part, completion=replace(part.completion, stop="unfinished"))
    second = replace(rollout(prompt, ["1+1=2", "\\boxed{3}"], prefix=1), role="second_turn")
    half = Verdict(0.5, False, {"why": "2 of 4 right"})
    made = [
        Group("level_1", (part, whole), (half, verdict("2", "2")), shaped_rewards=(0.5, 1.0)),
        Group("level_2", (second,), (verdict("3", "2"),), shaped_rewards=(-10.0,)),
    ]
    folder = tmp_path / "tree"
    write_groups(folder, _record(10, made, [[-0.25, 0.25], [-10.0]]))
    return folder


def _record(step: int, made: list[Group], advantages: list[list[float]]) -> StepRecord:
    return StepRecord(step, made, advantages, [], Update(0.0, 0.0), {}, {})
