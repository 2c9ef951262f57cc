"""Writings of mathematics that math-verify does not read, made into LaTeX that it does.

Models write `√2`, `2pi`, `1.5e-3`, `0.\\overline{3}` or `1\\,000` where a reference says it in
LaTeX. Runs in workers only (`resetrl.builtin.math_worker`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from fractions import Fraction

Match = re.Match[str]


def prepared(answer: str) -> str:
    """LaTeX that math-verify reads as it is meant: `prepared("$1\\\\,000$.") == "1000"`."""
    text = _bare(answer)
    text = text.translate(_CHARACTERS)
    for pattern, meant in _REWRITTEN:
        text = pattern.sub(meant, text)
    while (counted := _COUNTED.sub(_scaled, text)) != text:
        text = counted
    if _TRIGONOMETRY.search(text):
        text = _DEGREES.sub(r"{(\1 \\cdot \\frac{\\pi}{180})}", text)
    return text


_BRACKETS = (("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"), ("**", "**"), ("`", "`"))
_LEADING = re.compile(r"(?:=|\\approx(?![a-z])|\\text\{ *(?:about|approximately) *\}|\\!|\s)++")
_TRAILING = re.compile(r"(?:\\[\s,;:!]?+|[\s.,;])++$")


def _bare(text: str) -> str:
    """Without the marks of mathematics or emphasis around it, signs before, stops behind it."""
    text = text.strip()
    for opening, closing in _BRACKETS:
        if text.startswith(opening) and text.endswith(closing) and len(text) > 2 * len(opening):
            text = text[len(opening) : len(text) - len(closing)]
    text = text[match.end() :] if (match := _LEADING.match(text)) else text
    return _TRAILING.sub("", text)


_CHARACTERS = str.maketrans(
    {
        "\u2212": "-",  # the minus sign
        "\u2013": "-",  # the en dash
        "°": "^{\\circ}",
        "·": "\\cdot ",
        "×": "\\times ",
        "÷": "\\div ",
        "±": "\\pm ",
        "π": "\\pi ",
        "∞": "\\infty ",
        "≤": "\\le ",
        "≥": "\\ge ",
        "≠": "\\ne ",
        "∈": "\\in ",
        "∪": "\\cup ",
        "∩": "\\cap ",
        "∅": "\\emptyset ",
        "ℝ": "\\mathbb{R}",
    }
)


def _superscript(match: Match) -> str:
    return f"^{{{unicodedata.normalize('NFKC', match.group()).replace(chr(0x2212), '-')}}}"


def _vulgar_fraction(match: Match) -> str:
    numerator, _, denominator = unicodedata.normalize("NFKC", match.group()).partition("\u2044")
    return f"\\frac{{{numerator}}}{{{denominator}}}"


def _repeating_decimal(match: Match) -> str:
    whole, fixed, repeated = match.groups()
    scale = 10 ** len(fixed)
    value = Fraction(int(whole + fixed), scale) + Fraction(
        int(repeated), scale * (10 ** len(repeated) - 1)
    )
    return f"\\frac{{{value.numerator}}}{{{value.denominator}}}"


def _scientific(match: Match) -> str:
    return f"{match[1]} \\cdot 10^{{{int(match[2])}}}"


def _without_spaces(match: Match) -> str:
    return match.group().replace(" ", "")


_SCALES = {
    "dozen": "12",
    "hundred": "10^{2}",
    "thousand": "10^{3}",
    "million": "10^{6}",
    "billion": "10^{9}",
    "trillion": "10^{12}",
    "tenth": "10^{-1}",
    "hundredth": "10^{-2}",
    "thousandth": "10^{-3}",
    "millionth": "10^{-6}",
}
_COUNTED = re.compile(
    r"(?<=[\d}])(?: |~|\\[,;: ])*"
    rf"(?P<opening>\\(?:text(?:bf|it|rm)?|mathrm|mbox)\{{ *)?(?P<scale>{'|'.join(_SCALES)})s?\b",
    re.IGNORECASE,
)
"""A word behind a number that makes it another one, where units may be dropped."""


def _scaled(match: Match) -> str:
    return f" \\cdot {_SCALES[match['scale'].lower()]}{match['opening'] or ''}"


_REWRITTEN: tuple[tuple[re.Pattern[str], str | Callable[[Match], str]], ...] = (
    (re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207b]+"), _superscript),
    (re.compile("[\u00bc-\u00be\u2150-\u215e]"), _vulgar_fraction),
    (re.compile(r"√ *(\d+|[a-zA-Z])"), r"\\sqrt{\1}"),
    (re.compile(r"√(?= *\()"), "sqrt"),
    (re.compile(r"√"), r"\\sqrt"),
    (re.compile(r"(?<![\\a-zA-Z])sqrt(?= *\{)"), r"\\sqrt"),
    (re.compile(r"(?<![\\a-zA-Z])pi(?![a-zA-Z])"), r"\\pi"),
    (re.compile(r"(?<=[\w)}])\*\*(?=[\w({-])"), "^"),
    (re.compile(r"\\text\{ *\\?\$ *\}"), ""),
    (re.compile(r"(?<=[\d} ])(?:[cmk]m|ft|in)\^(?:[23]|\{[23]\})$"), ""),
    (re.compile(r"^\\(?:underline|boldsymbol|bm)\{([^{}]*)\}$"), r"\1"),
    (re.compile(r"\\varnothing"), r"\\emptyset"),
    (re.compile(r"^([-+\d., /]+?) *= *([a-df-hj-zA-Z])$"), r"\2=\1"),  # but the constants e and i
    (re.compile(r"\\langle"), "("),
    (re.compile(r"\\rangle"), ")"),
    (re.compile(r"\\lg(?![a-z])"), r"\\log_{10}"),
    (re.compile(r"^\\text\{ *(-?\d[^{}]*)\}$"), r"\1"),
    (re.compile(r"(?<=\d)(?:\\[,:; ]|~)(?=\d{3}(?!\d))"), ""),
    (re.compile(r"^[+-]?\d{1,3}(?: \d{3})+$"), _without_spaces),
    (re.compile(r"^([+-]?\d+) +(\d+)/(\d+)$"), r"\1\\frac{\2}{\3}"),
    (
        re.compile(r"(\d{1,300})\.(\d{0,300})\\(?:overline|bar|dot)\{(\d{1,300})\}"),
        _repeating_decimal,
    ),
    (re.compile(r"^([+-]?\d+(?:\.\d+)?)[eE]([+-]?\d{1,9})$"), _scientific),
)
"""What is replaced by what, in this order."""

_TRIGONOMETRY = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)")
_DEGREES = re.compile(r"(\d+(?:\.\d+)?)\s*\^\s*(?:\\circ|\{\s*\\circ\s*\})")
