import math

import numpy as np

from resetrl.compare.threshold import Arrival, arrival, kaplan_meier_median, median_arrival
from resetrl.estimate import Estimate


def test_a_run_arrives_at_its_first_evaluation_that_is_high_enough() -> None:
    assert arrival((0, 20, 40), (0.5, 0.8, 0.7), 0.8) == Arrival(20, True)


def test_a_run_that_never_arrives_was_watched_to_its_end() -> None:
    assert arrival((0, 20, 40), (0.5, 0.79, 0.7), 0.8) == Arrival(40, False)


def test_a_censored_run_counts_until_it_was_last_seen() -> None:
    # Remaining: 3/4 after 1; the run last seen at 2 leaves the risk; 3/4 * 1/2 after 3.
    times, reached = np.array([1.0, 2.0, 3.0, 4.0]), np.array([True, False, True, True])
    assert kaplan_meier_median(times, reached, np.ones((1, 4), dtype=np.int64)) == [3.0]


def test_runs_drawn_twice_count_twice_and_absent_ones_not() -> None:
    times, reached = np.array([1.0, 2.0, 3.0]), np.array([True, True, False])
    counts = np.array([[2, 1, 0], [0, 1, 2], [0, 0, 3]])
    assert kaplan_meier_median(times, reached, counts).tolist() == [1.0, math.inf, math.inf]


def test_the_median_is_unknown_where_fewer_than_half_arrive() -> None:
    runs = [Arrival(40, True), Arrival(80, False), Arrival(80, False)]
    found = median_arrival([runs])
    assert (found.value, found.high) == (math.inf, math.inf)


def test_the_interval_of_five_arrivals_is_their_range() -> None:
    # The median of a resample is the smallest of 5 with probability 0.058, more than 0.025.
    runs = [Arrival(float(x), True) for x in (20, 40, 60, 80, 100)]
    assert median_arrival([runs]) == Estimate(60, 20, 100)
