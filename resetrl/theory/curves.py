"""Measured curves with bootstrap replicates, their ratios and their log-log slopes.

A curve belongs to MDP instances i and settings k; what was measured of one pair is reduced to one
number, instances are combined by the geometric mean. The bootstrap resamples the repetitions of
every pair and the instances, the latter with weights that two curves share so that their ratio is
paired.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from resetrl.errors import ConfigError
from resetrl.theory.mdp import Floats, Mask

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Slope:
    """A log-log slope and its 95 % bootstrap interval: `Slope(1.98, 1.91, 2.05)`."""

    value: float
    low: float
    high: float

    @property
    def width(self) -> float:
        return self.high - self.low

    def contains(self, exponent: float) -> bool:
        return self.low <= exponent <= self.high


@dataclass(frozen=True)
class Curve:
    """A positive quantity against a setting.

    `x`, `y` [K]; `replicates` [bootstraps, K]; `exact` [K]: the same by dynamic programming, or
    NaN where there is no exact counterpart.
    """

    label: str
    x_name: str
    x: Floats
    y: Floats
    replicates: Floats
    exact: Floats

    def interval(self) -> tuple[Floats, Floats]:
        """Returns the ends [K] of the pointwise 95 % intervals."""
        low, high = np.quantile(self.replicates, _tails(), axis=0)
        return low, high

    def slope(self) -> Slope:
        """Returns the least-squares slope of log y against log x with its bootstrap interval."""
        low, high = np.quantile(fit_slopes(self.x, self.replicates), _tails())
        return Slope(float(fit_slopes(self.x, self.y)), float(low), float(high))

    def exact_slope(self) -> float:
        """Returns the slope of the exact counterpart, NaN without one."""
        return float(fit_slopes(self.x, self.exact))

    def over(self, other: Curve, label: str) -> Curve:
        """Returns the ratio self / other as a curve."""
        return Curve(
            label,
            self.x_name,
            self.x,
            self.y / other.y,
            self.replicates / other.replicates,
            self.exact / other.exact,
        )

    def times(self, factor: Floats, label: str) -> Curve:
        """Returns the curve multiplied by known factors [K]."""
        return Curve(
            label,
            self.x_name,
            self.x,
            self.y * factor,
            self.replicates * factor,
            self.exact * factor,
        )


def fit_slopes(x: Floats, y: Floats) -> Floats:
    """Returns the slopes [...] of log y [..., K] against log x [K].

    `fit_slopes([1, 2, 4], [3, 12, 48])` is 2.
    """
    if len(x) < 3:
        raise ConfigError(f"A slope was asked for over {len(x)} settings; give at least 3.")
    log_x = np.log(x) - np.log(x).mean()
    result: Floats = (np.log(y) * log_x).sum(-1) / (log_x**2).sum()
    return result


def instance_weights(num_bootstraps: int, num_instances: int, rng: np.random.Generator) -> Floats:
    """Returns how often each instance is drawn [bootstraps, I], over I: rows sum to 1."""
    drawn = rng.multinomial(
        num_instances, np.full(num_instances, 1 / num_instances), size=num_bootstraps
    )
    return drawn / num_instances


def resampled_means(outcomes: Floats, num_bootstraps: int, rng: np.random.Generator) -> Floats:
    """Returns bootstrap means [bootstraps, ...] over the repetitions of outcomes [M, ...]."""
    num = len(outcomes)
    weights = rng.multinomial(num, np.full(num, 1 / num), size=num_bootstraps) / num
    return np.asarray(np.tensordot(weights, outcomes, axes=1), dtype=np.float64)


def crossing(levels: Floats, shares: Floats, wanted: float) -> Floats:
    """Returns the level [...] at which the share [..., L] of successes reaches `wanted`.

    With z = Phi^-1((1 + share) / 2), the number of standard deviations that the accuracy spans,
    log z is fitted by a line in log level, each share weighted by its binomial precision. For a
    mean of independent samples the line has slope 1/2; it is fitted all the same, at least 1/4 so
    that a noisy replicate cannot turn it flat. Where the shares leap from 0 to 1 between two
    levels there is nothing to fit: the first level that reaches `wanted` is returned.
    """
    usable = (shares >= 0.05) & (shares <= 0.995)
    inside = np.where(usable, shares, 0.75)
    z = ndtri((1 + inside) / 2)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    weights = np.where(usable, (2 * density * z) ** 2 / (inside * (1 - inside)), 0.0)
    total = np.maximum(weights.sum(-1, keepdims=True), 1e-300)
    log_level = np.log(levels)
    mean_level = (weights * log_level).sum(-1, keepdims=True) / total
    mean_z = (weights * np.log(z)).sum(-1, keepdims=True) / total
    spread = (weights * (log_level - mean_level) ** 2).sum(-1)
    covariance = (weights * (log_level - mean_level) * (np.log(z) - mean_z)).sum(-1)
    enough = usable.sum(-1) >= 2
    slope = np.maximum(covariance / np.where(enough, spread, 1.0), 0.25)
    target = np.log(ndtri((1 + wanted) / 2))
    fitted = np.exp(mean_level[..., 0] + (target - mean_z[..., 0]) / slope)
    first = levels[(shares >= wanted).argmax(-1)]
    return np.where(enough, fitted, first)


def combine(
    label: str,
    x_name: str,
    x: Floats,
    points: Floats,
    replicates: Floats,
    exact: Floats,
    weights: Floats,
) -> Curve:
    """Returns the curve of points [K, I] with replicates [K, bootstraps, I], exact [K, I]."""
    return Curve(
        label,
        x_name,
        x,
        np.exp(np.log(points).mean(-1)),
        np.exp((np.log(replicates) * weights).sum(-1)).T,
        np.exp(np.log(exact).mean(-1)),
    )


def reaches(successes: Mask, wanted: float) -> bool:
    """Returns whether the share of successes [M] is at least `wanted`."""
    return bool(successes.mean() >= wanted)


def _tails() -> tuple[float, float]:
    return (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2
