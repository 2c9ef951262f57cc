"""Where resets went back to, against the true first wrong thought, and what came of it.

A reset before or at the first wrong thought has a clean prefix, one behind it an erroneous one. A
late reset also goes back less far, and from there there is less left to get wrong: depth is a
confounder, so rates are compared at equal depth as well (Samanta et al., arXiv 2605.25507, on
localization; the adjustment is Mantel and Haenszel's).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resetrl.estimate import Estimate, percentile_estimate
from resetrl.evaluate.statistics import RESAMPLES, wilson
from resetrl.run.rollouts import SavedGroup
from resetrl.thoughts import stripped_thoughts

_FEWEST = 10
"""Resets of each kind below which a bootstrap says nothing."""


@dataclass(frozen=True)
class Reset:
    """One reset of a seed: `Reset("chain-7", 10, 3, 2, 5, 3, 2, "boxed", 4, 1)`.

    `chosen` and `first_wrong` are 1-based thoughts of a seed of `num_thoughts`; `chosen_depth`
    and `wrong_depth` count the thoughts before each that have enough words to matter.
    `num_correct` of `num_suffixes` suffixes were right.
    """

    uid: str
    step: int
    chosen: int
    first_wrong: int
    num_thoughts: int
    chosen_depth: int
    wrong_depth: int
    status: str
    num_suffixes: int
    num_correct: int

    @property
    def deviation(self) -> int:
        """By how many thoughts the choice is late; below 0 it is early."""
        return self.chosen_depth - self.wrong_depth

    @property
    def is_clean(self) -> bool:
        """Whether the prefix holds no wrong thought."""
        return self.chosen <= self.first_wrong

    @property
    def is_corrected(self) -> bool:
        return self.num_correct > 0


def resets_of(step: int, groups: Iterable[SavedGroup], min_words: int = 0) -> list[Reset]:
    """The resets among the groups of a step whose seed has a wrong thought that is known.

    Thoughts of fewer than `min_words` words do not count in deviations (the reference's effective
    deviation); 0 counts all.
    """
    found = []
    for saved in groups:
        state = saved.group.reset_state
        if state is None or saved.first_wrong is None:
            continue
        thoughts = stripped_thoughts(state.seed.completion, saved.delimiter)
        found.append(
            Reset(
                uid=saved.group.prompt.uid,
                step=step,
                chosen=state.selection.thought,
                first_wrong=saved.first_wrong,
                num_thoughts=len(thoughts),
                chosen_depth=meaningful_before(thoughts, state.selection.thought, min_words),
                wrong_depth=meaningful_before(thoughts, saved.first_wrong, min_words),
                status=state.selection.status,
                num_suffixes=len(saved.group.verdicts),
                num_correct=sum(verdict.correct for verdict in saved.group.verdicts),
            )
        )
    return found


def meaningful_before(thoughts: Sequence[str], thought: int, min_words: int) -> int:
    """How many thoughts before a 1-based one have at least so many words."""
    return sum(len(each.split()) >= min_words for each in thoughts[: thought - 1])


def outcome_rates(resets: Sequence[Reset]) -> dict[str, Estimate]:
    """The shares of exact, early, late and clean resets; no reset is a ValueError."""
    deviations = [reset.chosen - reset.first_wrong for reset in resets]
    counts = {
        "exact": sum(deviation == 0 for deviation in deviations),
        "early": sum(deviation < 0 for deviation in deviations),
        "late": sum(deviation > 0 for deviation in deviations),
        "clean": sum(reset.is_clean for reset in resets),
    }
    return {name: wilson(count, len(resets)) for name, count in counts.items()}


def uniform_rates(resets: Sequence[Reset]) -> dict[str, float]:
    """What a uniform choice among the thoughts of the same seeds would come to on average."""
    shares = {
        "exact": [1 / r.num_thoughts for r in resets],
        "early": [(r.first_wrong - 1) / r.num_thoughts for r in resets],
        "late": [(r.num_thoughts - r.first_wrong) / r.num_thoughts for r in resets],
        "clean": [r.first_wrong / r.num_thoughts for r in resets],
    }
    return {name: sum(values) / len(values) for name, values in shares.items()}


@dataclass(frozen=True)
class Corrections:
    """The share of resets some suffix of which is right, from clean and from erroneous prefixes.

    None where there is no such reset.
    """

    clean: Estimate | None
    erroneous: Estimate | None
    num_clean: int
    num_erroneous: int


def corrections(resets: Sequence[Reset]) -> Corrections:
    """The correction rates of some resets, by whether their prefix is clean."""
    clean = [reset.is_corrected for reset in resets if reset.is_clean]
    erroneous = [reset.is_corrected for reset in resets if not reset.is_clean]
    return Corrections(
        wilson(sum(clean), len(clean)) if clean else None,
        wilson(sum(erroneous), len(erroneous)) if erroneous else None,
        len(clean),
        len(erroneous),
    )


def by_depth(resets: Sequence[Reset]) -> Mapping[int, Corrections]:
    """The correction rates at each reset depth, the number of thoughts kept."""
    depths = sorted({reset.chosen - 1 for reset in resets})
    return {
        depth: corrections([reset for reset in resets if reset.chosen - 1 == depth])
        for depth in depths
    }


def by_deviation(resets: Sequence[Reset]) -> Mapping[int, tuple[int, Estimate]]:
    """The number of resets of each deviation, and how many of their suffixes are right."""
    found = {}
    for deviation in sorted({reset.deviation for reset in resets}):
        mine = [reset for reset in resets if reset.deviation == deviation]
        right = sum(reset.num_correct for reset in mine)
        found[deviation] = (len(mine), wilson(right, sum(reset.num_suffixes for reset in mine)))
    return found


def matched_difference(resets: Sequence[Reset], rng_seed: int = 0) -> Estimate | None:
    """Correction rate from clean minus from erroneous prefixes of equal depth, weighted.

    sum_d w_d (p_clean,d - p_erroneous,d) / sum_d w_d, w_d = n_clean,d n_erroneous,d / n_d (Mantel
    and Haenszel's weights), over the depths d that have both. The 95 % interval is a percentile
    bootstrap over prompts, because resets of one prompt are not independent. None if no depth has
    both; NaN ends if those depths have fewer than ten of either kind.
    """
    import numpy as np

    uids = {uid: place for place, uid in enumerate(sorted({reset.uid for reset in resets}))}
    depths = {depth: place for place, depth in enumerate(sorted({r.chosen for r in resets}))}
    counts = np.zeros((len(uids), len(depths), 2, 2))  # prompt, depth, erroneous, (all, corrected)
    for reset in resets:
        place = uids[reset.uid], depths[reset.chosen], int(not reset.is_clean)
        counts[*place, 0] += 1
        counts[*place, 1] += reset.is_corrected
    totals = counts.sum(axis=0)
    value = float(_weighted(totals))
    if np.isnan(value):
        return None
    matched = totals[..., 0][totals[..., 0].all(axis=-1)].sum(axis=0)
    if matched.min() < _FEWEST:
        return Estimate(value, np.nan, np.nan)
    rng = np.random.default_rng(rng_seed)
    draws = rng.multinomial(len(uids), np.full(len(uids), 1 / len(uids)), size=RESAMPLES)
    resampled = _weighted(np.tensordot(draws, counts, axes=(1, 0)))
    return percentile_estimate(value, resampled[~np.isnan(resampled)])


def _weighted(counts: Any) -> Any:
    """The weighted difference of counts [..., depths, 2, 2]; NaN where no depth has both."""
    import numpy as np

    n, right = counts[..., 0], counts[..., 1]
    both = n.prod(axis=-1)
    weights = both / np.maximum(n.sum(axis=-1), 1)
    rates = right / np.maximum(n, 1)
    total = weights.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return ((rates[..., 0] - rates[..., 1]) * weights).sum(axis=-1) / total
