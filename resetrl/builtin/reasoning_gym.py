"""Tasks from reasoning-gym: its generators make the problems and its scorers judge the answers.

github.com/open-thought/reasoning-gym, the extra `resetrl[reasoning-gym]`. The package takes
seconds to import, so it is imported when the first problem is read; the names of its datasets
come from a file beside this one.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resetrl.answers import Answer, boxed_answer, verdict_on
from resetrl.builtin.generated import GeneratedProblems
from resetrl.errors import ConfigError, TrainingError
from resetrl.rng import derive_seed
from resetrl.types import Problem, Purpose, Rollout, Verdict

if TYPE_CHECKING:
    from resetrl.interfaces import Verifier

CORRECT_AT = 1 - 1e-9
"""An answer counts as correct if its score reaches this; anything below is only part of one."""

REFUSED = {
    "codeio": "its problems differ between processes",
    "composite": "it mixes other datasets; train on one of them",
    "game_of_life_halting": "its scorer gives full marks to any answer",
    "intermediate_integration": "its scorer runs the answer as Python code",
    "isomorphic_strings": "its problems differ between processes",
    "knight_swap": "its problems differ between processes",
    "list_functions": "its problems differ between processes",
    "polynomial_multiplication": "its problems differ between processes",
    "ransom_note": "its problems differ between processes",
    "simple_integration": "its scorer runs the answer as Python code",
    "word_ladder": "its problems differ between processes",
}
"""Datasets of reasoning-gym that are no tasks here, and why (seen in version 0.1.25)."""

_MAX_TRIES = 32
"""Entries looked at for one problem; half of them are for the other purpose."""


@functools.cache
def dataset_names() -> tuple[str, ...]:
    """The datasets that can be tasks, sorted; reasoning-gym need not be installed."""
    file = Path(__file__).with_name("reasoning_gym_names.txt")
    return tuple(file.read_text(encoding="utf-8").split())


def purpose_of(question: str) -> Purpose:
    """Whether a question is for training or evaluation, whatever the options of the task."""
    return "eval" if derive_seed("reasoning-gym purpose", question) % 2 == 0 else "train"


@dataclass
class ReasoningGym:
    """Problems of a reasoning-gym dataset, judged by that dataset's own scorer.

    dataset: its name in reasoning-gym.
    options: of its generator, for example `{max_terms: 3}`.
    rng_seed: chooses the problem set and is no run seed: methods are compared on equal problems.

    Rewards are graded; an answer is correct at full marks. No question is in both a training and
    an evaluation set, whatever their options; within one set a question may come twice.
    """

    dataset: str = "chain_sum"
    train_size: int = 2000
    eval_size: int = 100
    rng_seed: int = 0
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.dataset not in dataset_names():
            raise ValueError(f"reasoning-gym dataset {self.dataset!r} {_why_not(self.dataset)}")
        for name in ("train_size", "eval_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: choose 1 or more")
        for name, instead in (("seed", "rng_seed"), ("size", "train_size and eval_size")):
            if name in self.options:
                raise ValueError(f"options.{name} is set by the task: use {instead}")

    def problems(self, purpose: Purpose) -> Sequence[Problem]:
        """The problems to train or to evaluate on, each generated when it is read.

        Raises ConfigError if reasoning-gym is missing or refuses the options.
        """
        count = self.train_size if purpose == "train" else self.eval_size
        seed = derive_seed("reasoning-gym", self.dataset, self.rng_seed, purpose) % 2**31
        generator = _generator(self.dataset, self.options, seed=seed, size=count * _MAX_TRIES)
        return GymProblems(self.dataset, self.rng_seed, purpose, count, generator)

    def verifier(self) -> Verifier:
        """The dataset's own scorer, applied to the last closed box."""
        return GymScore(self.dataset, dict(self.options))


@dataclass(frozen=True)
class GymProblems(GeneratedProblems):
    """The problems of one purpose."""

    dataset: str
    rng_seed: int
    purpose: Purpose
    size: int
    generator: Any  # a reasoning_gym.dataset.ProceduralDataset, whose package has no types

    def __len__(self) -> int:
        return self.size

    @property
    def task_name(self) -> str:
        return self.dataset

    def make(self, index: int) -> Problem:
        """The first of this index's own candidates whose question is for this purpose."""
        for candidate in range(index, self.size * _MAX_TRIES, self.size):
            entry = self.generator[candidate]
            if purpose_of(entry["question"]) == self.purpose:
                break
        else:
            raise TrainingError(
                f"reasoning-gym dataset {self.dataset!r} repeats its questions too much for "
                f"{self.purpose} problems of its own: give options that vary it more"
            )
        return Problem(
            uid=f"{self.dataset}-set{self.rng_seed}-{self.purpose}-{index}",
            question=entry["question"],
            # Where many answers are right, some datasets name none.
            reference="" if entry["answer"] is None else str(entry["answer"]),
            details={"entry": entry},
        )


@dataclass
class GymScore:
    """reasoning-gym's scorer of a dataset, applied to the last closed `\\boxed{...}`.

    No box scores 0, also where reasoning-gym would give something for trying. A scorer that
    fails gives 0 with the status `scorer_failed`.
    """

    dataset: str = "chain_sum"
    options: dict[str, Any] = field(default_factory=dict)

    def verify(self, rollouts: Sequence[Rollout]) -> list[Verdict]:
        return [self._verdict(rollout) for rollout in rollouts]

    @functools.cached_property
    def _scorer(self) -> Callable[[str, object], float]:
        generator = _generator(self.dataset, self.options, seed=0, size=1)
        scorer: Callable[[str, object], float] = generator.score_answer
        return scorer

    def _verdict(self, rollout: Rollout) -> Verdict:
        extracted = boxed_answer(rollout.completion.text)
        answer, reference = extracted.text, rollout.prompt.problem.reference
        if answer is None:
            return verdict_on(extracted, reference, correct=False)
        if not _EVALUATED.get(self.dataset, _any_answer)(answer):
            why = "not scored: the scorer would run this answer as Python code"
            return verdict_on(Answer(answer, "refused", why), reference, correct=False)
        scorer = self._scorer  # outside of try: what it raises is no fault of the answer
        try:
            score = float(scorer(answer, rollout.prompt.problem.details["entry"]))
        except Exception as error:  # scorers meet answers their authors did not think of
            failed = Answer(answer, "scorer_failed", f"{type(error).__name__}: {error}")
            return verdict_on(failed, reference, correct=False)
        if not math.isfinite(score):
            failed = Answer(answer, "scorer_failed", f"the score is {score}")
            return verdict_on(failed, reference, correct=False)
        reward = min(max(score, 0.0), 1.0)
        verdict = verdict_on(extracted, reference, correct=reward >= CORRECT_AT)
        return dataclasses.replace(verdict, reward=reward)


def _any_answer(answer: str) -> bool:
    return True


def _is_arithmetic(answer: str) -> bool:
    """Numbers, brackets and + - * / only, so that evaluating it is harmless and quick."""
    return re.fullmatch(r"[\d\s+\-*/().]{1,200}", answer) is not None and "**" not in answer


def _is_plain_data(answer: str) -> bool:
    """No Python expression at all, or one of constants, names and lists, without calls."""
    try:
        tree = ast.parse(answer.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return True  # evaluating it would fail the same way
    harmless = (ast.Expression, ast.Constant, ast.Name, ast.List, ast.Tuple, ast.UnaryOp)
    return all(isinstance(node, (*harmless, ast.USub, ast.Load)) for node in ast.walk(tree))


_EVALUATED: Mapping[str, Callable[[str], bool]] = {
    "binary_matrix": _is_plain_data,
    "countdown": _is_arithmetic,
    "n_queens": _is_plain_data,
    "puzzle24": _is_arithmetic,
    "spiral_matrix": _is_plain_data,
    "string_insertion": _is_plain_data,
}
"""Datasets whose scorers call `eval` on the answer, and which answers may go there."""


def _why_not(dataset: str) -> str:
    if dataset in REFUSED:
        return f"is no task: {REFUSED[dataset]}"
    close = difflib.get_close_matches(dataset, dataset_names(), n=3)
    meant = f"did you mean {' or '.join(close)}?" if close else "`resetrl plugins list` names them"
    return f"is unknown: {meant}"


def _generator(dataset: str, options: Mapping[str, Any], *, seed: int, size: int) -> Any:
    """The reasoning-gym dataset; raises ConfigError."""
    try:
        import reasoning_gym
        from reasoning_gym.factory import DATASETS
    except ImportError:
        raise ConfigError(
            f"task reasoning_gym/{dataset} needs the package reasoning-gym: run "
            "`pip install resetrl[reasoning-gym]`"
        ) from None
    if dataset not in DATASETS:
        raise ConfigError(
            f"the installed reasoning-gym has no dataset {dataset!r}: run "
            "`pip install --upgrade resetrl[reasoning-gym]`"
        )
    try:
        return reasoning_gym.create_dataset(dataset, seed=seed, size=size, **options)
    except (TypeError, ValueError, AssertionError) as error:
        known = [name for name in vars(DATASETS[dataset][1]()) if name not in ("seed", "size")]
        reason = str(error).splitlines()[0] if str(error) else "a value is out of range"
        raise ConfigError(
            f"task reasoning_gym/{dataset} does not take options {dict(options)}: {reason}; its "
            f"options are {', '.join(known)}"
        ) from None
