"""Intervals of means, differences, interquartile means and probabilities of improvement. Pure.

Values come in strata (a task, a cell of the sweep): arrays `[N]` of one value a run. A resample
draws runs with replacement inside each stratum; every stratum counts equally. What is drawn
again, and why the intervals of means are not percentiles, stands in docs/compare.md. Each
interval has its own generator of a fixed seed: no number depends on what else is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resetrl.estimate import TAILS, Estimate, percentile_estimate

Array = NDArray[np.float64]
Strata = Sequence[Array]

RESAMPLES = 10_000
BLOCK = 1_000
"""Resamples drawn at once where many problems are drawn again, to bound memory."""


@dataclass(frozen=True)
class Part:
    """A part of the variance of an estimate, `[T]`, with the degrees of freedom it is known by."""

    variance: Array
    freedom: int


def mean_interval(strata: Strata) -> Estimate:
    """The mean of the strata's means, with its interval."""
    mean, low, high = mean_band([values[:, None] for values in strata])
    return Estimate(float(mean[0]), float(low[0]), float(high[0]))


def mean_band(strata: Strata) -> tuple[Array, Array, Array]:
    """Mean, low and high `[T]` of curves: strata `[N, T]` hold the values of N runs at T places."""
    rng = np.random.default_rng(0)
    mean = np.mean([values.mean(axis=0) for values in strata], axis=0)
    half = half_width([_part(values, len(strata), rng) for values in strata])
    return mean, mean - half, mean + half


def paired_interval(strata: Strata) -> Estimate:
    """The mean of paired differences, with its interval over run seeds, and over problems too.

    A stratum is `[N]`, one difference a run seed, or `[N, P]`, one a run seed and problem. Then
    the interval speaks of other run seeds and of other problems like these: every resample draws
    both. The naive sum of both variances counts the noise of single answers three times (Owen,
    Annals of Applied Statistics 2007), so it is taken off once from the sum of the one over seeds
    and the one over problems, each of which holds it (Cameron, Gelbach and Miller, JBES 2011).
    """
    rng = np.random.default_rng(0)
    mean = float(np.mean([values.mean() for values in strata]))
    parts: list[Part] = []
    for values in strata:
        if values.ndim == 1:
            parts.append(_part(values[:, None], len(strata), rng))
        else:
            parts += two_level_parts(values, len(strata), rng)
    half = float(half_width(parts)[0])
    return Estimate(mean, mean - half, mean + half)


def unpaired_interval(strata: Strata, baseline: Strata) -> Estimate:
    """The difference of two means of independent runs, with its interval (as Welch's)."""
    rng = np.random.default_rng(0)
    means = [float(np.mean([values.mean() for values in each])) for each in (strata, baseline)]
    parts = [
        _part(values[:, None], len(each), rng) for each in (strata, baseline) for values in each
    ]
    half = float(half_width(parts)[0])
    difference = means[0] - means[1]
    return Estimate(difference, difference - half, difference + half)


def iqm_interval(strata: Strata) -> Estimate:
    """The interquartile mean over all runs, with the percentile interval.

    Agarwal et al., arXiv 2108.13264; equal to rliable's `aggregate_iqm`, also in the interval.
    """
    rng = np.random.default_rng(0)
    drawn = [values[rng.integers(0, len(values), (RESAMPLES, len(values)))] for values in strata]
    return percentile_estimate(
        float(interquartile_mean(np.concatenate(strata)[None])[0]),
        interquartile_mean(np.concatenate(drawn, axis=1)),
    )


def interquartile_mean(values: Array) -> Array:
    """`[R, N]` to `[R]`: the mean without the lowest and the highest quarter, rounded down."""
    cut = values.shape[1] // 4
    return np.asarray(np.sort(values, axis=1)[:, cut : values.shape[1] - cut].mean(axis=1))


def improvement_interval(strata: Strata, baseline: Strata) -> Estimate:
    """The probability that a run is better than one of the baseline, with percentile interval.

    Mann and Whitney's U over the number of pairs, a tie as one half, averaged over strata:
    rliable's `probability_of_improvement` (Agarwal et al., arXiv 2108.13264).
    """
    rng = np.random.default_rng(0)
    wins = [
        np.sign(values[:, None] - others[None]) / 2 + 0.5
        for values, others in zip(strata, baseline, strict=True)
    ]
    resampled = np.zeros(RESAMPLES)
    for win in wins:
        ours, theirs = (_counts(size, rng) / size for size in win.shape)
        resampled += ((ours @ win) * theirs).sum(axis=1) / len(wins)
    return percentile_estimate(float(np.mean([win.mean() for win in wins])), resampled)


def half_width(parts: Sequence[Part]) -> Array:
    """Half of the interval `[T]`: Student's t times the standard error.

    The degrees of freedom are Welch and Satterthwaite's. NaN where a part has none.
    """
    from scipy.stats import t

    variance = np.sum([part.variance for part in parts], axis=0)
    if min(part.freedom for part in parts) < 1:
        return np.full_like(variance, np.nan)
    known = np.sum([part.variance**2 / part.freedom for part in parts], axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = np.where(variance > 0, variance**2 / known, 1.0)
    return np.asarray(t.ppf(TAILS[1], np.maximum(freedom, 1.0)) * np.sqrt(variance))


def two_level_parts(values: Array, num_strata: int, rng: np.random.Generator) -> list[Part]:
    """The variance of the mean of `[N, P]` differences: its part over seeds, problems, answers.

    With one run seed it is the part over problems alone. Should the difference come out negative,
    the larger of the first two stands for the whole.
    """
    num_seeds, num_problems = values.shape
    if min(num_seeds, num_problems) < 2:
        return [_part(values.mean(axis=int(num_seeds > 1))[:, None], num_strata, rng)]
    by_seed = values.mean(axis=1) - values.mean()
    by_problem = values.mean(axis=0) - values.mean()
    rest = values - values.mean() - by_seed[:, None] - by_problem[None]
    drawn = []
    for _ in range(RESAMPLES // BLOCK):
        seeds = _counts(num_seeds, rng, BLOCK) / num_seeds
        problems = rng.integers(0, num_problems, (BLOCK, num_problems))
        answers = np.take_along_axis(seeds @ rest, problems, axis=1).mean(axis=1)
        drawn.append([seeds @ by_seed, by_problem[problems].mean(axis=1), answers])
    narrowness = [(num_seeds - 1) / num_seeds, (num_problems - 1) / num_problems]
    variances = np.concatenate(drawn, axis=1).var(axis=1) / num_strata**2
    variances /= [*narrowness, narrowness[0] * narrowness[1]]
    over_seeds = Part(variances[:1], num_seeds - 1)
    over_problems = Part(variances[1:2], num_problems - 1)
    if variances[0] + variances[1] <= variances[2]:
        return [over_seeds if variances[0] >= variances[1] else over_problems]
    return [
        over_seeds,
        over_problems,
        Part(-variances[2:], (num_seeds - 1) * (num_problems - 1)),
    ]


def _part(values: Array, num_strata: int, rng: np.random.Generator) -> Part:
    """The bootstrap variance of a mean over N runs, `[N, T]`, as part of a mean over strata.

    Resamples vary as N - 1 runs would: the factor N / (N - 1) undoes it (Efron, 1982; Hesterberg,
    arXiv 1411.5279, "narrowness bias").
    """
    num = len(values)
    if num < 2:
        return Part(np.full(values.shape[1], np.nan), 0)
    means = (_counts(num, rng) / num) @ (values - values.mean(axis=0))
    return Part(means.var(axis=0) * num / (num - 1) / num_strata**2, num - 1)


def _counts(num: int, rng: np.random.Generator, resamples: int = RESAMPLES) -> Array:
    """How often each of `num` is drawn in each resample, `[R, N]`."""
    return rng.multinomial(num, np.full(num, 1 / num), resamples).astype(np.float64)
