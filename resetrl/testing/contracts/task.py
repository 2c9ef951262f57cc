"""The contract of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from resetrl.interfaces import StepChecker, Task
from resetrl.testing.contracts._require import require
from resetrl.testing.contracts.verifier import judge, require_verdicts, right_rollout
from resetrl.types import Problem, Prompt, Purpose

_MOST = 32
"""Problems looked at of each purpose: the set may be endless, and each may be costly."""


def has_a_sequence_of_problems_for_each_purpose(task: Task) -> None:
    for purpose in get_args(Purpose):
        problems = task.problems(purpose)
        require(
            isinstance(problems, Sequence) and len(problems) > 0,
            f"problems({purpose!r}) is {type(problems).__name__}: return a Sequence that is not "
            "empty (it may compute its problems on access)",
        )
        for problem in _some(task, purpose):
            require(
                isinstance(problem, Problem) and bool(problem.question.strip()),
                f"problems({purpose!r}) holds {problem!r}: return problems with a question",
            )
        require(
            problems[-1] == problems[len(problems) - 1]
            and list(problems[:2]) == _some(task, purpose)[:2],
            f"problems({purpose!r}) does not take negative indices and slices as a list does",
        )


def gives_the_same_problems_again(task: Task) -> None:
    for purpose in get_args(Purpose):
        for first, again in zip(_some(task, purpose), _some(task, purpose), strict=True):
            require(first == again, f"a {purpose} problem was {first!r} and then {again!r}")


def gives_every_problem_its_own_uid(task: Task) -> None:
    uids: dict[str, Problem] = {}
    for problem in (*_some(task, "train"), *_some(task, "eval")):
        other = uids.setdefault(problem.uid, problem)
        require(
            other is problem,
            f"the uid {problem.uid!r} belongs to {other.question!r} and to {problem.question!r}: "
            "make uids unique over both purposes",
        )


def keeps_training_and_evaluation_apart(task: Task) -> None:
    trained = {problem.question for problem in _some(task, "train")}
    for problem in _some(task, "eval"):
        require(
            problem.question not in trained,
            f"{problem.question!r} is to be trained on and to be evaluated on",
        )


def has_a_verifier_that_accepts_the_references(task: Task) -> None:
    for problem in _some(task, "eval")[:8]:
        if not problem.reference:
            continue
        (verdict,) = judge(task.verifier(), [right_rollout(problem)])
        require(
            verdict.correct,
            f"its own reference {problem.reference!r}, boxed, gets {verdict!r} for {problem.uid}",
        )


def has_a_verifier_that_survives_any_completion(task: Task) -> None:
    require_verdicts(task.verifier(), Prompt(_some(task, "eval")[0], (0,)))


def names_a_wrong_thought_if_it_checks_steps(task: Task) -> None:
    if not isinstance(task, StepChecker):
        return
    attempts: tuple[list[str], ...] = (
        [],
        [""],
        ["?"],
        ["\\boxed{0}"],
        ["?", "\\boxed{"],
        ["1=1"] * 6,
        ["é", "?", ""],
    )
    for problem in _some(task, "eval")[:8]:
        for thoughts in attempts:
            wrong = task.first_wrong_thought(problem, thoughts)
            require(
                wrong is None or (type(wrong) is int and 1 <= wrong <= len(thoughts)),
                f"first_wrong_thought is {wrong!r} for the {len(thoughts)} thoughts {thoughts!r}: "
                "return None or a number from 1 to their count",
            )


CHECKS = (
    has_a_sequence_of_problems_for_each_purpose,
    gives_the_same_problems_again,
    gives_every_problem_its_own_uid,
    keeps_training_and_evaluation_apart,
    has_a_verifier_that_accepts_the_references,
    has_a_verifier_that_survives_any_completion,
    names_a_wrong_thought_if_it_checks_steps,
)


def _some(task: Task, purpose: Purpose) -> list[Problem]:
    problems = task.problems(purpose)
    return [problems[index] for index in range(min(_MOST, len(problems)))]
