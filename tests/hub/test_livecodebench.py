"""Test cases of LiveCodeBench: what they become, and that a hostile one does nothing."""

from __future__ import annotations

import base64
import json
import os
import pickle
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from published import FOLDER

from resetrl.errors import DataError
from resetrl.hub import livecodebench
from resetrl.hub.livecodebench import details_of, question_of
from resetrl.hub.task import Hub


def packed(content: object) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(content))).decode()


def row(private: str = "[]", **fields: str) -> dict[str, str]:
    case = {"input": "3 4\n", "output": "7\n", "testtype": "stdin"}
    public = json.dumps([case])
    given = {"starter_code": "", "metadata": "{}", "public_test_cases": public}
    return {**given, "private_test_cases": private, **fields}


def functional(text: str = '"a\u2028"\n[4, 5]', output: str = "[7]") -> str:
    return json.dumps([{"input": text, "output": output, "testtype": "functional"}])


def test_public_and_private_test_cases_become_one_list() -> None:
    private = packed(json.dumps([{"input": "1 1\n", "output": "2\n", "testtype": "stdin"}]))
    assert details_of(row(private), "f:1") == {
        "tests": [
            {"input": "3 4\n", "output": "7\n", "type": "stdin"},
            {"input": "1 1\n", "output": "2\n", "type": "stdin"},
        ]
    }


def test_arguments_of_a_function_stand_one_a_line() -> None:
    mine = row(public_test_cases=functional(), metadata='{"func_name": "solve"}')
    assert details_of(mine, "f:1") == {
        "tests": [{"input": ["a\u2028", [4, 5]], "output": [7], "type": "functional"}],
        "entry_point": "solve",
    }


def test_the_question_says_where_input_and_output_go() -> None:
    assert "standard input" in question_of("Add.", row(), "f:1")
    started = question_of("Add.", row(starter_code="class Solution:"), "f:1")
    assert started == "Add.\n\nComplete this Python code:\nclass Solution:"


class Calls:
    """A pickle of this calls whatever it was given."""

    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.call = call, arguments

    def __reduce__(self) -> Any:
        return self.call


def test_a_hostile_pickle_is_read_but_not_carried_out(tmp_path: Path) -> None:
    hostile = Calls(os.mkdir, str(tmp_path / "made"))
    with pytest.raises(DataError, match=r"f:1: private_test_cases cannot be decoded \(the pickle"):
        details_of(row(packed(hostile)), "f:1")
    assert not (tmp_path / "made").exists()


def test_a_compressed_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(livecodebench, "MAX_BYTES", 2**20)
    with pytest.raises(DataError, match="unpacks to more than 1 MiB"):
        details_of(row(packed("x" * 2**21)), "f:1")


# A memo index that would make an unpickler reserve gigabytes.
MEMO_BOMB = base64.b64encode(zlib.compress(b"\x80\x04\x8c\x02[]r\xff\xff\xff\x7f.")).decode()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (row("not base64!"), r"f:1: private_test_cases cannot be decoded"),
        (row(base64.b64encode(b"raw").decode()), r"f:1: private_test_cases cannot be decoded"),
        (row(packed(["[]"])), r"the pickle holds more than a text: EMPTY_LIST"),
        (row(packed(7)), r"the pickle holds more than a text"),
        (row(base64.b64encode(zlib.compress(b"\x8c")).decode()), r"f:1: .* cannot be decoded"),
        (row(packed("{")), r"f:1: private_test_cases is no JSON"),
        (row(public_test_cases="7"), r"f:1: public_test_cases is int, no list"),
        (row(public_test_cases="[7]"), r"f:1: a test case lacks input or output"),
        (row(public_test_cases='[{"input": "1"}]'), r"f:1: a test case lacks input or output"),
        (row(public_test_cases="[]"), r"f:1 has no test case"),
        (row(public_test_cases=functional("nope")), r"f:1: an argument of a test case is no JSON"),
        (row(public_test_cases=functional(output="n")), r"f:1: the output of a test case is no J"),
        (row(public_test_cases=functional()), r"f:1: metadata's func_name names no function"),
        (
            row(public_test_cases=functional(), metadata='{"func_name": "a b"}'),
            r"f:1: metadata's func_name names no function",
        ),
        ({"starter_code": ""}, r"f:1 has no field 'public_test_cases'"),
    ],
)
def test_what_is_wrong_with_a_test_case_is_named(given: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        details_of(given, "f:1")


def test_a_memo_bomb_is_harmless() -> None:
    with pytest.raises(DataError, match="f:1 has no test case"):
        details_of(row(MEMO_BOMB, public_test_cases="[]"), "f:1")


def test_the_task_keeps_problems_of_medium_difficulty_and_holds_some_out() -> None:
    task = Hub("livecodebench_medium", str(FOLDER))
    problems = [*task.problems("train"), *task.problems("eval")]
    assert (len(task.problems("train")), len(task.problems("eval"))) == (9, 1)
    assert {problem.uid for problem in problems}.isdisjoint(
        {"livecodebench_medium-made02", "livecodebench_medium-made05"}
    )
    assert all(len(problem.details["tests"]) == 4 for problem in problems)  # type: ignore[arg-type]
