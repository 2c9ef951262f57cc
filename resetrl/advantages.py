"""Advantages: rewards compared inside one group, never across groups."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

Scale = Literal["population_std", "sample_std", "mean_only", "none"]

NO_SPREAD = 1e-8
"""Below this standard deviation a group's rewards count as equal."""


def group_advantages(rewards: Sequence[float], scale: Scale = "population_std") -> list[float]:
    """One advantage a reward of a group (methods of arXiv 2605.25507, sec. 3).

    population_std: (r - mean) / std over the group's size, all zero when std < 1e-8
    sample_std:     (r - mean) / (std over size - 1, plus 1e-6), as in verl's GRPO
    mean_only:      r - mean (Dr. GRPO, arXiv 2503.20783)
    none:           r

    Example: `group_advantages([1, 0, 0, 1]) == [1, -1, -1, 1]`.
    """
    if scale not in get_args(Scale):
        raise ValueError(
            f"advantage scale {scale!r} is unknown: choose {', '.join(get_args(Scale))}"
        )
    if scale == "none":
        return [float(reward) for reward in rewards]
    mean = math.fsum(rewards) / len(rewards)
    centred = [reward - mean for reward in rewards]
    if scale == "mean_only":
        return centred
    squares = math.fsum(value * value for value in centred)
    if math.sqrt(squares / len(rewards)) < NO_SPREAD:
        return [0.0] * len(rewards)
    if scale == "population_std":
        std = math.sqrt(squares / len(rewards))
    else:
        std = math.sqrt(squares / (len(rewards) - 1)) + 1e-6
    return [value / std for value in centred]


def binarise(rewards: Sequence[float], threshold: float = 1.0) -> list[float]:
    """1 for a reward of at least `threshold`, else 0."""
    return [1.0 if reward >= threshold else 0.0 for reward in rewards]
