"""The `chain` task: arithmetic modulo 10 in steps that can be checked one by one.

A question such as `3+4*6` is read from left to right, ((3+4) % 10 * 6) % 10, one thought an
operation (`3+4=7`, `7*6=2`) and then the thought `\\boxed{2}`. There is one right chain of
thoughts, so the true first wrong thought of any rollout is known. A fixed 30 % of the 200 facts
are hard: the tiny policy starts out with a wrong habit there (`resetrl.tiny.data`).
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from resetrl.builtin.generated import GeneratedProblems
from resetrl.rng import derive_seed
from resetrl.types import Problem, Purpose

if TYPE_CHECKING:
    from resetrl.interfaces import Verifier

OPERATORS = "+*"
HARD_SHARE = 0.3
EVAL_SHARE = 8  # one question in eight is for evaluation


def result_of(fact: str) -> int:
    """What a fact comes to: `result_of("7*6") == 2`."""
    left, operator, right = int(fact[0]), fact[1], int(fact[2])
    return (left + right if operator == "+" else left * right) % 10


@functools.cache
def facts_from(value: int, *, hard: bool) -> tuple[str, ...]:
    """The hard (6) or easy (14) of the 20 facts that start from a value.

    Every value has the same number of hard facts, so that a chain can go on from any value
    with a fact of either kind. The lot is the same on every machine and in every run; of eight
    lots it is the one that leaves the starting policy most to learn on the default chains.
    """
    facts = [f"{value}{operator}{right}" for operator in OPERATORS for right in range(10)]
    by_lot = sorted(facts, key=lambda fact: derive_seed("hard4", fact))
    num_hard = round(HARD_SHARE * len(facts))
    return tuple(by_lot[:num_hard] if hard else by_lot[num_hard:])


@functools.cache
def hard_facts() -> frozenset[str]:
    """The 60 hard facts, left operand, operator and right operand: `"7*6"`."""
    return frozenset(itertools.chain(*(facts_from(value, hard=True) for value in range(10))))


def facts_of(question: str) -> tuple[str, ...]:
    """The facts a question asks for: `facts_of("3+4*6") == ("3+4", "7*6")`."""
    facts: list[str] = []
    value = int(question[0])
    for operator, right in zip(question[1::2], question[2::2], strict=True):
        facts.append(f"{value}{operator}{right}")
        value = result_of(facts[-1])
    return tuple(facts)


def right_thoughts(question: str) -> tuple[str, ...]:
    """The only right thoughts: `("3+4=7", "7*6=2", "\\\\boxed{2}")` for `3+4*6`."""
    facts = facts_of(question)
    answer = result_of(facts[-1]) if facts else int(question[0])
    return (*(f"{fact}={result_of(fact)}" for fact in facts), f"\\boxed{{{answer}}}")


def num_hard(question: str) -> int:
    """How many of a question's facts are hard."""
    return sum(fact in hard_facts() for fact in facts_of(question))


def first_wrong(question: str, thoughts: Sequence[str]) -> int | None:
    """1-based number of the first thought that differs from the right one, None if none does.

    Thoughts that are missing behind a right beginning are no wrong thoughts; thoughts that go on
    behind the right answer are.
    """
    for number, (given, right) in enumerate(
        itertools.zip_longest(thoughts, right_thoughts(question)), start=1
    ):
        if given is None:
            return None
        if given != right:
            return number
    return None


def draw_question(operations: int, hard: int, rng: Random) -> str:
    """A question of so many operations of which so many, at places drawn at random, are hard."""
    hard_places = set(rng.sample(range(operations), hard))
    value = rng.randrange(10)
    question = str(value)
    for place in range(operations):
        fact = rng.choice(facts_from(value, hard=place in hard_places))
        question += fact[1:]
        value = result_of(fact)
    return question


def draw_sizes(fewest: int, most: int, min_hard: int, rng: Random) -> tuple[int, int]:
    """The number of operations and, of these, of hard facts.

    They come as if chains of `fewest` to `most` operations, 30 % of them hard, were drawn until
    one has at least `min_hard` hard facts, but without the wait.
    """
    sizes = [
        (operations, hard)
        for operations in range(fewest, most + 1)
        for hard in range(min_hard, operations + 1)
    ]
    weights = [
        math.comb(operations, hard) * HARD_SHARE**hard * (1 - HARD_SHARE) ** (operations - hard)
        for operations, hard in sizes
    ]
    return rng.choices(sizes, weights)[0]


def purpose_of(question: str) -> Purpose:
    """Whether a question is for training or evaluation, whatever the options of the task."""
    return "eval" if derive_seed("chain purpose", question) % EVAL_SHARE == 0 else "train"


@dataclass
class Chain:
    """Left-to-right chains of + and * modulo 10, one checkable thought an operation.

    Difficulty is `min_operations` to `max_operations` and `min_hard`, the least number of hard
    facts. `rng_seed` chooses the problem set and is no run seed: methods are compared on equal
    problems. No question is in both a training and an evaluation set, whatever their options.
    """

    min_operations: int = 2
    max_operations: int = 8
    min_hard: int = 0
    train_size: int = 4096
    eval_size: int = 200
    rng_seed: int = 0

    def __post_init__(self) -> None:
        if self.min_operations < 1:
            raise ValueError(f"chain: min_operations is {self.min_operations}: choose 1 or more")
        if self.max_operations < self.min_operations:
            raise ValueError(
                f"chain: max_operations is {self.max_operations}: choose at least "
                f"min_operations, which is {self.min_operations}"
            )
        if not 0 <= self.min_hard <= self.max_operations:
            raise ValueError(
                f"chain: min_hard is {self.min_hard}: choose 0 to max_operations, which is "
                f"{self.max_operations}, because a fact is hard at most once"
            )
        for name in ("train_size", "eval_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"chain: {name} is {getattr(self, name)}: choose 1 or more")

    def problems(self, purpose: Purpose) -> Sequence[Problem]:
        """The problems to train or to evaluate on, each computed when it is read."""
        return ChainProblems(self, purpose)

    def verifier(self) -> Verifier:
        """Exact comparison of the last closed box with the right result."""
        from resetrl.builtin.verifiers import Exact

        return Exact()

    def first_wrong_thought(self, problem: Problem, thoughts: Sequence[str]) -> int | None:
        """1-based number of the first wrong thought (delimiters stripped), None if none is."""
        return first_wrong(problem.question, thoughts)


@dataclass(frozen=True)
class ChainProblems(GeneratedProblems):
    """The problems of one purpose."""

    chain: Chain
    purpose: Purpose

    def __len__(self) -> int:
        return self.chain.train_size if self.purpose == "train" else self.chain.eval_size

    @property
    def task_name(self) -> str:
        return "chain"

    def make(self, index: int) -> Problem:
        chain = self.chain
        rng = Random(derive_seed("chain problem", chain.rng_seed, self.purpose, index))
        while True:
            operations, hard = draw_sizes(
                chain.min_operations, chain.max_operations, chain.min_hard, rng
            )
            question = draw_question(operations, hard, rng)
            if purpose_of(question) == self.purpose:
                break
        difficulty = f"{chain.min_operations}to{chain.max_operations}-hard{chain.min_hard}"
        return Problem(
            uid=f"chain-{difficulty}-set{chain.rng_seed}-{self.purpose}-{index}",
            question=question,
            reference=str(result_of(facts_of(question)[-1])),
            details={"operations": operations, "hard": hard},
        )
