"""A figure with its 95 % interval: what evaluations, analyses and comparisons say of a quantity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

TAILS = (0.025, 0.975)
"""The quantiles at the ends of an interval."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval, whose ends are NaN where nothing tells of a spread.

    Example: `Estimate(0.93, 0.90, 0.96)`.
    """

    value: float
    low: float
    high: float

    def clipped(self, low: float, high: float) -> Estimate:
        """The interval without what lies outside the range of the metric (no coverage is lost)."""
        import numpy as np

        ends = np.clip([self.low, self.high], low, high)
        return Estimate(self.value, float(ends[0]), float(ends[1]))


def percentile_estimate(value: float, resampled: NDArray[Any]) -> Estimate:
    """A figure with the percentile interval of its resamples `[R]`; NaN ends if any is NaN."""
    import numpy as np

    low, high = np.quantile(resampled, TAILS)
    return Estimate(value, float(low), float(high))
