"""Reading answers out of completions: the box, a program, a letter, yes or no, words.

Every verifier reads through these functions, so that all agree on what an answer is: what the
last closed `\\boxed{...}` holds, or the last fenced block where a program is asked for. What stands
elsewhere counts only where a verifier's option `lenient` asks for it.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from resetrl.thoughts import BOX_OPENING, last_boxed
from resetrl.types import Verdict

_WHY = {
    "no_answer": "no boxed answer",
    "unclosed": "the box is not closed",
    "empty": "the box is empty",
}


@dataclass(frozen=True)
class Answer:
    """What a completion answers, or why it answers nothing.

    Examples: `Answer("4")`, `Answer(None, "unclosed", "the box is not closed")`. `status` is
    `given`, or a word for what is missing whose rates are logged.
    """

    text: str | None
    status: str = "given"
    why: str = ""


def boxed_answer(completion: str) -> Answer:
    """The last closed box without surrounding white space; none if there is none or it is empty."""
    boxed = last_boxed(completion)
    if boxed is None:
        status = "unclosed" if BOX_OPENING in completion else "no_answer"
    elif not boxed.strip():
        status = "empty"
    else:
        return Answer(boxed.strip())
    return Answer(None, status, _WHY[status])


def unbraced_answer(completion: str) -> Answer:
    """The word behind the last `\\boxed`, as in `\\boxed 4`, if that has no braces."""
    words = re.findall(r"\\boxed\s+([^\s{}$]+)", prose_of(completion))
    return Answer(words[-1]) if words else boxed_answer(completion)


def fenced_program(completion: str) -> str:
    """The lines between the last two lines that contain three backticks; empty without two."""
    lines = completion.split("\n")
    fences = [place for place, line in enumerate(lines) if "```" in line]
    return "\n".join(lines[fences[-2] + 1 : fences[-1]]) if len(fences) > 1 else ""


def verdict_on(answer: Answer, reference: str, *, correct: bool) -> Verdict:
    """Reward 1 or 0, with what was extracted, a status and, where it failed, why."""
    if answer.text is None:
        details = {"extracted": None, "why": answer.why, "status": answer.status}
        return Verdict(0.0, False, details)
    why = "" if correct else answer.why or f"expected {reference}"
    status = "right" if correct else "wrong" if answer.status == "given" else answer.status
    return Verdict(
        float(correct), correct, {"extracted": answer.text, "why": why, "status": status}
    )


# --- Letters of multiple choice ---------------------------------------------------------------

_LABEL = r"\(?([A-Za-z])\)?"
_BOXED_LETTER = re.compile(
    rf"(?:(?:the )?(?:correct |final |right )?(?:answer|option|choice)(?: is)?:? *)?{_LABEL}"
    r"(?:(?:[.:)] |[:)])\s*\S.*|[.:)]?)",
    re.IGNORECASE | re.DOTALL,
)
_ENDS = r"(?=[.,:;!)*]|\s*$|\s+[^a-z\s])"
"""What may follow the letters A and I, which are words too."""

_LETTER = rf"\(?\*{{0,2}}([B-HJ-Z]\b|[AI]\b{_ENDS})"
_FINAL_LETTER = (
    re.compile(rf"(?i:answer(?: is|:| is:)) *(?i:option |choice )?{_LETTER}", re.MULTILINE),
    re.compile(r"^ *\(?([A-Z])\)?[.)]? *\Z", re.MULTILINE),
    re.compile(
        rf"(?i:choose|pick|select|option|choice) *{_LETTER}(?!\)? +is (?:wrong|incorrect|not))"
        r"|\b([A-Z]) is (?:right|correct)\b(?! *\?)"
    ),
)
"""Where prose names its final answer, the surest way of saying so first."""


def letter_in_box(box: str) -> str | None:
    """The option a box names, in upper case: `letter_in_box(r"\\text{(b)}") == "B"`.

    The letter may carry brackets, a full stop or the option's text behind a full stop, colon or
    bracket; `AB`, `A or B` and a word that only starts with a letter name none.
    """
    match = _BOXED_LETTER.fullmatch(plain_text(box))
    return match.group(1).upper() if match else None


def letter_in_prose(completion: str) -> str | None:
    """The option that prose names as its final answer, the last one named in the surest way.

    Only capital letters count, and only behind `answer is`, `option`, `choose` and the like,
    before `is right`, or alone on the last line: the word `I` is no option, nor is the B of
    `because`.
    """
    prose = prose_of(completion)
    for pattern in _FINAL_LETTER:
        named = [str(match[match.lastindex or 0]) for match in pattern.finditer(prose)]
        if named:
            return named[-1]
    return None


# --- Yes and no -------------------------------------------------------------------------------

_YES_NO = {"yes": True, "true": True, "no": False, "false": False}


def yes_or_no(answer: str) -> bool | None:
    """True for `yes` and `true`, False for `no` and `false`, None for anything else.

    Case, punctuation around the word and LaTeX's `\\text{}` do not matter; more words do, because
    `not true` is not `true`.
    """
    return _YES_NO.get(plain_text(answer).strip(" .,;:!?*\"'()").lower())


def last_yes_or_no(completion: str) -> bool | None:
    """What the last of the whole words `yes` and `no` says, None if there is neither."""
    words = re.findall(r"\b(?:yes|no)\b", completion.lower())
    return _YES_NO[words[-1]] if words else None


# --- Words ------------------------------------------------------------------------------------

_ARTICLES = frozenset({"a", "an", "the"})
_WORD = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?!\w)|[^\W_]+(?:['.][^\W_]+)*")


def prose_of(completion: str) -> str:
    """A completion's text with line breaks in place of delimiters such as `</thought>`."""
    return re.sub(r"</?\w+>|<\|\w+\|>", "\n", completion).strip()


def plain_text(latex: str) -> str:
    """Text without LaTeX's markup: `plain_text(r"\\mathrm{H_2O}") == "H2O"`.

    Commands go, what they enclose stays; dollars, braces, `_` and `^` go; compatibility forms
    such as subscript digits become ordinary characters (Unicode NFKC).
    """
    text = unicodedata.normalize("NFKC", latex).replace("\\%", "%").replace("\\ ", " ")
    text = re.sub(r"\\[,;:! ]", " ", text)
    text = re.sub(r"\\[dtc]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"\1/\2", text)
    text = re.sub(r"\\[a-zA-Z]+\*?\s*(?=\{)|\\[a-zA-Z]+\*?|[${}_^\\]", "", text)
    return " ".join(text.split())


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without articles; a number is a word with its sign."""
    joined = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", plain_text(text)).replace("\u2019", "'")
    return [word for word in _WORD.findall(joined.lower()) if word not in _ARTICLES]
