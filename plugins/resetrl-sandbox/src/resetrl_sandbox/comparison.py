"""Whether what a program gave is what was expected: outside of the sandbox, on plain values.

An answer arrives as text and is read as JSON. No class or comparison of the program's is involved.
"""

from __future__ import annotations

import math
import re
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, InvalidOperation
from operator import itemgetter
from typing import Any

from resetrl_sandbox.inside.program import from_plain

_LONGEST_NUMBER = 400
"""Characters beyond which a word is compared as text."""

_NUMBER = re.compile(r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
"""Words that are numbers. One with leading zeros is text: `007` is not `7`."""

_WIDE = Context(prec=40, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])
"""Decimal arithmetic for any exponent, which never raises."""


def same_output(given: str, expected: str, tolerance: float) -> bool:
    """Whether standard output matches, line by line, spaces around lines and the text aside.

    Words that are numbers may be written in another way (`1.0` for `1`); where the expected one
    is written with a point or an exponent, they may differ by `tolerance`, absolute or relative,
    unless both are whole and the given one is written as such: then they must be one float.
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
    if not (_NUMBER.fullmatch(given) and _NUMBER.fullmatch(expected)):
        return False
    try:
        mine, wanted = Decimal(given), Decimal(expected)
    except InvalidOperation:  # an exponent beyond all decimals
        return False
    if mine == wanted:
        return True
    if not _has_fraction(expected):
        return False
    if not _has_fraction(given) and wanted == wanted.to_integral_value():
        return math.isfinite(float(wanted)) and float(mine) == float(wanted)
    difference = _WIDE.subtract(mine, wanted).copy_abs()
    scale = max(mine.copy_abs(), wanted.copy_abs(), Decimal(1))
    return difference <= _WIDE.multiply(Decimal(repr(tolerance)), scale)


def _has_fraction(word: str) -> bool:
    return any(mark in word for mark in ".eE")


def same_value(given: Any, expected: Any, tolerance: float) -> bool:
    """Whether a returned value is the expected one, as `==` has it, but for two things.

    Numbers may differ by `tolerance`, absolute or relative, where the expected one is a float,
    unless both are whole and the given one is an int. An expected list may be given as a tuple,
    because JSON has no tuples; an expected tuple must be one.

    Both are as `plain` wrote them, and `given` may be anything that JSON can hold. Members of sets
    and keys are compared as sorted text: nothing that was given is ever hashed, so that values
    which all have one hash cost no more than others. Raises ValueError, TypeError, LookupError,
    ArithmeticError or RecursionError if `given` is not of that form.
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
        return _sorted_texts(mine) == _sorted_texts(wanted)
    if kind == "dict":
        pairs = zip(_sorted_items(mine), _sorted_items(wanted), strict=True)
        return all(
            key == wanted_key and same_value(value, wanted_value, tolerance)
            for (key, value), (wanted_key, wanted_value) in pairs
        )
    return all(same_value(*pair, tolerance) for pair in zip(mine, wanted, strict=True))


def _kind_and_content(value: Any) -> tuple[str, Any]:
    if isinstance(value, dict):
        ((kind, content),) = value.items()
        return kind, content
    return ("list" if isinstance(value, list) else "value"), value


def _sorted_items(pairs: Any) -> list[tuple[str, Any]]:
    return sorted(((_text(key), value) for key, value in pairs), key=itemgetter(0))


def _sorted_texts(members: Any) -> list[str]:
    return sorted(_text(member) for member in members)


def _text(value: Any) -> str:
    """One text for all values that equal each other, of those that a set or keys may hold."""
    kind, content = _kind_and_content(value)
    if kind in ("tuple", "frozenset"):
        texts = (_text(each) for each in content)
        return f"{kind}({','.join(texts if kind == 'tuple' else sorted(texts))})"
    if kind not in ("value", "int", "complex", "bytes"):
        raise TypeError(f"a set or dictionary cannot hold a {kind}")
    held = from_plain(value)
    if isinstance(held, complex):
        held = held + 0 if held.imag else held.real  # without zeros that have a sign
    if isinstance(held, float) and held.is_integer():
        held = int(held)
    # Not in decimal digits: those take the square of their number, or are refused.
    return hex(held) if isinstance(held, int) else ascii(held)


def _same_scalar(given: object, expected: object, tolerance: float) -> bool:
    if not isinstance(expected, float) or not isinstance(given, int | float):
        return given == expected
    if math.isnan(expected):
        return math.isnan(given)
    try:
        if isinstance(given, int) and expected.is_integer():
            return float(given) == expected
        return given == expected or math.isclose(
            given, expected, rel_tol=tolerance, abs_tol=tolerance
        )
    except OverflowError:  # a whole number beyond all floats
        return False
