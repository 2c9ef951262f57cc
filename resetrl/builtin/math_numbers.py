"""Whether two plain numbers are equal, as the verifier `math` has it, without any parser.

Most answers are plain numbers. This costs next to nothing, and can neither hang nor fill the
memory, so it needs no worker.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

DECIMALS = 6
_RELATIVE_TOLERANCE = Fraction(1, 10**5)
"""Decimals must agree to so many places and to so much: the first alone, as math-verify has it,
would make all small numbers alike."""


def equal_numbers(answer: str, reference: str) -> bool | None:
    """Whether two numbers are equal: exactly, or rounded where one is a decimal.

    None if one of them is not written as `-7`, `0.50`, `1/2` or `\\frac{1}{2}`.
    """
    one, other = _plain_number(answer), _plain_number(reference)
    if one is None or other is None:
        return None
    a, b = one.value, other.value
    if not (one.is_decimal or other.is_decimal):
        return a == b
    return round(a, DECIMALS) == round(b, DECIMALS) and not differ_relatively(a, b)


def differ_relatively(one: Any, other: Any) -> bool:
    """Whether two numbers, also of SymPy, differ by more than rounding explains."""
    return bool(abs(one - other) > _RELATIVE_TOLERANCE * max(abs(one), abs(other)))


_DIGITS = r"(\d{1,300})"
_PLAIN_NUMBERS = (
    re.compile(rf"([+-]?){_DIGITS}(?:\.{_DIGITS})?"),
    re.compile(rf"([+-]?)\\[dtc]?frac *\{{{_DIGITS}\}} *\{{{_DIGITS}\}}"),
    re.compile(rf"([+-]?){_DIGITS} */ *{_DIGITS}"),
)


@dataclass(frozen=True)
class _PlainNumber:
    value: Fraction
    is_decimal: bool


def _plain_number(text: str) -> _PlainNumber | None:
    for pattern in _PLAIN_NUMBERS:
        match = pattern.fullmatch(text)
        if match is None:
            continue
        sign, number, second = match.groups()
        if pattern is _PLAIN_NUMBERS[0]:
            value = Fraction(f"{number}.{second or 0}")
        elif int(second) == 0:
            return None
        else:
            value = Fraction(int(number), int(second))
        return _PlainNumber(
            -value if sign == "-" else value, pattern is _PLAIN_NUMBERS[0] and bool(second)
        )
    return None
