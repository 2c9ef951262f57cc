import math

import numpy as np

from resetrl.estimate import Estimate, percentile_estimate


def test_the_ends_leave_a_fortieth_of_the_resamples_on_each_side() -> None:
    assert percentile_estimate(7.0, np.arange(41.0)) == Estimate(7.0, 1.0, 39.0)


def test_a_resample_that_is_none_leaves_no_interval() -> None:
    found = percentile_estimate(7.0, np.array([1.0, math.nan]))
    assert found.value == 7.0 and math.isnan(found.low) and math.isnan(found.high)


def test_clipping_keeps_the_value() -> None:
    assert Estimate(0.98, 0.93, 1.03).clipped(0.0, 1.0) == Estimate(0.98, 0.93, 1.0)
