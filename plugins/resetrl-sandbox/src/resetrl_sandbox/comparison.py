"""Whether what a program gave is what was expected: outside of the sandbox, on plain values.

An answer arrives as text and is read as JSON. No class or comparison of the program's is involved.
"""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation
from typing import Any

from resetrl_sandbox.inside.program import from_plain

_LONGEST_NUMBER = 400
"""Characters beyond which a word is compared as text."""


def same_output(given: str, expected: str, tolerance: float) -> bool:
    """Whether standard output matches, line by line, spaces around lines and the text aside.

    Words that are numbers may be written in another way (`1.0` for `1`); where the expected one
    has a fraction, they may differ by `tolerance`, absolute or relative.
    """
    given_lines, expected_lines = (text.strip().split("\n") for text in (given, expected))
    if len(given_lines) != len(expected_lines):
        return False
    pairs = zip(given_lines, expected_lines, strict=True)
    return all(_same_line(mine, wanted, tolerance) for mine, wanted in pairs)


def _same_line(given: str, expected: str, tolerance: float) -> bool:
    if given.strip() == expected.strip():
        return True
    words, wanted = given.split(), expected.split()
    return len(words) == len(wanted) and all(
        mine == yours or _same_number(mine, yours, tolerance)
        for mine, yours in zip(words, wanted, strict=True)
    )


def _same_number(given: str, expected: str, tolerance: float) -> bool:
    if len(given) > _LONGEST_NUMBER or len(expected) > _LONGEST_NUMBER:
        return False
    try:
        mine, wanted = Decimal(given), Decimal(expected)
    except InvalidOperation:
        return False
    if not mine.is_finite() or not wanted.is_finite():
        return False
    if mine.adjusted() == wanted.adjusted() and mine == wanted:
        return True
    has_fraction = any(mark in expected for mark in ".eE")
    return has_fraction and _close(float(mine), float(wanted), tolerance)


def _close(given: float, expected: float, tolerance: float) -> bool:
    return math.isclose(given, expected, rel_tol=tolerance, abs_tol=tolerance)


def same_value(given: Any, expected: Any, tolerance: float) -> bool:
    """Whether a returned value is the expected one, as `==` has it, but for two things.

    Numbers may differ by `tolerance` where the expected one is no whole number. An expected list
    may be given as a tuple, because JSON has no tuples; an expected tuple must be one.

    Both are as `plain` wrote them, and `given` may be anything that JSON can hold: sets and
    dictionaries are built of no more keys than are expected, so that keys which all have one
    hash cost nothing. Raises ValueError, TypeError or KeyError if `given` is not of that form.
    """
    kind, wanted = _kind_and_content(expected)
    given_kind, mine = _kind_and_content(given)
    if kind == "list" and given_kind == "tuple":
        given_kind = "list"
    if kind == "frozenset" or given_kind == "frozenset":
        kind, given_kind = kind.removeprefix("frozen"), given_kind.removeprefix("frozen")
    if kind in ("value", "int") and given_kind in ("value", "int"):
        return _same_scalar(from_plain(given), from_plain(expected), tolerance)
    if kind != given_kind:
        return False
    if kind not in ("list", "tuple", "set", "dict"):
        return bool(from_plain(given) == from_plain(expected))
    if len(mine) != len(wanted):
        return False
    if kind == "set":
        return bool(from_plain(given) == from_plain(expected))
    if kind == "dict":
        values = {from_plain(key): value for key, value in mine}
        return all(
            (key := from_plain(written)) in values and same_value(values[key], value, tolerance)
            for written, value in wanted
        )
    return all(same_value(*pair, tolerance) for pair in zip(mine, wanted, strict=True))


def _kind_and_content(value: Any) -> tuple[str, Any]:
    if isinstance(value, dict):
        ((kind, content),) = value.items()
        return kind, content
    return ("list" if isinstance(value, list) else "value"), value


def _same_scalar(given: object, expected: object, tolerance: float) -> bool:
    if not isinstance(expected, float) or not isinstance(given, int | float):
        return given == expected
    if math.isnan(expected):
        return math.isnan(given)
    try:
        return given == expected or _close(float(given), expected, tolerance)
    except OverflowError:  # a whole number beyond all floats
        return False
