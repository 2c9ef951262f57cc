"""Scores of sampled answers, and their 95 % intervals. Pure functions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from resetrl.estimate import Estimate, percentile_estimate

RESAMPLES = 5000
"""Bootstrap resamples; the ends of an interval then move by about 2 % of its width by chance."""


def wilson(successes: int, total: int) -> Estimate:
    """A share with its Wilson score interval (Wilson, JASA 1927), without continuity correction.

    Raises ValueError unless `0 <= successes <= total` and `total > 0`.
    """
    from scipy.stats import binomtest

    interval = binomtest(successes, total).proportion_ci(method="wilson")
    return Estimate(successes / total, float(interval.low), float(interval.high))


def pass_at_k(num_samples: int, num_correct: int, k: int) -> float:
    """The probability that at least one of k samples is right, estimated without bias.

    1 - C(n - c, k) / C(n, k) for c right ones among n samples (Chen et al., arXiv 2107.03374,
    sec. 2.1). Raises ValueError unless `1 <= k <= n`.
    """
    if not 1 <= k <= num_samples:
        raise ValueError(f"pass@{k} of {num_samples} samples: choose k from 1 to {num_samples}")
    return 1.0 - math.comb(num_samples - num_correct, k) / math.comb(num_samples, k)


def majority_is_correct(answers: Sequence[tuple[str | None, bool]]) -> bool:
    """Whether the answer most samples give is right; each is (what was extracted, is right).

    Answers are counted by their text, surrounding space aside; samples without one do not vote.
    Of answers given equally often the one that came first counts. `answers` are the first k
    samples for maj@k.
    """
    given = [(text.strip(), correct) for text, correct in answers if text is not None]
    if not given:
        return False
    (winner, _), *_ = Counter(text for text, _ in given).most_common(1)
    return next(correct for text, correct in given if text == winner)


def clustered_bootstrap(tasks: Sequence[Sequence[Sequence[float]]], rng_seed: int) -> Estimate:
    """The mean over tasks of each task's mean value, with a percentile bootstrap interval.

    `tasks[t][c]` are the values of cluster c: whole clusters are drawn with replacement within
    each task (Davison & Hinkley 1997, sec. 2.4 and 3.8), because the values of one are not
    independent. The interval is NaN where resampling says nothing of clusters not seen: for a task
    of one cluster, and where every task's clusters all have one mean.
    """
    import numpy as np
    from scipy.stats import bootstrap

    is_constant = True
    rng = np.random.default_rng(rng_seed)
    means, drawn = [], np.zeros(RESAMPLES)
    for clusters in tasks:
        sums = np.array([math.fsum(cluster) for cluster in clusters])
        sizes = np.array([float(len(cluster)) for cluster in clusters])
        means.append(float(sums.sum() / sizes.sum()))
        is_constant = is_constant and bool(np.ptp(sums / sizes) < 1e-12)
        if len(clusters) < 2:
            drawn += math.nan
            continue
        drawn += bootstrap(
            (sums, sizes),
            lambda sums, sizes, axis: sums.sum(axis=axis) / sizes.sum(axis=axis),
            paired=True,
            vectorized=True,
            n_resamples=RESAMPLES,
            batch=max(1, 2_000_000 // len(clusters)),
            method="percentile",
            rng=rng,
        ).bootstrap_distribution
    if is_constant:
        drawn += math.nan
    return percentile_estimate(math.fsum(means) / len(means), drawn / len(tasks))
