"""A group against the baseline: paired over run seeds, and over problems where they are known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from resetrl.compare.bootstrap import (
    Array,
    improvement_interval,
    paired_interval,
    unpaired_interval,
)
from resetrl.compare.groups import Group, Stratum
from resetrl.compare.permutation import holm, shuffle_p, sign_flip_floor, sign_flip_p
from resetrl.compare.records import At, RunData
from resetrl.estimate import Estimate

Finals = Mapping[Stratum, Array]
"""The value of each run that counts, by stratum and in the order of `group.strata`."""


PERCENTILE_RUNS = 4
"""Fewer runs than these have no percentile interval: it cannot leave their range, and their
interquartile mean is their mean, whose own interval would contradict it."""


@dataclass(frozen=True)
class Difference:
    """A group minus its baseline, which `baseline` names.

    `num_pairs` run seeds are paired, and `num_problems` problems a stratum if answers to single
    ones are known; without pairs the runs are independent. `p_floor` is the smallest p that so
    many pairs can give, `improvement` the probability that a run beats one of the baseline.
    """

    baseline: str
    interval: Estimate
    p: float
    p_holm: float
    p_floor: float
    improvement: Estimate
    num_pairs: int = 0
    num_problems: int = 0


def difference(
    group: Group, finals: Finals, base: Group, base_finals: Finals, at: At
) -> Difference:
    """How a group differs from the baseline, in the strata that both have."""
    common = [stratum for stratum in group.strata if stratum in base.strata]
    if not common:  # other tasks, say: nothing can be paired, and everything is one stratum
        pooled = [np.concatenate([*each.values()]) for each in (finals, base_finals)]
        return Difference(
            base.label,
            interval=unpaired_interval([*finals.values()], [*base_finals.values()]),
            p=shuffle_p(pooled[:1], pooled[1:]),
            p_holm=math.nan,
            p_floor=0.0,
            improvement=_improvement(pooled[:1], pooled[1:]),
        )
    ours, theirs = ([each[s] for s in common] for each in (finals, base_finals))
    improvement = _improvement(ours, theirs)
    paired = [pairs for s in common if (pairs := _pairs(group, finals, base, base_finals, s))]
    if not paired:
        return Difference(
            base.label,
            interval=unpaired_interval(ours, theirs),
            p=shuffle_p(ours, theirs),
            p_holm=math.nan,
            p_floor=0.0,
            improvement=improvement,
        )
    by_seed = [np.array([ours - theirs for _, ours, _, theirs in pairs]) for pairs in paired]
    by_problem = [_by_problem(pairs, at) for pairs in paired]
    num_pairs = sum(map(len, paired))
    return Difference(
        base.label,
        interval=paired_interval(
            [a if b is None else b for a, b in zip(by_seed, by_problem, strict=True)]
        ),
        p=sign_flip_p(by_seed) if num_pairs > 1 else math.nan,
        p_holm=math.nan,
        p_floor=sign_flip_floor(num_pairs),
        improvement=improvement,
        num_pairs=num_pairs,
        num_problems=min(0 if each is None else each.shape[1] for each in by_problem),
    )


def if_enough(interval: Estimate, num_runs: int) -> Estimate:
    """A percentile interval, without its ends where there are too few runs for one."""
    if num_runs >= PERCENTILE_RUNS:
        return interval
    return Estimate(interval.value, math.nan, math.nan)


def _improvement(ours: Sequence[Array], theirs: Sequence[Array]) -> Estimate:
    fewest = min(sum(map(len, ours)), sum(map(len, theirs)))
    return if_enough(improvement_interval(ours, theirs), fewest)


def with_holm(differences: Sequence[Difference | None]) -> list[Difference | None]:
    """The same with Holm-corrected p, over all comparisons with the baseline."""
    corrected = holm([math.nan if each is None else each.p for each in differences])
    return [
        None if each is None else replace(each, p_holm=p)
        for each, p in zip(differences, corrected, strict=True)
    ]


Pair = tuple[RunData, float, RunData, float]
"""A run and its value, and the run of the baseline with the same run seed and its value."""


def _pairs(
    group: Group, finals: Finals, base: Group, base_finals: Finals, stratum: Stratum
) -> list[Pair]:
    theirs = {
        run.run_seed: (run, float(value))
        for run, value in zip(base.strata[stratum], base_finals[stratum], strict=True)
        if run.run_seed is not None
    }
    return [
        (run, float(value), *theirs[run.run_seed])
        for run, value in zip(group.strata[stratum], finals[stratum], strict=True)
        if run.run_seed in theirs
    ]


def _by_problem(pairs: Sequence[Pair], at: At) -> Array | None:
    """`[N, P]` differences of scores, None unless all runs answered the same known problems.

    Scores whose mean is not the metric belong to another metric or evaluation: not used.
    """
    runs = [run for run, _, _, _ in pairs] + [run for _, _, run, _ in pairs]
    values = [value for _, value, _, _ in pairs] + [value for _, _, _, value in pairs]
    uids = sorted(runs[0].scores(at))
    if not uids or len({run.problems for run in runs}) > 1:
        return None
    scores = [run.scores(at) for run in runs]
    if any(each.keys() != scores[0].keys() for each in scores):
        return None
    matrix = np.array([[each[uid] for uid in uids] for each in scores])
    if not np.allclose(matrix.mean(axis=1), values, atol=1e-6):
        return None
    return np.asarray(matrix[: len(pairs)] - matrix[len(pairs) :])
