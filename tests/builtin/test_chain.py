"""The chain task: its facts, its problems and its step checker."""

from __future__ import annotations

import pytest

from resetrl.builtin.chain import (
    Chain,
    draw_sizes,
    facts_from,
    facts_of,
    first_wrong,
    hard_facts,
    num_hard,
    purpose_of,
    result_of,
    right_thoughts,
)
from resetrl.interfaces import StepChecker
from resetrl.types import Problem

PROBLEM = Problem("chain-17", "3+4*6", "2")


def test_facts_are_modulo_ten() -> None:
    assert [result_of(fact) for fact in ("3+4", "7+8", "7*6", "0*9")] == [7, 5, 2, 0]


def test_six_of_the_twenty_facts_from_each_value_are_hard() -> None:
    assert facts_from(7, hard=True) == ("7+5", "7*7", "7+8", "7*8", "7*5", "7*2")
    assert [len(facts_from(value, hard=True)) for value in range(10)] == [6] * 10
    assert [len(facts_from(value, hard=False)) for value in range(10)] == [14] * 10
    assert len(hard_facts()) == 60


def test_a_question_is_read_from_left_to_right() -> None:
    assert facts_of("3+4*6") == ("3+4", "7*6")
    assert right_thoughts("3+4*6") == ("3+4=7", "7*6=2", "\\boxed{2}")


def test_hard_facts_of_a_question_are_counted() -> None:
    assert num_hard("3+3*4*1") == 2  # 3+3 and 6*4 are hard, 4*1 is not


@pytest.mark.parametrize(
    ("thoughts", "expected"),
    [
        (["3+4=7", "7*6=2", "\\boxed{2}"], None),
        (["3+4=7", "7*6=3", "\\boxed{3}"], 2),
        (["3+4=8", "8*6=8", "\\boxed{8}"], 1),
        (["3+4=7", "\\boxed{7}"], 2),
        (["3+4=7", "7*6=2", "\\boxed{3}"], 3),
        (["3+4=7", "7*6=2", "2+0=2"], 3),
        (["3+4=7", "7*6=2", "\\boxed{2}", "2+0=2"], 4),
        (["3+4=7"], None),
        ([], None),
        (["", "7*6=2"], 1),
        (["3+4=7</thought>"], 1),
    ],
)
def test_the_first_wrong_thought_is_the_first_that_differs(
    thoughts: list[str], expected: int | None
) -> None:
    assert Chain().first_wrong_thought(PROBLEM, thoughts) == expected
    assert first_wrong("3+4*6", thoughts) == expected


def test_chain_is_a_step_checker() -> None:
    assert isinstance(Chain(), StepChecker)


def test_problems_are_fixed_for_good() -> None:
    assert Chain().problems("eval")[0] == Problem(
        "chain-2to8-hard0-set0-eval-0", "4+4+1+3", "2", {"operations": 3, "hard": 2}
    )
    assert Chain(min_hard=4).problems("train")[17] == Problem(
        "chain-2to8-hard4-set0-train-17", "8+6*4*9+0*0*0+3", "3", {"operations": 7, "hard": 4}
    )


def test_problems_are_a_sequence() -> None:
    problems = Chain(train_size=5, eval_size=3).problems("train")
    assert len(problems) == 5
    assert list(problems) == [problems[index] for index in range(5)]
    assert problems[-1] == problems[4]
    assert list(problems[1:3]) == [problems[1], problems[2]]
    with pytest.raises(IndexError, match="problem 5 of 5 train problems"):
        problems[5]


def test_a_larger_set_begins_with_the_smaller_one() -> None:
    few, many = Chain(eval_size=3).problems("eval"), Chain(eval_size=300).problems("eval")
    assert list(few) == list(many[:3])


def test_train_and_eval_never_share_a_question_whatever_their_options() -> None:
    train = {problem.question for problem in Chain(1, 3, train_size=3000).problems("train")}
    evaluate = {problem.question for problem in Chain(1, 2, eval_size=500).problems("eval")}
    assert not train & evaluate
    assert {purpose_of(question) for question in train} == {"train"}
    assert {purpose_of(question) for question in evaluate} == {"eval"}


def test_options_of_difficulty_are_honoured() -> None:
    problems = Chain(3, 6, min_hard=2, train_size=300).problems("train")
    sizes = {(len(facts_of(problem.question)), num_hard(problem.question)) for problem in problems}
    assert {operations for operations, _ in sizes} == {3, 4, 5, 6}
    assert min(hard for _, hard in sizes) == 2
    assert all(
        problem.details == {"operations": len(facts_of(problem.question)),
                            "hard": num_hard(problem.question)}
        for problem in problems
    )  # fmt: skip


def test_the_hardest_sets_exist() -> None:
    problem = Chain(8, 8, min_hard=8).problems("eval")[0]
    assert num_hard(problem.question) == 8
    assert Chain(1, 1, min_hard=1).problems("eval")[0].details == {"operations": 1, "hard": 1}


def test_references_are_the_right_results() -> None:
    problems = Chain(train_size=50).problems("train")
    assert all(
        right_thoughts(problem.question)[-1] == f"\\boxed{{{problem.reference}}}"
        for problem in problems
    )


def test_uids_tell_sets_apart() -> None:
    tasks = [Chain(), Chain(min_hard=4), Chain(rng_seed=1), Chain(max_operations=9)]
    uids = {task.problems(purpose)[7].uid for task in tasks for purpose in ("train", "eval")}
    assert len(uids) == 8


def test_sizes_follow_the_share_of_hard_facts() -> None:
    from random import Random

    rng = Random(0)
    drawn = [draw_sizes(2, 8, 0, rng) for _ in range(4000)]
    mean_operations = sum(operations for operations, _ in drawn) / len(drawn)
    assert mean_operations == pytest.approx(5, abs=0.1)
    assert sum(hard for _, hard in drawn) / len(drawn) == pytest.approx(1.5, abs=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_operations": 0}, "min_operations is 0: choose 1 or more"),
        ({"max_operations": 1}, "max_operations is 1: choose at least min_operations, which is 2"),
        ({"min_hard": 9}, "min_hard is 9: choose 0 to max_operations, which is 8"),
        ({"min_hard": -1}, "min_hard is -1: choose 0 to max_operations"),
        ({"train_size": 0}, "train_size is 0: choose 1 or more"),
        ({"eval_size": 0}, "eval_size is 0: choose 1 or more"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=f"chain: {message}"):
        Chain(**options)
