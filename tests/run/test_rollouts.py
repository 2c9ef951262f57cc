"""What a run keeps of its rollouts, read back and byte for byte."""

from __future__ import annotations

import dataclasses
import errno
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from resetrl.errors import ResetrlError
from resetrl.interfaces import Verifier
from resetrl.run.context import Evaluation, RunContext
from resetrl.run.rollouts import (
    RolloutLog,
    SavedAnswer,
    SavedGroup,
    read_evaluation,
    read_groups,
    saved_steps,
    write_evaluation,
    write_groups,
)
from resetrl.types import (
    Completion,
    Group,
    PhaseUsage,
    Problem,
    Prompt,
    Purpose,
    ResetState,
    Rollout,
    Selection,
    StepRecord,
    Update,
    Verdict,
)

PROMPT = Prompt(Problem("p-1", "3+4*6", "2", {"operations": 2}), (5, 14, 6, 2))
FAILED = Rollout(
    PROMPT,
    Completion(
        (8, 3, 9, 1, 7),
        (-0.1, -0.25, -0.5, -1.5, 0.0),
        (2, 4, 5),
        ("3+4=7</thought>", "7*6=3</thought>", "\\boxed{3}</thought>"),
        "answer",
        "3+4=7</thought>7*6=3</thought>\\boxed{3}</thought>",
    ),
    index=0,
)
RIGHT = Rollout(
    PROMPT,
    Completion(
        (8, 3, 4, 4, 6),
        (-0.1, -0.25, -0.5, -1.5, 0.0),
        (2, 4, 5),
        ("3+4=7</thought>", "7*6=2</thought>", "\\boxed{2}</thought>"),
        "answer",
        "3+4=7</thought>7*6=2</thought>\\boxed{2}</thought>",
        prefix_len=2,
    ),
    index=1,
)
WRONG = Verdict(0.0, False, {"extracted": "3", "why": "expected 2"})
CORRECT = Verdict(1.0, True, {"extracted": "2", "why": ""})
BASE = Group("base", (FAILED, FAILED), (WRONG, WRONG))
STATE = ResetState(FAILED, WRONG, Selection(2, "boxed", "1:3+4=7 ok\n2:7*6=3 x\\boxed{2}"))
RESET = Group("reset", (RIGHT, FAILED), (CORRECT, WRONG), STATE)
RECORD = StepRecord(10, [BASE, RESET], [[0.0, 0.0], [1.0, -1.0]], [], Update(0.0, 0.0), {}, {})
EVALUATION = Evaluation(20, 0.5, 0.5, [(RIGHT, CORRECT), (FAILED, WRONG)], PhaseUsage())


class Checker:
    """A task that finds the second thought wrong."""

    def problems(self, purpose: Purpose) -> Sequence[Problem]:
        return []

    def verifier(self) -> Verifier:
        raise NotImplementedError

    def first_wrong_thought(self, problem: Problem, thoughts: Sequence[str]) -> int | None:
        assert list(thoughts) == ["3+4=7", "7*6=3", "\\boxed{3}"]
        return 2


def context(folder: Path, total_steps: int = 25) -> RunContext:
    return RunContext("run", folder, {}, 0, total_steps, [], Console())


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]


def test_groups_are_read_back_as_they_were(tmp_path: Path) -> None:
    file = write_groups(tmp_path, RECORD, task=Checker())
    assert file == tmp_path / "rollouts" / "step_000010.jsonl.gz"
    assert read_groups(file) == [
        SavedGroup(BASE, (0.0, 0.0)),
        SavedGroup(RESET, (1.0, -1.0), first_wrong=2),
    ]


def test_a_group_of_a_samplers_own_keeps_roles_prompts_parts_and_shaped_rewards(
    tmp_path: Path,
) -> None:
    first = Rollout(PROMPT, dataclasses.replace(FAILED.completion, stop="unfinished"))
    second = Rollout(Prompt(PROMPT.problem, (5, 14, 7)), RIGHT.completion, 1, "second_turn")
    group = Group("turns", (first, second), (WRONG, CORRECT), shaped_rewards=(0.0, 11.0))
    record = dataclasses.replace(RECORD, groups=[group], advantages=[[0.0, 11.0]])
    assert read_groups(write_groups(tmp_path, record)) == [SavedGroup(group, (0.0, 11.0))]


def test_the_options_of_the_run_are_kept_with_a_group(tmp_path: Path) -> None:
    file = write_groups(tmp_path, RECORD, mask_prefix=False, delimiter="|")
    assert read_groups(file)[1] == SavedGroup(RESET, (1.0, -1.0), False, "|", None)


def test_a_line_of_the_file_reads_well_without_resetrl(tmp_path: Path) -> None:
    row = rows(write_groups(tmp_path, RECORD))[1]
    assert (row["step"], row["kind"], row["uid"], row["reference"]) == (10, "reset", "p-1", "2")
    assert row["selection"]["thought"] == 2
    assert row["seed"]["thought_ends"] == [2, 4, 5]
    assert row["rollouts"][0]["prefix_len"] == 2
    assert row["rollouts"][0]["logprobs"] == [-0.1, -0.25, -0.5, -1.5, 0.0]
    assert row["verdicts"][0]["details"] == {"extracted": "2", "why": ""}


def test_logprobs_are_rounded_to_six_decimals(tmp_path: Path) -> None:
    completion = dataclasses.replace(RIGHT.completion, logprobs=(-0.12345678, -1e-9, 0, 0, 0))
    group = Group("base", (Rollout(PROMPT, completion),), (CORRECT,))
    record = dataclasses.replace(RECORD, groups=[group], advantages=[[0.0]])
    (saved,) = read_groups(write_groups(tmp_path, record))
    assert saved.group.rollouts[0].completion.logprobs == (-0.123457, 0, 0, 0, 0)


def test_the_same_step_gives_the_same_bytes(tmp_path: Path) -> None:
    first = write_groups(tmp_path / "a", RECORD).read_bytes()
    assert write_groups(tmp_path / "b", RECORD).read_bytes() == first
    assert first[4:8] == b"\0\0\0\0"  # no time in the gzip header


def test_details_json_does_not_know_become_text_in_a_fixed_order(tmp_path: Path) -> None:
    verdict = Verdict(1.0, True, {"passed": {"b", "a"}, "where": Path("x")})
    group = Group("base", (RIGHT,), (verdict,))
    record = dataclasses.replace(RECORD, groups=[group], advantages=[[0.0]])
    (saved,) = read_groups(write_groups(tmp_path, record))
    assert saved.group.verdicts[0].details == {"passed": ["a", "b"], "where": "x"}


def test_test_cases_of_a_program_are_not_saved(tmp_path: Path) -> None:
    problem = dataclasses.replace(PROMPT.problem, details={"tests": ["1 2"], "entry_point": "add"})
    rollout = dataclasses.replace(FAILED, prompt=Prompt(problem, PROMPT.token_ids))
    group = Group("base", (rollout, rollout), (Verdict(0.0, False), Verdict(0.0, False)))
    record = dataclasses.replace(RECORD, groups=[group], advantages=[(0.0, 0.0)])
    (saved,) = read_groups(write_groups(tmp_path, record))
    assert saved.group.prompt.problem.details == {"entry_point": "add"}


def test_text_no_encoding_knows_survives(tmp_path: Path) -> None:
    completion = dataclasses.replace(RIGHT.completion, text="\ud800 \x1b[31m é 漢")
    group = Group("base", (Rollout(PROMPT, completion),), (CORRECT,))
    record = dataclasses.replace(RECORD, groups=[group], advantages=[[0.0]])
    (saved,) = read_groups(write_groups(tmp_path, record))
    assert saved.group.rollouts[0].completion.text == "\ud800 \x1b[31m é 漢"


def test_every_kth_step_and_the_last_are_saved(tmp_path: Path) -> None:
    log = RolloutLog(every=10)
    for step in range(1, 26):
        log.resetrl_step_finished(context(tmp_path), dataclasses.replace(RECORD, step=step))
    assert list(saved_steps(tmp_path)) == [10, 20, 25]
    assert sorted(file.name for file in (tmp_path / "rollouts").iterdir()) == [
        "step_000010.jsonl.gz",
        "step_000020.jsonl.gz",
        "step_000025.jsonl.gz",
    ]


def test_an_evaluation_is_saved_with_what_was_extracted(tmp_path: Path) -> None:
    RolloutLog(every=10).resetrl_evaluated(context(tmp_path), EVALUATION)
    assert read_evaluation(tmp_path / "evaluations" / "step_000020.jsonl.gz") == [
        SavedAnswer("p-1", "3+4*6", "2", RIGHT.completion.text, "2", True, 1.0),
        SavedAnswer("p-1", "3+4*6", "2", FAILED.completion.text, "3", False, 0.0),
    ]


def test_nothing_extracted_is_read_back_as_none(tmp_path: Path) -> None:
    verdict = Verdict(0.0, False, {"extracted": None, "why": "no boxed answer"})
    evaluation = dataclasses.replace(EVALUATION, judged=[(FAILED, verdict)])
    assert read_evaluation(write_evaluation(tmp_path, evaluation))[0].extracted is None


def test_a_full_disk_names_file_and_remedy_and_keeps_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_groups(tmp_path, RECORD)
    before = file.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ResetrlError) as caught:
        write_groups(tmp_path, dataclasses.replace(RECORD, groups=[BASE], advantages=[[0.0, 0.0]]))
    assert str(caught.value) == (
        f"rollouts {file} could not be written: No space left on device; free some space and go "
        f"on with resume={tmp_path}"
    )
    assert file.read_bytes() == before
    assert [each.name for each in file.parent.iterdir()] == ["step_000010.jsonl.gz"]


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ResetrlError, match="does not exist: no rollouts were saved"):
        read_groups(tmp_path / "step_000010.jsonl.gz")


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"plain text",
        lambda data: gzip.compress(b"{\n"),
        lambda data: gzip.compress(b"[1]\n"),
        lambda data: gzip.compress(b'{"uid": "p-1"}\n'),
        lambda data: gzip.compress(b"\xff\n"),
        lambda data: data[:60] + b"\0\0\0\0" + data[64:],
        lambda data: b"",
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path: Path, damage: Any) -> None:
    file = write_groups(tmp_path, RECORD)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ResetrlError) as caught:
        read_groups(file)
    message = str(caught.value)
    assert message.startswith(f"{file} is ")
    assert message.endswith("delete it, or look at another step")
    assert "\n" not in message


def test_other_files_beside_the_saved_steps_are_passed_over(tmp_path: Path) -> None:
    write_groups(tmp_path, RECORD)
    (tmp_path / "rollouts" / "step_last.jsonl.gz").write_bytes(b"")
    (tmp_path / "rollouts" / ".draft_step_000020.jsonl.gz").write_bytes(b"")
    assert list(saved_steps(tmp_path)) == [10]
