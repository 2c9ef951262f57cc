"""Intervals against values worked out by hand, and against those of the package rliable."""

import math

import numpy as np
import pytest

from resetrl.compare.bootstrap import (
    improvement_interval,
    interquartile_mean,
    iqm_interval,
    mean_band,
    mean_interval,
    paired_interval,
    two_level_parts,
    unpaired_interval,
)
from resetrl.estimate import Estimate

# Runs x tasks; what rliable 1.2.0 (with arch 7.2, pandas 2) says of them stands in the tests:
# get_interval_estimates with 50,000 resamples, of metrics.aggregate_iqm and, with 20,000, of
# metrics.probability_of_improvement.
X = [np.array([0.91, 0.88, 0.95, 0.90, 0.86]), np.array([0.52, 0.55, 0.49, 0.61, 0.58])]
Y = [np.array([0.84, 0.89, 0.82, 0.87, 0.80]), np.array([0.50, 0.47, 0.53, 0.44, 0.51])]


def assert_close(found: Estimate, expected: tuple[float, float, float], tolerance: float) -> None:
    ends = (found.value, found.low, found.high)
    assert ends == pytest.approx(expected, abs=tolerance)


def test_the_iqm_over_tasks_is_rliables() -> None:
    assert_close(iqm_interval(X), (0.73, 0.7017, 0.7517), 0.002)
    assert_close(iqm_interval(Y), (0.6667, 0.6450, 0.6883), 0.002)


def test_the_iqm_of_one_task_is_rliables() -> None:
    assert_close(iqm_interval(X[:1]), (0.8967, 0.8667, 0.9367), 0.002)


def test_the_probability_of_improvement_is_rliables() -> None:
    assert_close(improvement_interval(X, Y), (0.86, 0.66, 1.0), 0.011)


def test_a_tie_is_half_an_improvement() -> None:
    ones = np.array([1.0, 2.0])
    assert improvement_interval([ones], [np.array([1.0, 0.0])]).value == 0.875


def test_the_interquartile_mean_leaves_out_a_rounded_quarter_at_each_end() -> None:
    values = np.array([[9.0, 1.0, 2.0, 3.0, -5.0], [0.0, 0.0, 3.0, 6.0, 99.0]])
    assert interquartile_mean(values).tolist() == [2.0, 3.0]


def test_the_interval_of_a_mean_is_students() -> None:
    # s = 0.1, n = 3: 0.1 / sqrt(3) * t(0.975, 2) = 0.05774 * 4.3027 = 0.2484
    found = mean_interval([np.array([0.8, 0.9, 1.0])])
    assert_close(found, (0.9, 0.6516, 1.1484), 0.01)


def test_strata_count_equally_however_many_runs_they_have() -> None:
    found = mean_interval([np.array([1.0, 1.0, 1.0, 1.0]), np.array([0.0, 0.0])])
    assert found == Estimate(0.5, 0.5, 0.5)


def test_strata_are_resampled_each_by_itself() -> None:
    # Strata far apart, no spread inside: pooled resampling would give a wide interval.
    # Each stratum: s = 0.01, n = 2, variance of its mean 5e-5; of the mean of both 2.5e-5; Welch
    # and Satterthwaite: 2 degrees of freedom, t = 4.303, half width 0.0215.
    near = 0.01 / math.sqrt(2)
    found = mean_interval([np.array([0.2 - near, 0.2 + near]), np.array([0.8 - near, 0.8 + near])])
    assert_close(found, (0.5, 0.4785, 0.5215), 0.001)


def test_one_run_has_no_interval() -> None:
    found = mean_interval([np.array([0.8])])
    assert found.value == 0.8 and math.isnan(found.low) and math.isnan(found.high)


def test_a_band_is_the_interval_at_each_place() -> None:
    mean, low, high = mean_band([np.array([[0.8, 5.0], [0.9, 5.0], [1.0, 5.0]])])
    assert mean.tolist() == pytest.approx([0.9, 5.0])
    assert (high - low).tolist() == pytest.approx([0.4968, 0.0], abs=0.02)


def test_the_variance_over_seeds_problems_and_answers_is_that_of_two_way_analysis() -> None:
    # Row means 1/2, 0, 1; column means 2/3, 1/3; the mean square of the rest is 1/6. So the
    # variances are 0.25 / 3, 0.05556 / 2 and 0.16667 / 6, the last one taken off.
    values = np.array([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    parts = two_level_parts(values, 1, np.random.default_rng(1))
    assert [part.freedom for part in parts] == [2, 1, 2]
    found = [float(part.variance[0]) for part in parts]
    assert found == pytest.approx([0.08333, 0.02778, -0.02778], rel=0.05)


def test_where_answers_alone_vary_one_part_stands_for_all() -> None:
    parts = two_level_parts(np.array([[1.0, -1.0], [-1.0, 1.0]]), 1, np.random.default_rng(1))
    assert len(parts) == 1


def test_with_one_run_seed_the_interval_is_over_problems() -> None:
    # s = 1, n = 4: 0.5 * t(0.975, 3) = 0.5 * 3.1824
    values = np.array([[0.0, 0.0, 1.0, -1.0]]) * math.sqrt(3 / 2)
    assert_close(paired_interval([values]), (0.0, -1.5912, 1.5912), 0.04)


def test_paired_differences_of_run_seeds_are_a_mean() -> None:
    found = paired_interval([np.array([0.1, 0.2, 0.3])])
    assert_close(found, (0.2, -0.0484, 0.4484), 0.01)


def test_independent_runs_have_welchs_interval() -> None:
    # Variances of the means 0.01 / 3 each: standard error 0.08165, 4 degrees of freedom, t 2.7764
    found = unpaired_interval([np.array([0.8, 0.9, 1.0])], [np.array([0.3, 0.4, 0.5])])
    assert_close(found, (0.5, 0.2733, 0.7267), 0.01)
