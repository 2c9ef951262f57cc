"""Test cases as data files hold them, in the form that the verifier `code` takes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from resetrl.builtin.rows import Row, text_of, value_of
from resetrl.errors import DataError

REMEDY = "mend the row, or leave it out"


def details_of(row: Row, tests: str, entry_point: str, place: str) -> dict[str, object]:
    """What the verifier `code` needs: `tests`, and `entry_point` where a function is wanted.

    `tests` and `entry_point` name the fields: a list of test cases or its JSON text, and a
    function's name, which only rows with a functional test need. Raises DataError that begins
    with the place.
    """
    given = value_of(row, tests, place, "say which it is with tests=...")
    checked = checked_tests(given, tests, place)
    details: dict[str, object] = {"tests": checked}
    if any(test["type"] == "functional" for test in checked):
        if not entry_point:
            raise DataError(
                f"{place} has a functional test: name the field with the function's name as "
                "entry_point"
            )
        name = text_of(row, entry_point, place, "say which it is with entry_point=...")
        details["entry_point"] = function_name(name, entry_point, place)
    return details


def checked_tests(given: object, field: str, place: str) -> list[Mapping[str, Any]]:
    """Tests of the schema, `input`, `output` and `type` each, from a list or its JSON text.

    Raises DataError that begins with the place, also if there is none.
    """
    cases = cases_of(given, f"{place}: {field}")
    if not cases:
        raise DataError(f"{place} has no test case: nothing could fail; {REMEDY}")
    return [_checked(case, f"{place}: test {number}") for number, case in enumerate(cases, start=1)]


def cases_of(given: object, where: str) -> Sequence[Any]:
    """A list of test cases, or the one that a JSON text holds; raises DataError."""
    cases = json_of(given, where) if isinstance(given, str) else given
    if not isinstance(cases, list | tuple):
        raise DataError(f"{where} is {type(cases).__name__}, no list: {REMEDY}")
    return cases


def function_name(name: object, field: str, place: str) -> str:
    """The name of a function to call; raises DataError if it is none."""
    if not isinstance(name, str) or not name.isidentifier():
        raise DataError(f"{place}: {field} names no function: {REMEDY}")
    return name


def json_of(text: str, where: str) -> Any:
    """What a JSON text holds; raises DataError."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is no JSON ({error}): {REMEDY}") from None


def _checked(case: object, where: str) -> Mapping[str, Any]:
    """The test case with nothing but its schema's fields; raises DataError."""
    case = json_of(case, where) if isinstance(case, str) else case
    if not isinstance(case, Mapping):
        raise DataError(f"{where} is {type(case).__name__}, no object: {REMEDY}")
    missing = [name for name in ("input", "output", "type") if name not in case]
    if missing:
        raise DataError(f"{where} has no {missing[0]!r}: write input, output and type")
    if case["type"] == "stdin":
        if not isinstance(case["input"], str) or not isinstance(case["output"], str):
            raise DataError(f"{where}: input and output of type stdin must both be text")
    elif case["type"] != "functional":
        raise DataError(f"{where} has type {case['type']!r}: choose stdin or functional")
    elif not isinstance(case["input"], list | tuple):
        raise DataError(f"{where}: the input of type functional is the list of its arguments")
    return {name: case[name] for name in ("input", "output", "type")}
