"""What an evaluation keeps of each problem, and the file it is appended to."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from resetrl.ask import Judged
from resetrl.errors import ResetrlError
from resetrl.run.rollouts import SavedAnswer, saved_answer
from resetrl.types import Problem

TOO_LONG = "too_long"
"""The stop of an answer that was never asked for: its prompt does not fit the context."""


@dataclass(frozen=True)
class Answer:
    """One completion of a problem as it was judged; lengths are in tokens.

    Example: `Answer("3+4=7</thought>\\\\boxed{7}</thought>", "7", True, 1.0, 9, 2, 0, "answer")`;
    `extracted` is None where no answer was found, `error` says why the verifier itself failed.
    """

    completion: str
    extracted: str | None
    correct: bool
    reward: float
    tokens: int
    thoughts: int
    fragments: int
    stop: str
    error: str = ""


@dataclass(frozen=True)
class AnsweredProblem:
    """A held-out problem with its greedy answer and its sampled ones.

    `seconds` is its share of the time its chunk took.
    """

    uid: str
    question: str
    reference: str
    greedy: Answer
    samples: tuple[Answer, ...]
    seconds: float

    def saved(self, prefix: str = "") -> SavedAnswer:
        """The greedy answer in the form in which a run keeps its evaluations."""
        return SavedAnswer(
            uid=prefix + self.uid,
            question=self.question,
            reference=self.reference,
            completion=self.greedy.completion,
            extracted=self.greedy.extracted,
            correct=self.greedy.correct,
            reward=self.greedy.reward,
        )


def answered(problem: Problem, judged: Sequence[Judged], seconds: float) -> AnsweredProblem:
    """A problem from its judged rollouts, the greedy one first."""
    greedy, *samples = [_answer(each) for each in judged]
    return AnsweredProblem(
        problem.uid, problem.question, problem.reference, greedy, tuple(samples), seconds
    )


def too_long(problem: Problem, num_samples: int) -> AnsweredProblem:
    """A problem whose prompt does not fit: every answer to it is missing, and so wrong."""
    missing = Answer("", None, False, 0.0, 0, 0, 0, TOO_LONG)
    return AnsweredProblem(
        problem.uid, problem.question, problem.reference, missing, (missing,) * num_samples, 0.0
    )


def _answer(judged: Judged) -> Answer:
    rollout, verdict = judged
    completion, saved = rollout.completion, saved_answer(rollout, verdict)
    return Answer(
        completion=saved.completion,
        extracted=saved.extracted,
        correct=saved.correct,
        reward=saved.reward,
        tokens=len(completion.token_ids),
        thoughts=len(completion.thoughts),
        fragments=completion.fragments,
        stop=completion.stop,
        error=verdict.error,
    )


class AnswerFile:
    """The answered problems of one task as JSON lines, in the order of the problems.

    Each chunk is written through to the disk, so that a second start goes on behind it; a line
    torn by a kill is cut off.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[AnsweredProblem]:
        """What is answered so far; raises ResetrlError for a damaged line."""
        if not self.path.exists():
            return []
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            with self.path.open("r+b") as stream:
                stream.truncate(len(whole))
        return [self._decode(line, number) for number, line in enumerate(whole.splitlines(), 1)]

    def append(self, problems: Sequence[AnsweredProblem]) -> None:
        """Write more problems through to the disk; raises ResetrlError if it refuses."""
        lines = "".join(json.dumps(asdict(problem)) + "\n" for problem in problems)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as stream:
                stream.write(lines.encode())
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise ResetrlError(
                f"{self.path} cannot be written ({error.strerror or error}): free some space and "
                "start the same evaluation again, which goes on from there"
            ) from error

    def _decode(self, line: bytes, number: int) -> AnsweredProblem:
        try:
            row: dict[str, Any] = json.loads(line)
            greedy, samples = _to_answer(row["greedy"]), map(_to_answer, row["samples"])
            return AnsweredProblem(**{**row, "greedy": greedy, "samples": tuple(samples)})
        except (ValueError, LookupError, TypeError) as error:
            raise ResetrlError(
                f"{self.path} is damaged in line {number} ({error}): delete that line and all "
                "behind it to go on from there"
            ) from error


def _to_answer(row: Mapping[str, Any]) -> Answer:
    return Answer(**row)
