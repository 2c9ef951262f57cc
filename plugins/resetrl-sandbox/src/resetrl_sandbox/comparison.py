"""Whether what a program gave is what was expected: outside of the sandbox, on plain values.

An answer arrives as text. No code, class or comparison of the program's is involved.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

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


def same_value(given: object, expected: object, tolerance: float) -> bool:
    """Whether a returned value is the expected one, as `==` has it, but for two things.

    Numbers may differ by `tolerance` where the expected one is no whole number. An expected list
    may be given as a tuple, because JSON has no tuples; an expected tuple must be one.
    """
    if isinstance(expected, list | tuple):
        kinds = (list, tuple) if isinstance(expected, list) else tuple
        return (
            isinstance(given, kinds)
            and len(given) == len(expected)
            and all(
                same_value(mine, wanted, tolerance)
                for mine, wanted in zip(given, expected, strict=True)
            )
        )
    if isinstance(expected, Mapping):
        return (
            isinstance(given, Mapping)
            and given.keys() == expected.keys()
            and all(same_value(given[key], wanted, tolerance) for key, wanted in expected.items())
        )
    if isinstance(expected, float) and isinstance(given, int | float):
        if math.isnan(expected):
            return math.isnan(given)
        return given == expected or _close_numbers(given, expected, tolerance)
    return given == expected


def _close_numbers(given: int | float, expected: float, tolerance: float) -> bool:
    try:
        return _close(float(given), expected, tolerance)
    except OverflowError:  # a whole number beyond all floats
        return False
