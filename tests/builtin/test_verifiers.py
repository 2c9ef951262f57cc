"""Verifiers that compare text, against the reference's tables and against what fools it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from parity import case

from resetrl.builtin.verifiers import Exact, MultipleChoice, ShortAnswer, YesNo
from resetrl.interfaces import Verifier
from resetrl.testing import make_prompt, make_rollout
from resetrl.types import Verdict


def judged(verifier: Verifier, completion: str, reference: str) -> Verdict:
    rollout = make_rollout([completion] if completion else [], prompt=make_prompt("?", reference))
    return verifier.verify([rollout])[0]


def extractions(verifier: Verifier, rows: Sequence[Sequence[str]]) -> list[tuple[str, float]]:
    verdicts = [judged(verifier, completion, reference) for completion, reference in rows]
    return [(str(v.details["extracted"] or ""), v.reward) for v in verdicts]


def test_exact_compares_the_last_closed_box() -> None:
    assert judged(Exact(), "\\boxed{3} \\boxed{ 4 }", "4") == Verdict(
        1.0, True, {"extracted": "4", "why": "", "status": "right"}
    )
    assert judged(Exact(), "\\boxed{5}", "4").details == {
        "extracted": "5",
        "why": "expected 4",
        "status": "wrong",
    }


def test_lenient_multiple_choice_equals_the_reference_but_where_it_is_fooled() -> None:
    recorded = case("mc_table")
    expected = [(row["extracted"], row["score"]) for row in recorded["expected"]]
    expected[1] = ("B", 1.0)  # \boxed{\text{B}} is B, and the reference reads nothing
    expected[3] = ("", 0.0)  # the reference reads B in "because"
    assert extractions(MultipleChoice(lenient=True), recorded["input"]) == expected


def test_multiple_choice_takes_no_letter_from_prose_by_default() -> None:
    recorded = case("mc_table")
    boxed = [row for row in recorded["input"] if "\\boxed" in row[0]]
    unboxed = [row for row in recorded["input"] if "\\boxed" not in row[0]]
    assert [reward for _, reward in extractions(MultipleChoice(), boxed)] == [1.0, 1.0, 1.0]
    assert {reward for _, reward in extractions(MultipleChoice(), unboxed)} == {0.0}


def test_the_word_i_is_no_option_but_a_final_answer_is() -> None:
    completions = case("mc_fallback_table")["input"]
    letters = [
        judged(MultipleChoice(lenient=True), completion, "X").details["extracted"]
        for completion in completions
    ]
    assert dict(zip(completions, letters, strict=True)) == {
        "I think so": None,  # the reference reads option I
        "Therefore A is right.": "A",
        "option (C)": "C",
        "C) because": None,
    }


def test_a_box_with_two_options_says_that_it_is_unclear() -> None:
    assert judged(MultipleChoice(), "\\boxed{A or B}", "B").details == {
        "extracted": "A or B",
        "why": "the box does not name one option",
        "status": "unclear",
    }


def test_lenient_yes_no_equals_the_reference() -> None:
    recorded = case("yes_no_table")
    rewards = [reward for _, reward in extractions(YesNo(lenient=True), recorded["input"])]
    assert rewards == recorded["expected"]
    assert [reward for _, reward in extractions(YesNo(), recorded["input"])] == [1.0, 0.0, 0.0, 0.0]


def test_yes_no_takes_true_and_false_for_yes_and_no() -> None:
    assert judged(YesNo(), "\\boxed{Yes.}", "True").correct
    assert judged(YesNo(), "\\boxed{\\text{false}}", "no").correct
    assert judged(YesNo(), "\\boxed{not true}", "no").details["status"] == "unclear"


def test_science_questions_equal_the_reference() -> None:
    recorded = case("sciknow_table")
    choice, words, nothing = (row[0] for row in recorded["input"])
    rewards = [
        judged(MultipleChoice(), choice, recorded["input"][0][2]["answerKey"]).reward,
        judged(ShortAnswer(lenient=True), words, recorded["input"][1][1]).reward,
        judged(ShortAnswer(lenient=True), nothing, recorded["input"][2][1]).reward,
    ]
    assert rewards == recorded["expected"]


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("The Water.", "water"),
        ("H2O, that is water", "water"),
        ("water, not ice", "water"),
        ("It is not ice, but water", "water"),
        ("water rather than ice", "water"),
        ("\\mathrm{H_2O}", "H2O"),
        ("Paris, France", "Paris, France"),
        ("not guilty", "not guilty"),
        ("1,000 kg", "1000"),
        ("U.S.A", "U.S.A."),
        ("either", "either"),
    ],
)
def test_short_answers_that_are_right(answer: str, reference: str) -> None:
    assert judged(ShortAnswer(), f"\\boxed{{{answer}}}", reference).correct


@pytest.mark.parametrize(
    ("answer", "reference", "status"),
    [
        ("not water", "water", "denied"),
        ("anything but water", "water", "denied"),
        ("ice rather than water", "water", "denied"),
        ("water is not the answer", "water", "denied"),
        ("it isn't water", "water", "denied"),
        ("not guilty", "guilty", "denied"),
        ("water or ice", "water", "unclear"),
        ("waterfall", "water", "wrong"),
        ("know", "no", "wrong"),
        ("-5", "5", "wrong"),
        ("15", "5", "wrong"),
        ("\\frac{1}{2}", "12", "wrong"),
        ("anything", "", "wrong"),
        ("ice, steam, fire, earth, air, wood, metal, salt, oil, water", "water", "too_long"),
    ],
)
def test_short_answers_that_only_look_right(answer: str, reference: str, status: str) -> None:
    verdict = judged(ShortAnswer(), f"\\boxed{{{answer}}}", reference)
    assert (verdict.correct, verdict.details["status"]) == (False, status)


def test_short_answers_may_be_as_long_as_the_option_says() -> None:
    completion = "\\boxed{that would be water}"
    assert judged(ShortAnswer(spare_words=3), completion, "water").correct
    assert judged(ShortAnswer(spare_words=2), completion, "water").details["why"] == (
        "the box holds more than 3 words"
    )
    with pytest.raises(ValueError, match="spare_words is -1: choose 0 or more"):
        ShortAnswer(spare_words=-1)
