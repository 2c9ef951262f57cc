"""Reference answers of mathematics data sets: mending them, and telling which can be verified."""

from __future__ import annotations

import re

MAX_LEN = 60
"""Characters; longer answers are mostly proofs or badly extracted text."""

_LOST_BACKSLASH = re.compile(r"(?<![\\a-zA-Z])(frac|sqrt|log)(?=\{)")
_FORMATTING = re.compile(r"\\(?:text|mathrm)")
_WORD = re.compile(r"[a-zA-Z]{3,}")
_LEADING_JUNK = re.compile(r"[};.,:~*]|-\s")
_NO_NUMBER_ALONE = re.compile(
    r"%|~|\*\*|\bor\b|\b(?:sq|cm|yd|km|kg|lb|oz|ft|mi)\b|(?:cm|m)[\u00b2\u00b3]"
)


def mended(answer: str) -> str:
    """The answer with backslashes that extraction lost: `frac{1}{2}` becomes `\\frac{1}{2}`."""
    return _LOST_BACKSLASH.sub(r"\\\1", answer)


def is_verifiable(answer: str) -> bool:
    """Whether a mended answer is plain enough for every verifier of mathematics.

    It is a letter from A to E, or has a digit, at most 60 characters, balanced braces and
    parentheses, and neither words nor units nor percent nor formatting nor marks left over at
    its start. What it refuses, such as `5 cm` or `[0,1)`, `math` may well judge: it is the filter
    that the published problem sets of the method went through, but keeps negative numbers.
    """
    if not answer or len(answer) > MAX_LEN:
        return False
    if any(answer.count(left) != answer.count(right) for left, right in ("{}", "()")):
        return False
    if re.fullmatch("[A-E]", answer):
        return True
    without_commands = re.sub(r"\\[a-zA-Z]+", "", answer)
    return (
        re.search(r"\d", answer) is not None
        and _WORD.search(without_commands) is None
        and _FORMATTING.search(answer) is None
        and _LEADING_JUNK.match(answer) is None
        and _NO_NUMBER_ALONE.search(answer) is None
    )
