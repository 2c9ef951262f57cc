"""Built-in verifiers that compare text, and the way to any by name; `math` has its own module.

Each reads the last closed `\\boxed{...}`. With `lenient=true` those that have the option also
take an answer from elsewhere in the completion, as the published code of the method does; then a
policy may be paid for a word it did not mean as its answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resetrl.answers import (
    Answer,
    boxed_answer,
    last_yes_or_no,
    letter_in_box,
    letter_in_prose,
    prose_of,
    verdict_on,
    words_of,
    yes_or_no,
)
from resetrl.errors import ConfigError
from resetrl.types import Rollout, Verdict

if TYPE_CHECKING:
    from resetrl.interfaces import Verifier

DISTRIBUTIONS = {"code": "resetrl-sandbox"}
"""Where a verifier comes from that is not built in."""


def verifier_of_task(task: str, name: str) -> Verifier:
    """The verifier a task needs, with its defaults; raises ConfigError if it is not installed."""
    from resetrl.plugins import load_plugins

    registry = load_plugins()
    if name in DISTRIBUTIONS and name not in registry.names("verifier"):
        raise ConfigError(
            f"task {task} needs the verifier {name!r}: run "
            f"`pip install {DISTRIBUTIONS[name]}`, or name another one as verifier"
        )
    verifier: Verifier = registry.get("verifier", name).build({})  # type: ignore[assignment]
    return verifier


@dataclass
class Exact:
    """Right if the last closed `\\boxed{...}` equals the reference, surrounding spaces aside."""

    def verify(self, rollouts: Sequence[Rollout]) -> list[Verdict]:
        return [self._verdict(rollout) for rollout in rollouts]

    def _verdict(self, rollout: Rollout) -> Verdict:
        answer = boxed_answer(rollout.completion.text)
        reference = rollout.prompt.problem.reference
        return verdict_on(answer, reference, correct=answer.text == reference.strip())


@dataclass
class MultipleChoice:
    """Right if the last closed box names the reference's option, a letter.

    `B`, `(b)`, `\\text{B}` and `B. Paris` name option B; `AB` and `A or B` name none.

    lenient: without a box, take the letter that the prose names as its final answer, as in
        `The answer is (C).`; the word `I` is no option.
    """

    lenient: bool = False

    def verify(self, rollouts: Sequence[Rollout]) -> list[Verdict]:
        return [self._verdict(rollout) for rollout in rollouts]

    def _verdict(self, rollout: Rollout) -> Verdict:
        reference = rollout.prompt.problem.reference
        answer = self._answer(rollout.completion.text)
        expected = letter_in_box(reference)
        correct = expected is not None and answer.text == expected
        return verdict_on(answer, expected or f"an option, not {reference}", correct=correct)

    def _answer(self, text: str) -> Answer:
        boxed = boxed_answer(text)
        if boxed.text is not None:
            letter = letter_in_box(boxed.text)
            unclear = Answer(boxed.text, "unclear", "the box does not name one option")
            return Answer(letter) if letter else unclear
        letter = letter_in_prose(text) if self.lenient else None
        return Answer(letter) if letter else boxed


@dataclass
class YesNo:
    """Right if the last closed box says yes or no as the reference does; true and false count too.

    lenient: without a box, take the last of the whole words yes and no in the completion.
    """

    lenient: bool = False

    def verify(self, rollouts: Sequence[Rollout]) -> list[Verdict]:
        return [self._verdict(rollout) for rollout in rollouts]

    def _verdict(self, rollout: Rollout) -> Verdict:
        reference = rollout.prompt.problem.reference
        answer, said = self._answer(rollout.completion.text)
        correct = said is not None and said == yes_or_no(reference)
        return verdict_on(answer, reference, correct=correct)

    def _answer(self, text: str) -> tuple[Answer, bool | None]:
        boxed = boxed_answer(text)
        if boxed.text is not None:
            said = yes_or_no(boxed.text)
            unclear = Answer(boxed.text, "unclear", "the box is neither yes nor no")
            return (unclear if said is None else boxed), said
        said = last_yes_or_no(text) if self.lenient else None
        return (boxed if said is None else Answer("yes" if said else "no")), said


_NEGATIONS = frozenset(
    ("no", "not", "never", "neither", "nor", "none", "without", "cannot", "non", "except")
)
_DENIED_BEFORE = (["instead", "of"], ["rather", "than"], ["anything", "but"], ["everything", "but"])
_ALTERNATIVES = frozenset({"or", "either"})


@dataclass
class ShortAnswer:
    """Right if the last closed box holds the reference's words in a row, and does not deny them.

    Words are compared without case, articles, punctuation and LaTeX. `H2O, that is water` is
    water; `not water`, `waterfall` and `water or ice` are not.

    spare_words: how many words the box may hold besides the reference's, so that listing every
        possible answer earns nothing.
    lenient: without a box, search the whole completion, however long.
    """

    spare_words: int = 8
    lenient: bool = False

    def __post_init__(self) -> None:
        if self.spare_words < 0:
            raise ValueError(f"spare_words is {self.spare_words}: choose 0 or more")

    def verify(self, rollouts: Sequence[Rollout]) -> list[Verdict]:
        return [self._verdict(rollout) for rollout in rollouts]

    def _verdict(self, rollout: Rollout) -> Verdict:
        reference = rollout.prompt.problem.reference
        answer = boxed_answer(rollout.completion.text)
        unboxed = answer.text is None and self.lenient
        if unboxed:
            answer = Answer(prose_of(rollout.completion.text))
        if answer.text is None:
            return verdict_on(answer, reference, correct=False)
        status, why = self._fault(answer.text, reference, any_length=unboxed)
        return verdict_on(Answer(answer.text, status, why), reference, correct=not why)

    def _fault(self, text: str, reference: str, *, any_length: bool) -> tuple[str, str]:
        """Status and reason if the text does not give the reference, else `given` and nothing."""
        wanted = words_of(reference)
        if not wanted:
            return "wrong", "the reference is empty"
        most = len(wanted) + self.spare_words
        if not any_length and len(words_of(text)) > most:
            return "too_long", f"the box holds more than {most} words"
        place = _last_place(text, wanted)
        if place is None:
            return "wrong", f"expected {reference}"
        before, after = place
        if _is_denied(before, after):
            return "denied", f"{reference} is denied"
        if _ALTERNATIVES & {*before, *after}:
            return "unclear", "more than one answer"
        return "given", ""


def _last_place(text: str, wanted: list[str]) -> tuple[list[str], list[str]] | None:
    """The words before and behind the last place where the wanted ones stand in a row.

    Only words of the clauses that the wanted ones are in; None if they are nowhere.
    """
    clauses = re.split(
        r"[;:!?\n]+|[.,](?=\s|$)|(?<!anything )(?<!everything )\bbut\b", text.lower()
    )
    words = [(word, i) for i, clause in enumerate(clauses) for word in words_of(clause)]
    for start in range(len(words) - len(wanted), -1, -1):
        end = start + len(wanted)
        if [word for word, _ in words[start:end]] == wanted:
            first, last = words[start][1], words[end - 1][1]
            before = [word for word, i in words[:start] if i == first]
            after = [word for word, i in words[end:] if i == last]
            return before, after
    return None


def _is_denied(before: list[str], after: list[str]) -> bool:
    """Whether `not water`, `ice instead of water` or `water is not it` is said."""
    negated = any(word in _NEGATIONS or word.endswith("n't") for word in before)
    turned_round = after[1:2] == ["not"] or any(word.endswith("n't") for word in after[:1])
    return negated or before[-2:] in _DENIED_BEFORE or turned_round
