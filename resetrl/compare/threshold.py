"""When runs reach a threshold, with those that never did counted for what they say. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resetrl.compare.bootstrap import RESAMPLES, Array
from resetrl.estimate import TAILS, Estimate


@dataclass(frozen=True)
class Arrival:
    """When a run reached the threshold or, if `reached` is false, how far it was watched.

    Example: `Arrival(60.0, True)`.
    """

    x: float
    reached: bool


def arrival(xs: Sequence[float], values: Sequence[float], threshold: float) -> Arrival:
    """The first evaluation at or above the threshold; nothing is interpolated between two."""
    for x, value in zip(xs, values, strict=True):
        if value >= threshold:
            return Arrival(x, True)
    return Arrival(xs[-1], False)


def median_arrival(strata: Sequence[Sequence[Arrival]]) -> Estimate:
    """The median time to the threshold by Kaplan and Meier, with percentile interval.

    A run that ended below the threshold counts as on its way for as long as it was watched
    (censored); it is never dropped. Infinite where fewer than half are expected to arrive. Runs
    are drawn again inside each stratum.
    """
    rng = np.random.default_rng(0)
    everyone = [each for stratum in strata for each in stratum]
    counts = np.concatenate(
        [
            rng.multinomial(len(stratum), np.full(len(stratum), 1 / len(stratum)), RESAMPLES)
            for stratum in strata
        ],
        axis=1,
    )
    # At equal times arrivals come before those who are only watched no longer.
    order = sorted(range(len(everyone)), key=lambda i: (everyone[i].x, not everyone[i].reached))
    times = np.array([everyone[i].x for i in order])
    reached = np.array([everyone[i].reached for i in order])
    medians = kaplan_meier_median(times, reached, counts[:, order])
    whole = kaplan_meier_median(times, reached, np.ones((1, len(times)), dtype=np.int64))
    low, high = np.quantile(medians, TAILS, method="inverted_cdf")  # no means with infinity
    return Estimate(float(whole[0]), float(low), float(high))


def kaplan_meier_median(
    times: Array, reached: NDArray[np.bool_], counts: NDArray[np.int64]
) -> Array:
    """`[R]`: the first time by which half have arrived, infinite if that never comes.

    `counts [R, N]` says how often each of N runs, in the order of their times, is there.
    """
    at_risk = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1]
    arriving = counts * reached / np.maximum(at_risk, 1)
    remaining = np.cumprod(1.0 - arriving, axis=1)
    halved = remaining <= 0.5 + 1e-12
    return np.where(halved.any(axis=1), times[halved.argmax(axis=1)], np.inf)
