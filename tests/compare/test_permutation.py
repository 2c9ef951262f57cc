import math

import numpy as np
import pytest

from resetrl.compare.permutation import (
    holm,
    pairs_needed,
    shuffle_p,
    sign_flip_floor,
    sign_flip_p,
)


def test_differences_of_one_sign_reach_the_floor() -> None:
    assert sign_flip_p([np.array([1.0, 2.0, 3.0])]) == 0.25 == sign_flip_floor(3)


def test_a_p_counts_the_signs_that_do_as_well() -> None:
    # Sums of +-1 +-2 +-3: 6, 4, 2, 0 and their opposites; 4 or more in size: four of eight.
    assert sign_flip_p([np.array([-1.0, 2.0, 3.0])]) == 0.5


def test_pairs_of_all_strata_are_flipped_with_the_weights_of_their_means() -> None:
    # Means 1 and (2 + 2) / 2, weights 1 and 1/2: of 8 sign patterns only all alike do as well.
    assert sign_flip_p([np.array([1.0]), np.array([2.0, 2.0])]) == 0.25


def test_many_pairs_are_sampled() -> None:
    assert sign_flip_p([np.full(20, 0.1)]) == pytest.approx(1 / 10_001)


def test_shuffled_labels_tell_apart_what_never_overlaps() -> None:
    # 2 of the 20 ways to choose 3 of 6 are as extreme.
    p = shuffle_p([np.array([1.0, 1.1, 1.2])], [np.array([0.0, 0.1, 0.2])])
    assert p == pytest.approx(0.1, abs=0.01)


def test_holm_multiplies_the_smallest_most() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_holm_stops_at_one_and_leaves_out_what_is_unknown() -> None:
    corrected = holm([0.6, math.nan, 0.7])
    assert corrected[0] == corrected[2] == 1.0 and math.isnan(corrected[1])


@pytest.mark.parametrize(("comparisons", "pairs"), [(1, 6), (2, 7), (3, 7), (4, 8)])
def test_so_many_pairs_can_be_significant_after_correction(comparisons: int, pairs: int) -> None:
    assert pairs_needed(comparisons) == pairs
    assert sign_flip_floor(pairs) * comparisons < 0.05 < sign_flip_floor(pairs - 1) * comparisons
