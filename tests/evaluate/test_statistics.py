import math

import parity
import pytest

from resetrl.evaluate.statistics import (
    clustered_bootstrap,
    majority_is_correct,
    pass_at_k,
    wilson,
)


def test_pass_at_k_is_that_of_the_reference():
    case = parity.case("pass_at_k")
    values = [pass_at_k(*arguments) for arguments in case["input"]]
    assert values == pytest.approx(case["expected"], abs=1e-6)


def test_pass_at_k_needs_k_samples():
    with pytest.raises(ValueError, match="pass@5 of 4 samples: choose k from 1 to 4"):
        pass_at_k(4, 1, 5)


def test_wilson_intervals_are_those_of_the_reference():
    case = parity.case("wilson")
    for arguments, (value, low, high) in zip(case["input"], case["expected"], strict=True):
        estimate = wilson(*arguments)
        assert (estimate.value, estimate.low, estimate.high) == pytest.approx(
            (value, low, high), abs=1e-6
        )


@pytest.mark.parametrize(
    ("answers", "is_correct"),
    [
        ([("7", True), ("8", False), (" 7 ", True)], True),
        ([("8", False), ("7", True), ("8", False)], False),
        ([("7", True), ("8", False)], True),  # a tie: the first counts
        ([(None, False), (None, False), ("7", True)], True),  # silence is no vote
        ([(None, False), (None, False)], False),
        ([], False),
    ],
)
def test_the_majority_decides(answers, is_correct):
    assert majority_is_correct(answers) is is_correct


def test_the_mean_is_over_values_of_a_task_and_then_over_tasks():
    easy = [[1.0], [1.0, 0.0]]
    hard = [[0.0], [0.0]]
    assert clustered_bootstrap([easy], 0).value == pytest.approx(2 / 3)
    assert clustered_bootstrap([easy, hard], 0).value == pytest.approx(1 / 3)


def test_an_interval_of_independent_values_is_the_textbook_one():
    values = [[float(place % 4 == 0)] for place in range(400)]
    estimate = clustered_bootstrap([values], 0)
    half = 1.96 * math.sqrt(0.25 * 0.75 / 400)
    assert estimate.value == 0.25
    assert estimate.low == pytest.approx(0.25 - half, abs=0.005)
    assert estimate.high == pytest.approx(0.25 + half, abs=0.005)


def test_values_of_one_cluster_count_once():
    # 400 values in 100 clusters of equal ones know as much as 100 values: twice the width.
    clusters = [[float(place % 4 == 0)] * 4 for place in range(100)]
    estimate = clustered_bootstrap([clusters], 0)
    half = 1.96 * math.sqrt(0.25 * 0.75 / 100)
    assert estimate.high - estimate.low == pytest.approx(2 * half, abs=0.015)


def test_tasks_are_resampled_apart():
    # Between tasks that hardly vary within there is next to nothing to resample.
    estimate = clustered_bootstrap([[[1.0]] * 400, [[0.0]] * 399 + [[1.0]]], 0)
    assert estimate.value == pytest.approx(0.50125)
    assert estimate.high - estimate.low < 0.005


@pytest.mark.parametrize(
    ("tasks", "value"),
    [
        ([[[0.0]] * 5, [[0.0], [0.0, 0.0]]], 0.0),
        ([[[1.0]] * 5], 1.0),
        ([[[0.25]] * 5], 0.25),
        ([[[1.0]] * 5, [[0.0]] * 5], 0.5),
    ],
)
def test_problems_that_all_score_the_same_have_no_interval(tasks, value):
    estimate = clustered_bootstrap(tasks, 0)
    assert estimate.value == value
    assert math.isnan(estimate.low) and math.isnan(estimate.high)


def test_one_cluster_has_no_interval():
    estimate = clustered_bootstrap([[[1.0, 0.0]]], 0)
    assert estimate.value == 0.5
    assert math.isnan(estimate.low) and math.isnan(estimate.high)


def test_the_same_seed_gives_the_same_interval():
    values = [[1 / (1 + place)] for place in range(30)]
    assert clustered_bootstrap([values], 1) == clustered_bootstrap([values], 1)
    assert clustered_bootstrap([values], 1) != clustered_bootstrap([values], 2)
