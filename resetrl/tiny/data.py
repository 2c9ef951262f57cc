"""The warm-start data: chains as the starting policy should write them, and their first errors.

In completions an easy fact is always right, a hard one follows a habit that is mostly wrong.
Localizations are of chains that end in a wrong answer and are marked by the truth. Half of them
are written as the starting policy writes, the others as it might once training has changed it:
other rates of error, results and operands no habit explains, thoughts left out, doubled or
garbled. The weights are shared, and the localizer must stay good while the policy moves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

from resetrl.builtin.chain import (
    OPERATORS,
    draw_question,
    draw_sizes,
    first_wrong,
    hard_facts,
    purpose_of,
    result_of,
    right_thoughts,
)
from resetrl.rng import derive_seed
from resetrl.tiny import formats


@dataclass(frozen=True)
class Habits:
    """How often a writer of chains goes wrong, and how.

    A hard fact is right at `hard_right`, has its one habitual wrong value at `hard_habit` and
    any value otherwise; an easy one has any value at `easy_slip`. `copy_slip` is the rate of
    thoughts with a wrong operand or operator (or a box with a wrong result), `break_slip` the
    rate of thoughts left out, doubled, garbled or answered too early.
    """

    hard_right: float = 0.35
    hard_habit: float = 0.55
    easy_slip: float = 0.0
    copy_slip: float = 0.0
    break_slip: float = 0.0


@dataclass(frozen=True)
class Example:
    """A text to read and the text to write then: `Example("3+4\\n", "3+4=7</thought>...<eos>")`."""

    prompt: str
    reply: str


def habitual_value(fact: str) -> int:
    """The one wrong value that the habit gives a fact."""
    return (result_of(fact) + 1 + derive_seed("habit", fact) % 9) % 10


def write_result(fact: str, habits: Habits, rng: Random) -> int:
    """The result a writer of these habits gives a fact."""
    lot = rng.random()
    if fact not in hard_facts():
        return rng.randrange(10) if lot < habits.easy_slip else result_of(fact)
    if lot < habits.hard_right:
        return result_of(fact)
    if lot < habits.hard_right + habits.hard_habit:
        return habitual_value(fact)
    return rng.randrange(10)


def write_thoughts(question: str, habits: Habits, rng: Random) -> list[str]:
    """The thoughts a writer of these habits has, the box included; each goes on from the last."""
    thoughts: list[str] = []
    value = int(question[0])
    for operator, right in zip(question[1::2], question[2::2], strict=True):
        fact = f"{value}{operator}{right}"
        if rng.random() < habits.copy_slip:
            fact = _copied_wrongly(fact, rng)
        value = write_result(fact, habits, rng)
        thoughts += _broken(f"{fact}={value}", habits, rng)
        if thoughts and thoughts[-1].startswith(formats.BOX_OPENING):
            return thoughts
    if rng.random() < habits.copy_slip:
        value = rng.randrange(10)
    return [*thoughts, f"{formats.BOX_OPENING}{value}}}"]


def _copied_wrongly(fact: str, rng: Random) -> str:
    place = rng.randrange(3)
    wrong = rng.choice(OPERATORS) if place == 1 else str(rng.randrange(10))
    return f"{fact[:place]}{wrong}{fact[place + 1 :]}"


def _broken(thought: str, habits: Habits, rng: Random) -> list[str]:
    """The thought, or what a writer at a loss puts in its place."""
    if rng.random() >= habits.break_slip:
        return [thought]
    kind = rng.randrange(4)
    if kind == 0:
        return []
    if kind == 1:
        return [thought, thought]
    if kind == 2:
        return [f"{formats.BOX_OPENING}{thought[-1]}}}"]
    alphabet = "0123456789+*=" + rng.choice(("", "}.:!?#", "abcxyz "))
    return ["".join(rng.choices(alphabet, k=rng.randrange(1, 8)))]


def completion_example(question: str, rng: Random) -> Example:
    """A problem and its completion as the starting policy should write it."""
    thoughts = write_thoughts(question, Habits(), rng)
    return Example(formats.completion_prompt(question), formats.completion(thoughts) + formats.EOS)


def localization_example(question: str, thoughts: list[str]) -> Example | None:
    """A chain and where it first goes wrong, or None where its answer is right."""
    wrong = first_wrong(question, thoughts)
    if wrong is None or thoughts[-1] == right_thoughts(question)[-1]:
        return None
    return Example(
        formats.localization_prompt(question, thoughts),
        formats.localization_reply(thoughts, wrong) + formats.EOS,
    )


def draw_drifted_habits(rng: Random) -> Habits:
    """Habits of a policy that training has changed, in some direction and to some degree."""
    hard_right = rng.uniform(0.2, 0.95)
    return replace(
        Habits(),
        hard_right=hard_right,
        hard_habit=(1 - hard_right) * rng.random(),
        easy_slip=rng.choice((0.0, 0.05, 0.2)),
        copy_slip=rng.choice((0.0, 0.0, 0.05, 0.2)),
        break_slip=rng.choice((0.0, 0.0, 0.05, 0.2)),
    )


def draw_question_to_learn(rng: Random, max_operations: int) -> str:
    """A question of the training part, with any number of hard facts."""
    while True:
        operations, hard = draw_sizes(1, max_operations, 0, rng)
        if rng.random() < 0.5:
            hard = rng.randint(0, operations)
        question = draw_question(operations, hard, rng)
        if purpose_of(question) == "train":
            return question


def draw_completion(rng: Random, long_share: float) -> Example:
    """One completion to learn; `long_share` of them have up to 12 operations instead of 8."""
    return completion_example(
        draw_question_to_learn(rng, 12 if rng.random() < long_share else 8), rng
    )


def draw_localization(rng: Random, drifted_share: float, long_share: float) -> Example:
    """One localization to learn, at `drifted_share` of a policy that training has changed."""
    max_operations = 19 if rng.random() < long_share else 8
    drifted = rng.random() < drifted_share
    while True:
        question = draw_question_to_learn(rng, max_operations)
        habits = draw_drifted_habits(rng) if drifted else Habits()
        example = localization_example(question, write_thoughts(question, habits, rng)[:20])
        if example is not None:
            return example


def draw_examples(
    rng: Random, num: int, localization_share: float, drifted_share: float, long_share: float
) -> Iterator[Example]:
    """The examples of one warm-start step: localizations first, then completions."""
    num_localizations = round(num * localization_share)
    for index in range(num):
        if index < num_localizations:
            yield draw_localization(rng, drifted_share, long_share)
        else:
            yield draw_completion(rng, long_share)
