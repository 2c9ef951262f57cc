"""The rollouts a run keeps: what `resetrl show` draws and what a notebook reads back.

A run folder holds `rollouts/step_000010.jsonl.gz`, one group a line, and
`evaluations/step_000020.jsonl.gz`, one held-out problem a line. The same run writes the same
bytes; a file is written whole or not at all. Token ids and log-probabilities are kept (rounded
to six decimals), so that a saved step can be replayed.
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from resetrl.errors import ResetrlError
from resetrl.hookspecs import hookimpl
from resetrl.interfaces import StepChecker
from resetrl.thoughts import DELIMITER, stripped_thoughts
from resetrl.types import (
    Completion,
    Group,
    Problem,
    Prompt,
    ResetState,
    Rollout,
    Selection,
    Verdict,
)

if TYPE_CHECKING:
    from resetrl.interfaces import Task
    from resetrl.run.context import Evaluation, RunContext
    from resetrl.types import StepRecord

ROLLOUTS = "rollouts"
EVALUATIONS = "evaluations"
SUFFIX = ".jsonl.gz"

Read = TypeVar("Read")


class RolloutsError(ResetrlError):
    """Saved rollouts are missing, damaged or cannot be written."""


@dataclass(frozen=True)
class SavedGroup:
    """A group of one training step as it was trained: `SavedGroup(group, (1.7, -0.6, -0.6))`.

    `advantages[i]` belongs to `group.rollouts[i]`. With `mask_prefix` the prefix of a reset group
    carried no gradient. `first_wrong` is the seed's first wrong thought (1-based) as the task's
    step checker knows it; None without a checker, in a base group, or if every thought is right.
    """

    group: Group
    advantages: tuple[float, ...]
    mask_prefix: bool = True
    delimiter: str = DELIMITER
    first_wrong: int | None = None


@dataclass(frozen=True)
class SavedAnswer:
    """A held-out problem answered in an evaluation, with what the verifier made of it.

    Example: `SavedAnswer("chain-17", "3+4", "7", "3+4=7</thought>\\\\boxed{7}</thought>", "7",
    True, 1.0)`; `extracted` is None where no answer was found.
    """

    uid: str
    question: str
    reference: str
    completion: str
    extracted: str | None
    correct: bool
    reward: float


@dataclass
class RolloutLog:
    """Saves the rollouts of every k-th step and of the last one, and of every evaluation.

    `task` tells each seed's first wrong thought if it has a step checker; `mask_prefix` and
    `delimiter` are those of the run.
    """

    every: int
    mask_prefix: bool = True
    delimiter: str = DELIMITER
    task: Task | None = None

    @hookimpl
    def resetrl_step_finished(self, run: RunContext, record: StepRecord) -> None:
        if record.step % self.every == 0 or record.step == run.total_steps:
            write_groups(
                run.folder,
                record,
                mask_prefix=self.mask_prefix,
                delimiter=self.delimiter,
                task=self.task,
            )

    @hookimpl
    def resetrl_evaluated(self, run: RunContext, evaluation: Evaluation) -> None:
        write_evaluation(run.folder, evaluation)


def write_groups(
    folder: Path,
    record: StepRecord,
    *,
    mask_prefix: bool = True,
    delimiter: str = DELIMITER,
    task: Task | None = None,
) -> Path:
    """Save the groups of a step below a run folder; returns the file.

    Raises RolloutsError, with everything written before intact, if the disk refuses.
    """
    rows = (
        _group_row(
            record.step,
            SavedGroup(
                group, tuple(row), mask_prefix, delimiter, _first_wrong(group, task, delimiter)
            ),
        )
        for group, row in zip(record.groups, record.advantages, strict=True)
    )
    return _write(folder / ROLLOUTS / _file_name(record.step), rows)


def write_evaluation(folder: Path, evaluation: Evaluation) -> Path:
    """Save the answers of an evaluation below a run folder; returns the file."""
    answers = (saved_answer(rollout, verdict) for rollout, verdict in evaluation.judged)
    return write_answers(folder, evaluation.step, answers)


def write_answers(folder: Path, step: int, answers: Iterable[SavedAnswer]) -> Path:
    """Save the answers given after so many steps below a run folder; returns the file."""
    rows = ({"step": step, **asdict(answer)} for answer in answers)
    return _write(evaluation_file(folder, step), rows)


def saved_answer(rollout: Rollout, verdict: Verdict) -> SavedAnswer:
    """What is kept of a judged answer to a held-out problem."""
    problem = rollout.prompt.problem
    extracted = verdict.details.get("extracted")
    return SavedAnswer(
        uid=problem.uid,
        question=problem.question,
        reference=problem.reference,
        completion=rollout.completion.text,
        extracted=None if extracted is None else str(extracted),
        correct=verdict.correct,
        reward=verdict.reward,
    )


def evaluation_file(folder: Path, step: int) -> Path:
    """Where a run folder holds the answers of the evaluation after a step."""
    return folder / EVALUATIONS / _file_name(step)


def read_groups(file: Path) -> list[SavedGroup]:
    """The groups of a file in their order; raises RolloutsError if it is missing or damaged."""
    return _read(file, _to_group)


def read_evaluation(file: Path) -> list[SavedAnswer]:
    """The answers of a file in their order; raises RolloutsError if it is missing or damaged."""
    return _read(file, _to_answer)


def saved_steps(folder: Path) -> dict[int, Path]:
    """The file of each step whose groups a run folder holds, in the order of the steps."""
    files = {_step_of(file): file for file in (folder / ROLLOUTS).glob(f"step_*{SUFFIX}")}
    return {step: files[step] for step in sorted(files) if step >= 0}


def _file_name(step: int) -> str:
    return f"step_{step:06d}{SUFFIX}"


def _step_of(file: Path) -> int:
    digits = file.name.removeprefix("step_").removesuffix(SUFFIX)
    return int(digits) if digits.isdecimal() else -1


def _first_wrong(group: Group, task: Task | None, delimiter: str) -> int | None:
    if group.reset_state is None or not isinstance(task, StepChecker):
        return None
    seed = group.reset_state.seed
    return task.first_wrong_thought(
        seed.prompt.problem, stripped_thoughts(seed.completion, delimiter)
    )


def _write(file: Path, rows: Iterable[Mapping[str, object]]) -> Path:
    """Write rows as compressed JSON lines, through a draft that is renamed when it is whole."""
    lines = (json.dumps(row, separators=(",", ":"), default=_plain) + "\n" for row in rows)
    data = gzip.compress("".join(lines).encode("ascii"), compresslevel=6, mtime=0)
    draft = file.with_name(f".draft_{file.name}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(file)
    except OSError as error:
        if draft.is_file():
            draft.unlink()
        raise RolloutsError(
            f"rollouts {file} could not be written: {error.strerror or error}; free some space "
            f"and go on with resume={file.parents[1]}"
        ) from error
    return file


def _plain(value: object) -> object:
    """What JSON does not know, of a verdict's details: sets in a fixed order, the rest as text."""
    return sorted(map(str, value)) if isinstance(value, set | frozenset) else str(value)


def _read(file: Path, convert: Callable[[Mapping[str, Any]], Read]) -> list[Read]:
    number = 0
    records = []
    try:
        with gzip.open(file, "rt", encoding="ascii") as stream:
            for number, line in enumerate(stream, start=1):  # noqa: B007 (the error names it)
                records.append(convert(json.loads(line)))
    except FileNotFoundError:
        raise RolloutsError(f"{file} does not exist: no rollouts were saved under it") from None
    except (OSError, EOFError, zlib.error, LookupError, ValueError, TypeError) as error:
        raise RolloutsError(
            f"{file} is damaged or no file of rollouts (line {max(number, 1)}: "
            f"{type(error).__name__}: {error}): delete it, or look at another step"
        ) from error
    if not records:
        raise RolloutsError(f"{file} is empty: delete it, or look at another step")
    return records


_NOT_SAVED = frozenset({"tests"})
"""Details of a problem that are left out: a program's test cases may be megabytes a problem, are
hidden for a reason, and each verdict says how they went."""


def _group_row(step: int, saved: SavedGroup) -> dict[str, object]:
    group, state = saved.group, saved.group.reset_state
    problem = group.prompt.problem
    row: dict[str, object] = {
        "step": step,
        "kind": group.kind,
        "uid": problem.uid,
        "question": problem.question,
        "reference": problem.reference,
        "details": {k: v for k, v in problem.details.items() if k not in _NOT_SAVED},
        "prompt_ids": group.prompt.token_ids,
        "mask_prefix": saved.mask_prefix,
        "delimiter": saved.delimiter,
        "rollouts": [_rollout_row(rollout, group.prompt) for rollout in group.rollouts],
        "verdicts": [_verdict_row(verdict) for verdict in group.verdicts],
        "advantages": saved.advantages,
    }
    if group.shaped_rewards is not None:
        row["shaped_rewards"] = group.shaped_rewards
    if state is not None:
        row["selection"] = {
            "thought": state.selection.thought,
            "status": state.selection.status,
            "reply": state.selection.reply,
        }
        row["seed"] = _rollout_row(state.seed, group.prompt)
        row["seed_verdict"] = _verdict_row(state.seed_verdict)
        row["first_wrong"] = saved.first_wrong
    return row


def _rollout_row(rollout: Rollout, prompt: Prompt) -> dict[str, object]:
    """A rollout of a group of that prompt; one that was asked otherwise keeps its own ids."""
    completion = rollout.completion
    row: dict[str, object] = {
        "index": rollout.index,
        "text": completion.text,
        "thoughts": completion.thoughts,
        "thought_ends": completion.thought_ends,
        "prefix_len": completion.prefix_len,
        "stop": completion.stop,
        "fragments": completion.fragments,
        "token_ids": completion.token_ids,
        "logprobs": [round(logprob, 6) for logprob in completion.logprobs],
    }
    if rollout.role:
        row["role"] = rollout.role
    if rollout.prompt.token_ids != prompt.token_ids:
        row["prompt_ids"] = rollout.prompt.token_ids
    return row


def _verdict_row(verdict: Verdict) -> dict[str, object]:
    return {
        "reward": verdict.reward,
        "correct": verdict.correct,
        "details": dict(verdict.details),
    }


def _to_group(row: Mapping[str, Any]) -> SavedGroup:
    problem = Problem(row["uid"], row["question"], row["reference"], row["details"])
    prompt = Prompt(problem, tuple(row["prompt_ids"]))
    state = None
    if row["kind"] == "reset":
        state = ResetState(
            seed=_to_rollout(row["seed"], prompt),
            seed_verdict=_to_verdict(row["seed_verdict"]),
            selection=Selection(**row["selection"]),
        )
    rollouts = tuple(_to_rollout(each, prompt) for each in row["rollouts"])
    verdicts = tuple(_to_verdict(each) for each in row["verdicts"])
    advantages = tuple(row["advantages"])
    shaped = row.get("shaped_rewards")
    if not len(rollouts) == len(advantages) > 0:
        raise ValueError(f"{len(rollouts)} rollouts but {len(advantages)} advantages")
    return SavedGroup(
        group=Group(
            row["kind"], rollouts, verdicts, state, None if shaped is None else tuple(shaped)
        ),
        advantages=advantages,
        mask_prefix=row["mask_prefix"],
        delimiter=row["delimiter"],
        first_wrong=row.get("first_wrong"),
    )


def _to_rollout(row: Mapping[str, Any], prompt: Prompt) -> Rollout:
    completion = Completion(
        token_ids=tuple(row["token_ids"]),
        logprobs=tuple(row["logprobs"]),
        thought_ends=tuple(row["thought_ends"]),
        thoughts=tuple(row["thoughts"]),
        stop=row["stop"],
        text=row["text"],
        prefix_len=row["prefix_len"],
        fragments=row["fragments"],
    )
    own_ids = tuple(row.get("prompt_ids", prompt.token_ids))
    return Rollout(Prompt(prompt.problem, own_ids), completion, row["index"], row.get("role", ""))


def _to_verdict(row: Mapping[str, Any]) -> Verdict:
    return Verdict(row["reward"], row["correct"], row["details"])


def _to_answer(row: Mapping[str, Any]) -> SavedAnswer:
    return SavedAnswer(
        uid=row["uid"],
        question=row["question"],
        reference=row["reference"],
        completion=row["completion"],
        extracted=row["extracted"],
        correct=row["correct"],
        reward=row["reward"],
    )
