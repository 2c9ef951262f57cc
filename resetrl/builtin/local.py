"""The task `local`: problems from a JSONL or Parquet file of your own."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from resetrl.builtin import programs
from resetrl.builtin.references import is_verifiable, mended
from resetrl.builtin.rows import Row, file_rows, question_key, text_of
from resetrl.errors import DataError
from resetrl.rng import derive_seed
from resetrl.thoughts import BOX_OPENING, last_boxed
from resetrl.types import Problem, Purpose

if TYPE_CHECKING:
    from resetrl.interfaces import Verifier

SAMPLE = "builtin:sample"
"""Names the sums in words that ship with resetrl, to try the task with and to copy from."""

VerifierName = Literal["math", "exact", "multiple_choice", "yes_no", "short_answer"]

Placed = tuple[str, Problem]
"""A problem and where it stands, such as `train.jsonl:7`."""


@dataclass
class Local:
    """Problems from a file of yours: JSON Lines, or Parquet if its name ends in `.parquet`.

    file: problems, one a line or row.
    eval_file: held-out problems; without it, a share of `file` is held out.
    eval_share: that share, about; a problem's question alone decides whether it is held out.
    question: the field that holds the question; `a.b` is field b within field a.
    answer: the field that holds the reference; if it is a text with a closed box, the box does.
    answer_after: take the answer behind the last of these marks, such as `####`.
    tests: the field with a program's tests, a list or its JSON text, as the verifier `code` of
        resetrl-sandbox takes them; it is the task's verifier then, and rows need no answer.
    entry_point: the field with the name of the function that functional tests call.
    id: the field with a unique id; without it, problems are numbered by line.
    verifier_name: the built-in verifier, with its defaults; `verifier=` takes its place.
    only_verifiable: mend references that lost backslashes, and leave out those that are no plain
        number, expression or letter, as the published problem sets were filtered.
    sha256: of the files; filled in when a run is composed, so that it goes on with equal data.

    No question is in both the training and the evaluation set.
    """

    file: str = SAMPLE
    eval_file: str = ""
    eval_share: float = 0.2
    question: str = "question"
    answer: str = "answer"
    answer_after: str = ""
    tests: str = ""
    entry_point: str = ""
    id: str = ""
    verifier_name: VerifierName = "math"
    only_verifiable: bool = False
    sha256: str = field(default="", metadata={"composed": "${sha256_of:${.file},${.eval_file}}"})

    def __post_init__(self) -> None:
        for name in ("file", "question", "answer"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty: give one")
        if not 0 < self.eval_share < 1:
            raise ValueError(f"eval_share is {self.eval_share}: choose one between 0 and 1")
        if self.entry_point and not self.tests:
            raise ValueError(
                f"entry_point is {self.entry_point} without tests: give tests, the field with the "
                "test cases"
            )
        about_answers = {
            "answer_after": self.answer_after,
            "only_verifiable": self.only_verifiable,
            "verifier_name": self.verifier_name != "math",
        }
        for name, given in about_answers.items():
            if self.tests and given:
                raise ValueError(f"{name} is about answers, but tests is given: leave one out")

    def problems(self, purpose: Purpose) -> Sequence[Problem]:
        """The problems to train or to evaluate on, in the order of their file.

        Raises DataError that names the file, and the line if one is at fault.
        """
        return self._sets[purpose]

    def verifier(self) -> Verifier:
        """`code` where there are tests, else the built-in one that the options name.

        Raises ConfigError if `code` is not installed.
        """
        from resetrl.builtin import resetrl_verifiers
        from resetrl.builtin.verifiers import verifier_of_task

        if self.tests:
            return verifier_of_task("local", "code")
        verifier: Verifier = resetrl_verifiers()[self.verifier_name]()  # type: ignore[operator]
        return verifier

    @functools.cached_property
    def _sets(self) -> Mapping[Purpose, Sequence[Problem]]:
        given = self._read(self.file)
        held_out = self._read(self.eval_file) if self.eval_file else []
        self._check_data()
        _check_uids([*given, *held_out])
        if self.eval_file:
            _check_apart(given, held_out)
        else:
            held_out = [placed for placed in given if self._is_held_out(placed[1])]
            given = [placed for placed in given if not self._is_held_out(placed[1])]
        for problems, use in ((given, "train"), (held_out, "evaluate")):
            if not problems:
                raise DataError(
                    f"{self.eval_file or self.file} leaves no problem to {use} on: give more "
                    "problems, or another task.eval_share or task.only_verifiable"
                )
        return {"train": [each for _, each in given], "eval": [each for _, each in held_out]}

    def _check_data(self) -> None:
        found = sha256_of(self.file, self.eval_file)
        if self.sha256 and self.sha256 != found:
            names = " or ".join(filter(None, (self.file, self.eval_file)))
            raise DataError(
                f"{names} has changed: task.sha256 is {self.sha256[:12]}... but the data's is "
                f"{found[:12]}...; bring back the data of that run, or start a new run"
            )

    def _is_held_out(self, problem: Problem) -> bool:
        lot = derive_seed("local held out", question_key(problem.question))
        return lot / 2**63 < self.eval_share

    def _read(self, name: str) -> list[Placed]:
        path = file_of(name)
        placed = []
        for number, (place, row) in enumerate(file_rows(path), start=1):
            reference = "" if self.tests else self._reference(row, place)
            if self.only_verifiable and not is_verifiable(reference := mended(reference)):
                continue
            mark = _text(row, self.id, "id", place) if self.id else str(number)
            question = _text(row, self.question, "question", place)
            details: Mapping[str, object] = {}
            if self.tests:
                details = programs.details_of(row, self.tests, self.entry_point, place)
            placed.append((place, Problem(f"{path.stem}-{mark}", question, reference, details)))
        return placed

    def _reference(self, row: Row, place: str) -> str:
        text = _text(row, self.answer, "answer", place)
        if self.answer_after:
            _, mark, text = text.rpartition(self.answer_after)
            if not mark:
                raise DataError(
                    f"{place}: the answer has no {self.answer_after!r}: mend it, or leave out "
                    "task.answer_after"
                )
        if BOX_OPENING in text:
            text = last_boxed(text) or ""
        if not text.strip():
            raise DataError(f"{place}: the answer is empty: fill it in or delete the line")
        return text.strip()


def file_of(name: str) -> Path:
    """The path of a data file; `builtin:sample` is the one that ships with resetrl."""
    return Path(__file__).with_name("local_sample.jsonl") if name == SAMPLE else Path(name)


def sha256_of(*names: str) -> str:
    """A hash for the contents of the files named, in their order; empty if one is not readable.

    Empty names are left out. A file is read again only if its size or time has changed.
    """
    try:
        paths = [file_of(name) for name in names if name]
        stats = [path.stat() for path in paths]
        digests = [
            _digest(path, stat.st_mtime_ns, stat.st_size)
            for path, stat in zip(paths, stats, strict=True)
        ]
    except OSError:
        return ""  # the task says what is wrong with the file when it reads it
    return (
        digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    )


@functools.lru_cache(maxsize=32)
def _digest(path: Path, mtime_ns: int, size: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _text(row: Row, name: str, option: str, place: str) -> str:
    """The field of a row as text; raises DataError if it is missing, empty or no plain value."""
    text = text_of(row, name, place, f"say which it is with task.{option}=...")
    if not text:
        raise DataError(f"{place}: the {option} is empty: fill it in or delete the line")
    return text


def _check_uids(placed: Sequence[Placed]) -> None:
    places: dict[str, str] = {}
    for place, problem in placed:
        other = places.setdefault(problem.uid, place)
        if other != place:
            raise DataError(
                f"{place} and {other} have the same id {problem.uid!r}: make ids unique over both "
                "files, or leave out task.id"
            )


def _check_apart(given: Sequence[Placed], held_out: Sequence[Placed]) -> None:
    places = {question_key(problem.question): place for place, problem in given}
    for place, problem in held_out:
        other = places.get(question_key(problem.question))
        if other is not None:
            raise DataError(
                f"{place} and {other} ask the same question: it cannot be trained on and evaluated "
                "on; delete one"
            )
