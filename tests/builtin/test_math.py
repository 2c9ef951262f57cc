"""The verifier `math` against a table of tricky pairs, the reference's table, and bombs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from parity import case

from resetrl.builtin.math_verifier import Math
from resetrl.testing import make_prompt, make_rollout
from resetrl.types import Rollout, Verdict
from resetrl.worker_pool import WorkerPool

MATH = Math(time_limit=60.0)  # no answer of these tests may fail for a busy machine


def boxed(answer: str, reference: str) -> Rollout:
    return make_rollout([f"\\boxed{{{answer}}}"], prompt=make_prompt("?", reference))


def verdict(answer: str, reference: str, verifier: Math = MATH) -> Verdict:
    (verdict,) = verifier.verify([boxed(answer, reference)])
    return verdict


def status(answer: str, reference: str, verifier: Math = MATH) -> object:
    return verdict(answer, reference, verifier).details["status"]


PAIRS = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "data" / "math_pairs.jsonl")
    .read_text(encoding="utf-8")
    .splitlines()
]

JUDGED_WRONGLY = {
    ("(-\\infty, -2) \\cup (3, \\infty)", "x<-2 \\text{ or } x>3"),  # a union against "or"
    ("7 \\text{ km}", "7 \\text{ m}"),  # units are not compared
    ("A \\cup B", "B \\cup A"),  # letters that stand for sets are not read
    ("p \\land q", "q \\land p"),  # nor is logic
    ("\\overline{3+4i}", "3-4i"),  # nor conjugates
}


def test_all_but_these_of_the_tricky_pairs_are_judged_right() -> None:
    verdicts = MATH.verify([boxed(pair["answer"], pair["reference"]) for pair in PAIRS])
    wrong = {
        (pair["answer"], pair["reference"])
        for pair, verdict in zip(PAIRS, verdicts, strict=True)
        if verdict.correct != pair["equal"]
    }
    assert wrong == JUDGED_WRONGLY
    assert len(PAIRS) > 600 and len(wrong) <= 0.01 * len(PAIRS)
    assert {verdict.details["status"] for verdict in verdicts} <= {
        "right",
        "wrong",
        "unreadable",
        "empty",
        "unclosed",
    }


def test_the_references_table_comes_out_but_for_a_box_without_braces() -> None:
    recorded = case("math_reward_table")
    for verifier, changed in (
        (MATH, {"\\boxed 4": 0.0}),
        (Math(time_limit=60.0, lenient=True), {}),
    ):
        rollouts = [
            make_rollout([completion], prompt=make_prompt("?", reference))
            for completion, reference in recorded["input"]
        ]
        expected = [
            changed.get(completion, reward)
            for (completion, _), reward in zip(recorded["input"], recorded["expected"], strict=True)
        ]
        assert [verdict.reward for verdict in verifier.verify(rollouts)] == expected


def test_the_verdict_says_what_was_extracted_and_why_it_failed() -> None:
    assert verdict("\\frac{2}{4}", "0.5") == Verdict(
        1.0, True, {"extracted": "\\frac{2}{4}", "why": "", "status": "right"}
    )
    assert verdict("6", "5").details == {"extracted": "6", "why": "expected 5", "status": "wrong"}
    assert verdict("5 \\maybe", "5").details == {
        "extracted": "5 \\maybe",
        "why": "the answer is no mathematics that can be read",
        "status": "unreadable",
    }


def test_a_number_elsewhere_earns_nothing() -> None:
    rollout = make_rollout(["so it is 5", "\\boxed{5"], prompt=make_prompt("?", "5"))
    assert MATH.verify([rollout])[0].details == {
        "extracted": None,
        "why": "the box is not closed",
        "status": "unclosed",
    }
    rollout = make_rollout(["the answer is 5"], prompt=make_prompt("?", "5"))
    assert MATH.verify([rollout])[0].details["status"] == "no_answer"


def test_nothing_equals_an_empty_reference() -> None:
    assert verdict("5", " ").details["why"] == "the reference is empty"


def test_a_bomb_costs_its_time_limit_and_no_other_answer() -> None:
    strict = Math(time_limit=1.0)
    verdicts = strict.verify([boxed("10^{10^{10}}", "5"), boxed("10/2", "5"), boxed("6", "5")])
    assert [verdict.details["status"] for verdict in verdicts] == ["timeout", "right", "wrong"]
    assert verdicts[0].reward == 0.0
    assert verdicts[0].details["why"] == "no result within 1 s"


def test_no_bomb_is_right_nor_harms_the_answers_beside_it() -> None:
    bombs = [
        "10^{10^{10^{10}}}",
        "(10^9)!",
        "x^{10^{10}}(x+1)^{10^{10}}",
        "\\frac{1}{1+" * 60 + "1" + "}" * 60,
        "\\sum_{n=1}^{10^9} \\frac{1}{n^2}",
        "\\int_0^1 x^{x^{x^x}} dx",
        "\\sin(10^{10^{9}})",
    ]
    beside = [boxed("10/2", "5"), boxed("6", "5")]
    judged = Math(time_limit=1.0).verify([*(boxed(bomb, "x+5") for bomb in bombs), *beside])
    assert [verdict.correct for verdict in judged] == [*[False] * len(bombs), True, False]


def test_an_answer_is_never_run_as_python(tmp_path: Path) -> None:
    file = tmp_path / "made"
    assert not verdict(f"__import__('pathlib').Path('{file}').touch()", "5").correct
    assert not file.exists()


def test_a_comparison_is_made_once_but_for_one_that_exceeded_its_limits() -> None:
    verifier = Math(time_limit=1.0)
    for _ in range(2):
        verifier.verify([boxed("x/2", "0.5x"), boxed("10^{10^{10}}", "5"), boxed("5", "5")])
    assert list(verifier._known) == [("x/2", "0.5x")]


def test_plain_numbers_need_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(WorkerPool, "_new_worker")
    verifier = Math(time_limit=3.0)
    pairs = [("0.50", "\\frac{2}{4}"), ("-7/2", "-3.5"), ("12", "12.1"), ("0.333", "1/3")]
    assert [status(*pair, verifier) for pair in pairs] == ["right", "right", "wrong", "wrong"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time_limit": 0.0}, "time_limit is 0.0: choose more than 0 seconds"),
        ({"memory_mb": 10}, "memory_mb is 10: choose at least 256"),
        ({"num_workers": 0}, "num_workers is 0: choose at least 1"),
    ],
)
def test_options_out_of_range_are_named(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Math(**options)  # type: ignore[arg-type]


def test_a_batch_of_answers_that_all_hang_may_take_its_time() -> None:
    assert Math(time_limit=5.0, num_workers=2).longest([make_rollout(["x"])] * 256) == 3960.0
