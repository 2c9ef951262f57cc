"""The task livecodebench_medium with its verifier, on made-up rows in the data set's schema."""

from __future__ import annotations

from pathlib import Path

import pytest

from resetrl.hub.task import Hub
from resetrl.testing import make_rollout
from resetrl.types import Problem, Prompt, Rollout, Verdict

DATA = Path(__file__).parents[3] / "tests" / "data" / "hub"

SOLUTIONS = {
    "livecodebench_medium-made00": "a, b = map(int, input().split())\nprint(a + b)",
    "livecodebench_medium-made01": (
        "class Solution:\n    def solve(self, a: int, b: int) -> int:\n        return a * b"
    ),
}


def program(problem: Problem, source: str) -> Rollout:
    """A completion whose last thought holds the program in a fenced block."""
    return make_rollout(["Think.", f"\n```python\n{source}\n```\n"], prompt=Prompt(problem, (5,)))


@pytest.fixture(scope="module")
def task() -> Hub:
    return Hub(manifest="livecodebench_medium", folder=str(DATA))


def judged(task: Hub, uid: str, source: str) -> Verdict:
    """The verdict on a program for the problem of that uid."""
    problems = (*task.problems("train"), *task.problems("eval"))
    (problem,) = (each for each in problems if each.uid == uid)
    (verdict,) = task.verifier().verify([program(problem, source)])
    return verdict


@pytest.mark.parametrize("uid", SOLUTIONS)
def test_a_solution_passes_all_tests(task: Hub, uid: str) -> None:
    verdict = judged(task, uid, SOLUTIONS[uid])
    assert (verdict.correct, verdict.reward, verdict.error) == (True, 1.0, "")


@pytest.mark.parametrize("uid", SOLUTIONS)
def test_a_program_that_is_wrong_for_some_numbers_is_wrong(task: Hub, uid: str) -> None:
    source = SOLUTIONS[uid].replace("a + b", "min(a + b, 7)").replace("a * b", "min(a * b, 12)")
    verdict = judged(task, uid, source)
    assert not verdict.correct
    assert 0 < verdict.reward < 1
