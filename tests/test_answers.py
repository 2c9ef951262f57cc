"""What counts as an answer in a completion."""

from __future__ import annotations

import pytest
from parity import case

from resetrl.answers import (
    Answer,
    boxed_answer,
    fenced_program,
    last_yes_or_no,
    letter_in_box,
    letter_in_prose,
    plain_text,
    unbraced_answer,
    words_of,
    yes_or_no,
)
from resetrl.thoughts import last_boxed


def test_the_last_closed_box_equals_the_references() -> None:
    recorded = case("boxed_extract_table")
    assert [last_boxed(text) or "" for text in recorded["input"]] == recorded["expected"]


def test_a_program_stands_between_the_last_two_fences_as_in_the_reference() -> None:
    recorded = case("code_extract_table")
    assert [fenced_program(text) for text in recorded["input"]] == recorded["expected"]


def test_a_program_keeps_its_indentation_and_blank_lines() -> None:
    completion = "So:\n```python\nif 1:\n\n    f()\n```</thought>\n"
    assert fenced_program(completion) == "if 1:\n\n    f()"


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"\boxed{3} then \boxed{4}", "4"),
        (r"\boxed{3} then \boxed{4", "3"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\boxed{\{1,2\}}", r"\{1,2\}"),
        (r"\boxed{\left\{x\right.}", r"\left\{x\right."),
        (r"} \boxed{5} }", "5"),
        (r"{ \boxed{5}", "5"),
        (r"\\boxed{5}", "5"),
        (r"x=1 \\\boxed{5}", "5"),
        (r"\boxed{5\}", None),
        (r"\boxed{{5}", None),
        ("\\boxed{" * 20000, None),  # in no time: one pass whatever the text
    ],
)
def test_boxes_close_as_in_tex(text: str, content: str | None) -> None:
    assert last_boxed(text) == content


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        (r"\boxed{ 4 }", Answer("4")),
        ("4", Answer(None, "no_answer", "no boxed answer")),
        (r"\boxed{4", Answer(None, "unclosed", "the box is not closed")),
        (r"\boxed{ }", Answer(None, "empty", "the box is empty")),
    ],
)
def test_a_missing_answer_says_what_is_missing(completion: str, answer: Answer) -> None:
    assert boxed_answer(completion) == answer


def test_tex_can_box_a_word_without_braces() -> None:
    assert unbraced_answer(r"so \boxed 4</thought>") == Answer("4")
    assert unbraced_answer(r"so \boxed{4").status == "unclosed"


@pytest.mark.parametrize(
    "box",
    [
        "B",
        "b",
        "(B)",
        "B.",
        r"\text{B}",
        r"\textbf{(B)}",
        "B. Paris",
        "B: Paris",
        "(B) Paris",
        "Option B",
        "the answer is B",
    ],
)
def test_a_box_names_an_option(box: str) -> None:
    assert letter_in_box(box) == "B"


@pytest.mark.parametrize("box", ["AB", "A or B", "because", "e.g. Paris", "A dog", "B or C", ""])
def test_a_box_that_does_not_name_one_option_names_none(box: str) -> None:
    assert letter_in_box(box) is None


@pytest.mark.parametrize(
    ("completion", "letter"),
    [
        ("The answer is (C).", "C"),
        ("The answer is **B**.", "B"),
        ("Answer: A", "A"),
        ("so we pick\nB.</thought>", "B"),
        ("I choose B since ...", "B"),
        ("Option C is wrong. The answer is D. Option A is wrong.", "D"),
        ("The answer is because of X", None),
        ("The answer is A dog", None),
        ("I think so", None),
        ("", None),
    ],
)
def test_prose_names_its_final_answer_or_none(completion: str, letter: str | None) -> None:
    assert letter_in_prose(completion) == letter


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("Yes.", True),
        (r"\text{no}", False),
        ("True", True),
        ("not true", None),
        ("yes and no", None),
    ],
)
def test_yes_and_no_stand_alone(answer: str, said: bool | None) -> None:
    assert yes_or_no(answer) is said


def test_the_references_reading_of_a_self_verification_but_for_parts_of_words() -> None:
    recorded = case("verifier_parse_table")
    # The reference finds "no" in "nothing" and "yes" in "Notyes": neither word was said.
    changed = {"nothing wrong": None, "\\boxed{Notyes}": None}
    expected = [
        changed.get(text, said)
        for text, said in zip(recorded["input"], recorded["expected"], strict=True)
    ]
    read = []
    for text in recorded["input"]:
        box = boxed_answer(text).text
        read.append(yes_or_no(box) if box is not None else last_yes_or_no(text))
    assert read == expected


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"\mathrm{H_2O}", "H2O"),
        ("H\u2082O", "H2O"),
        (r"\text{no solution}", "no solution"),
        (r"$\frac{1}{2}$ cup", "1/2 cup"),
        (r"5\,\%", "5 %"),
    ],
)
def test_markup_goes_and_text_stays(latex: str, text: str) -> None:
    assert plain_text(latex) == text


def test_a_number_is_one_word_with_its_sign() -> None:
    assert words_of("The -5.5 of a 1,000 is 5-3") == ["-5.5", "of", "1000", "is", "5", "3"]
