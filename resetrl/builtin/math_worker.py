"""What one worker process of the `math` verifier does: compare an answer with a reference.

math-verify (github.com/huggingface/Math-Verify) parses LaTeX to SymPy and compares; here stands
what it leaves open. Nothing of an answer is run as Python code: only its LaTeX parser is used,
never the one for plain expressions. It may loop or fill the memory, so this module is imported
only in workers (`resetrl.worker_pool`), whose limits end it.
"""

from __future__ import annotations

import functools
import re
from itertools import product
from typing import Any

from math_verify import LatexExtractionConfig, parse, verify
from sympy import Basic, Expr, Float, I, MatrixBase, Symbol

from resetrl.builtin import math_speed
from resetrl.builtin.math_numbers import DECIMALS, differ_relatively, equal_numbers
from resetrl.builtin.math_writing import prepared

math_speed.install()

_TARGET = [LatexExtractionConfig(boxed_match_priority=0)]

_PERCENT = re.compile(
    r"\s*(?:\\?%|\\text\{\s*(?:percent|percentage|pct)\s*\}|\b(?:percent|percentage|pct))$"
)

Parsed = tuple[Any, ...]
"""SymPy expressions that a text may mean, and the text where it could not be parsed."""


def judge(job: dict[str, str]) -> dict[str, str]:
    """The status `right`, `wrong` or `unreadable` of `{"answer": ..., "reference": ...}`."""
    answer, reference = prepared(job["answer"]), prepared(job["reference"])
    if _one_letter(answer) and _one_letter(reference):  # math-verify lowers letters
        return {"status": "right" if answer == reference else "wrong"}
    base = _BASE.findall(answer)
    if set(base) - {"10"} and base != _BASE.findall(reference):
        return {"status": "wrong", "why": f"a number in base {base[0]}"}
    if _is_no_value(answer, reference):
        return {"status": "wrong", "why": "an equation of a number is no name for its right side"}
    equal = equal_numbers(answer, reference)
    if equal is not None:  # parsing takes a hundred times as long
        return {"status": "right" if equal else "wrong"}
    if {_bracket(answer), _bracket(reference)} == {"point", "set"}:
        return {"status": "wrong", "why": "a set is no point"}
    parsed = readings(answer, percent=_is_percent(answer) and not _is_percent(reference))
    wanted = readings(reference, percent=_is_percent(reference) and not _is_percent(answer))
    if any(_equal(one, other) for one, other in product(wanted, parsed)):
        return {"status": "right"}
    if not any(isinstance(each, Basic | MatrixBase) for each in parsed):
        return {"status": "unreadable", "why": "the answer is no mathematics that can be read"}
    return {"status": "wrong"}


_BASE = re.compile(
    r"(?<![\\A-Za-z_\d])\d[\dA-F]*\)? *_ *(?:\{ *)?(?:\\(?:text|mathrm)\{ *(?:base *)?)?(\w+)"
)
"""The base of `12_8`, `12_{8}` and `12_{\\text{eight}}`, which math-verify drops."""

_EQUALS = re.compile(r"(?<![<>!:=])=+(?![^{}]*\})")
_OF_NUMBERS = re.compile(
    r"\\(?:[dtc]?frac|sqrt|cdot|times|div|pi|pm|left|right|circ)(?![a-zA-Z])"
    r"|\\(?:text|mathrm)\{[^{}]*\}|\\[,;:! %$]"
)


def _is_no_value(answer: str, reference: str) -> bool:
    """Whether an equation says of a number what it is not: `4=5` is no way to write 5.

    math-verify takes any equation for its right side, which is meant for `x=5` and `f(2)=5`;
    `2+3=5` is one too. `7=11a+c` may only stand for an equation.
    """
    *lefts, right = _EQUALS.split(answer)
    if not lefts or ("=" in reference and not _is_of_numbers(right)):
        return False
    return any(
        _is_of_numbers(left) and judge({"answer": left, "reference": right})["status"] != "right"
        for left in lefts
    )


def _is_of_numbers(side: str) -> bool:
    """Whether a side of an equation has numbers only, and no name."""
    rest = _OF_NUMBERS.sub(" ", side)
    has_number = re.search(r"\d", rest) or "\\pi" in side
    whole = side.count("{") == side.count("}")
    return bool(has_number and whole and re.fullmatch(r"[\d\s.,+\-*/^_(){}\[\]!%|]*", rest))


@functools.lru_cache(maxsize=1024)
def readings(latex: str, *, percent: bool) -> Parsed:
    """What a prepared text means; with `percent` both as so many hundredths and as the number.

    A percentage is compared with a plain number either way, because problems ask for both:
    50 % is right where the reference is 50 and where it is 0.5.
    """
    number = _PERCENT.sub("", latex)
    texts = [number, f"\\frac{{{number}}}{{100}}"] if percent else [number]
    return tuple(
        each
        for text in texts
        for each in parse(f"\\boxed{{{text}}}", _TARGET, parsing_timeout=None)
    )


def _equal(one: Any, other: Any) -> bool:
    """Whether math-verify calls two readings equal, also with i as the imaginary unit."""
    if _compare(one, other) or _is_symbol_in_disguise(one, other):
        return True
    imaginary = [_with_imaginary_unit(each) for each in (one, other)]
    return imaginary != [one, other] and _compare(*imaginary)


def _compare(one: Any, other: Any) -> bool:
    equal = verify(
        one, other, float_rounding=DECIMALS, timeout_seconds=None, allow_set_relation_comp=True
    )
    return bool(equal) and not (_is_decimal(one, other) and differ_relatively(one, other))


def _is_symbol_in_disguise(one: Any, other: Any) -> bool:
    """Whether just one is a bare symbol and the other simplifies to it, as 2x/2 to x."""
    pair = (one, other)
    if not all(isinstance(each, Expr) for each in pair):
        return False
    return isinstance(one, Symbol) != isinstance(other, Symbol) and math_speed.symbolically_equal(
        one, other
    )


def _is_decimal(*numbers: Any) -> bool:
    """All are real numbers and at least one is a decimal fraction, that is, rounded."""
    return all(isinstance(n, Basic) and n.is_number and n.is_extended_real for n in numbers) and (
        any(n.has(Float) for n in numbers)
    )


def _with_imaginary_unit(expression: Any) -> Any:
    """The expression with the symbol i, as which the parser reads `2i`, as the imaginary unit."""
    units = [s for s in getattr(expression, "free_symbols", ()) if s.name == "i"]
    return expression.subs({unit: I for unit in units}) if units else expression


def _is_percent(text: str) -> bool:
    return _PERCENT.search(text) is not None


def _bracket(text: str) -> str:
    """`point` for `(1,2)`, `set` for `\\{1,2\\}`, which math-verify takes for each other."""
    if re.fullmatch(r"(?:\\left)? *\([^()]*,[^()]*\)", text):
        return "point"
    return "set" if re.fullmatch(r"(?:\\left)? *\\\{[^{}]*\\\}", text) else "neither"


def _one_letter(text: str) -> bool:
    return re.fullmatch(r"[A-Za-z]", text) is not None
