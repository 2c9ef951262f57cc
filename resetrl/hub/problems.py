"""From the rows of a data set to its problems: filter, fields, duplicates, division, hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from resetrl.builtin import programs
from resetrl.builtin.references import is_verifiable, mended
from resetrl.builtin.rows import Placed, Row, question_key, text_of, value_of
from resetrl.errors import DataError
from resetrl.hub import livecodebench
from resetrl.hub.manifest import Manifest
from resetrl.rng import derive_seed
from resetrl.thoughts import BOX_OPENING, last_boxed
from resetrl.types import Problem, Purpose


@dataclass(frozen=True)
class DataSet:
    """All problems of a data set, by the hub's splits, and the number of rows each came from.

    No two have the same question: the later one is left out, and one in the split to evaluate on
    comes before one to train on.
    """

    problems: Mapping[str, Sequence[Problem]]
    rows: Mapping[str, int]

    @property
    def counts(self) -> dict[str, int]:
        """The number of problems of each split."""
        return {split: len(problems) for split, problems in self.problems.items()}

    @property
    def sha256(self) -> str:
        """Of everything in the problems, in their order."""
        digest = hashlib.sha256()
        for split, problems in sorted(self.problems.items()):
            for each in problems:
                content = [split, each.uid, each.question, each.reference, each.details]
                digest.update(json.dumps(content, sort_keys=True).encode() + b"\n")
        return digest.hexdigest()


def read_problems(name: str, manifest: Manifest, rows: Mapping[str, Iterable[Placed]]) -> DataSet:
    """The problems among the rows of each of the hub's splits; raises DataError for a bad row."""
    kept: dict[str, list[Problem]] = {}
    counts: dict[str, int] = {}
    uids: dict[str, str] = {}
    asked: set[str] = set()
    for split in _evaluation_first(manifest):
        kept[split], counts[split] = [], 0
        for number, (place, row) in enumerate(rows[split], start=1):
            counts[split] = number
            problem = _problem(f"{name}-{split}-{number}", name, manifest, row, place)
            if problem is None:
                continue
            other = uids.setdefault(problem.uid, place)
            if other != place:
                raise DataError(
                    f"{place} and {other} have the same id {problem.uid!r}: leave one out, or name "
                    "another field as id in the manifest"
                )
            key = question_key(problem.question)
            if key not in asked:
                asked.add(key)
                kept[split].append(problem)
    return DataSet(kept, counts)


def divide(
    name: str, manifest: Manifest, found: DataSet, train_size: int, eval_size: int
) -> Mapping[Purpose, Sequence[Problem]]:
    """The problems to train and to evaluate on, at most so many of each, 0 for all.

    What is left out, or held out of a single split, is decided by the hash of the question, so
    that it does not depend on the order of rows.
    """
    splits = manifest.splits
    if set(splits) == {"train"}:
        mine = found.problems[splits["train"]]
        wanted = min(eval_size or max(len(mine) // 10, 1), len(mine) // 2)
        held_out = {problem.uid for problem in _lot(name, mine)[:wanted]}
        to_train = [problem for problem in mine if problem.uid not in held_out]
        to_eval = [problem for problem in mine if problem.uid in held_out]
    else:
        to_train = list(found.problems[splits["train"]]) if "train" in splits else []
        to_eval = _some(name, found.problems[splits["eval"]], eval_size)
    return {"train": _some(name, to_train, train_size), "eval": to_eval}


def _evaluation_first(manifest: Manifest) -> list[str]:
    return sorted(manifest.hub_splits, key=lambda split: split != manifest.splits.get("eval"))


def _some(name: str, problems: Sequence[Problem], size: int) -> list[Problem]:
    """So many of the problems, in their order."""
    if not 0 < size < len(problems):
        return list(problems)
    chosen = {problem.uid for problem in _lot(name, problems)[:size]}
    return [problem for problem in problems if problem.uid in chosen]


def _lot(name: str, problems: Sequence[Problem]) -> list[Problem]:
    return sorted(
        problems, key=lambda each: derive_seed("hub lot", name, question_key(each.question))
    )


def _problem(uid: str, name: str, manifest: Manifest, row: Row, place: str) -> Problem | None:
    """The problem of a row; None for one the manifest leaves out."""
    remedy = f"the manifest {name} names other fields, so look whether this is the right file"
    for field, allowed in manifest.where.items():
        if text_of(row, field, place, remedy) not in allowed:
            return None
    question = text_of(row, manifest.question, place, remedy)
    reference = _reference(manifest, row, place, remedy)
    choices = _choices(manifest, row, place, remedy)
    if manifest.only_verifiable and not is_verifiable(reference := mended(reference)):
        return None
    fault = _fault(manifest, question, reference, choices)
    if fault and manifest.skip_unusable:
        return None
    if fault:
        raise DataError(f"{place}: {fault}: mend the row, or set skip_unusable in the manifest")
    details: Mapping[str, object] = {}
    if manifest.tests == "livecodebench":
        question = livecodebench.question_of(question, row, place)
        details = livecodebench.details_of(row, place)
    elif manifest.tests:
        details = programs.details_of(row, manifest.tests, manifest.entry_point, place)
    listed = "\n".join(f"{label}. {text}" for label, text in choices.items())
    asked = "\n\n".join(
        part for part in ("\n".join(filter(None, (question, listed))), manifest.instruction) if part
    )
    if manifest.id:
        uid = f"{name}-{text_of(row, manifest.id, place, remedy)}"
    return Problem(uid, asked, reference, details)


def _fault(manifest: Manifest, question: str, reference: str, choices: Mapping[str, str]) -> str:
    if not question:
        return f"the question ({manifest.question}) is empty"
    if manifest.answer and not reference:
        return f"the answer ({manifest.answer}) is empty"
    if manifest.choices and reference not in choices:
        return f"the answer {reference!r} is none of the choices {', '.join(choices) or 'given'}"
    return ""


def _reference(manifest: Manifest, row: Row, place: str, remedy: str) -> str:
    """The reference answer, "" where the row has none."""
    if not manifest.answer:
        return ""
    value = value_of(row, manifest.answer, place, remedy)
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = text_of(row, manifest.answer, place, remedy)
    if manifest.answer_after:
        text = text.rpartition(manifest.answer_after)[2] if manifest.answer_after in text else ""
    if manifest.answer_in_box or BOX_OPENING in text:
        text = last_boxed(text) or ""
    return text.strip()


def _choices(manifest: Manifest, row: Row, place: str, remedy: str) -> dict[str, str]:
    """The options by their letters; none where labels and texts do not go together."""
    if not manifest.choices:
        return {}
    given = value_of(row, manifest.choices, place, remedy)
    labels, texts = (
        (list(given.get(name) or []) for name in ("label", "text"))
        if isinstance(given, Mapping)
        else ([], [])
    )
    if len(labels) != len(texts) or len(set(labels)) != len(labels):
        return {}
    return {str(label): str(text).strip() for label, text in zip(labels, texts, strict=True)}
