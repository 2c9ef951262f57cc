"""p-values of differences by permutation, and Holm's correction for several of them. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from resetrl.compare.bootstrap import Array, Strata

EXACT_PAIRS = 16
"""Up to here all sign flips are enumerated, 65,536 of them; beyond, so many are drawn."""

SHUFFLES = 10_000


def sign_flip_p(strata: Strata) -> float:
    """Two-sided p of paired differences, one a run seed: how often chance signs do as well.

    Without a difference between the two methods a pair's sign is a coin toss; the statistic is
    the mean of the strata's means. Exact up to 16 pairs; it cannot fall below `sign_flip_floor`.
    """
    weights = np.concatenate([values / len(values) / len(strata) for values in strata])
    observed = abs(weights.sum())
    num = len(weights)
    if num <= EXACT_PAIRS:
        bits = (np.arange(2**num)[:, None] >> np.arange(num)) & 1
        return _share_as_extreme((1.0 - 2.0 * bits) @ weights, observed, exact=True)
    signs = np.random.default_rng(0).choice((-1.0, 1.0), (SHUFFLES, num))
    return _share_as_extreme(signs @ weights, observed, exact=False)


def sign_flip_floor(num_pairs: int) -> float:
    """The smallest two-sided p of so many pairs: 0.0625 of five."""
    return 2.0 ** (1 - num_pairs)


def pairs_needed(num_comparisons: int, level: float = 0.05) -> int:
    """The fewest pairs whose smallest p, Holm-corrected, is below the level: 6 for one."""
    return math.floor(1 + math.log2(num_comparisons / level)) + 1


def shuffle_p(strata: Strata, baseline: Strata) -> float:
    """Two-sided p of the difference of two means of independent runs: labels are shuffled.

    They are shuffled inside each stratum, 10,000 times.
    """
    rng = np.random.default_rng(0)
    observed, shuffled = 0.0, np.zeros(SHUFFLES)
    for ours, theirs in zip(strata, baseline, strict=True):
        pooled = np.concatenate([ours, theirs])
        drawn = rng.permuted(np.tile(pooled, (SHUFFLES, 1)), axis=1)
        cut = len(ours)
        observed += float(ours.mean() - theirs.mean()) / len(strata)
        shuffled += (drawn[:, :cut].mean(axis=1) - drawn[:, cut:].mean(axis=1)) / len(strata)
    return _share_as_extreme(shuffled, abs(observed), exact=False)


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's step-down correction (Scandinavian Journal of Statistics 1979), NaN left out.

    Example: `holm([0.01, 0.04, 0.03])` is `[0.03, 0.06, 0.06]`.
    """
    corrected = list(ps)
    order = sorted((i for i, p in enumerate(ps) if not math.isnan(p)), key=lambda i: ps[i])
    least = 0.0
    for rank, i in enumerate(order):
        least = max(least, min(1.0, (len(order) - rank) * ps[i]))
        corrected[i] = least
    return corrected


def _share_as_extreme(values: Array, observed: float, *, exact: bool) -> float:
    """Chance values at least as far from 0; drawn ones count the observation itself as one."""
    tolerance = 1e-12 * max(1.0, observed)
    num = int((np.abs(values) >= observed - tolerance).sum())
    return num / len(values) if exact else (num + 1) / (len(values) + 1)
