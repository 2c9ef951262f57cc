"""What resets from the true first wrong thought are worth: the oracle against the other selectors.

    python benchmarks/oracle_vs_uniform.py [--prompts 160] [--seeds 5]

Suffix groups of the starting policy on the chain task, from the same seeds for every selector.
A group has variance if its suffixes have unequal rewards, and corrects its seed if one of them is
right. Intervals of 95 %: over run seeds (Student), and over all groups pooled (Wilson). Prints
Markdown for benchmarks/RESULTS.md; exits with 1 if an interval of the oracle overlaps uniform's.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from scipy import stats

from resetrl.builtin.selectors import (
    FixedFraction,
    Last,
    Offset,
    Oracle,
    SelfLocalization,
    Uniform,
)
from resetrl.interfaces import ResetSelector
from resetrl.meter import Meter
from resetrl.plugins import load_plugins
from resetrl.run.compose import compose
from resetrl.run.data import problems_of_step
from resetrl.run.loop import Trainer, build_trainer
from resetrl.splits import GroupSplit, SeedPolicy, assign
from resetrl.types import Group
from resetrl.waves import (
    draw_rollouts,
    sample_suffixes,
    select_reset_states,
    usable_failures,
)

SELECTORS: dict[str, ResetSelector] = {
    "oracle": Oracle(),
    "uniform": Uniform(),
    "self_localization": SelfLocalization(),
    "offset of oracle by 1": Offset(Oracle()),
    "fixed_fraction 0.5": FixedFraction(),
    "last": Last(),
}
SPLIT, SEED_POLICY = GroupSplit(4, (4,)), SeedPolicy()


class Interval(NamedTuple):
    """A share with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def is_above(self, other: Interval) -> bool:
        return self.low > other.high


def groups_of(trainer: Trainer, run_seed: int, prompts: int) -> dict[str, list[Group]]:
    """The reset groups of each selector, all from the same draws."""
    session, method = replace(trainer.session, run_seed=run_seed), trainer.method
    meter = Meter(session.policy.counters, session.learner.num_parameters)
    problems = problems_of_step(trainer.training, 1, prompts, run_seed)
    asked = [trainer.maker.prompt(problem) for problem in problems]
    draws = draw_rollouts(1, asked, SPLIT, SEED_POLICY, method, session, meter)
    plans = [assign(SPLIT, SEED_POLICY, usable_failures(mine)) for mine in draws]
    seeds = [[mine[i] for i in plan.seeds] for mine, plan in zip(draws, plans, strict=True)]
    sizes = [plan.reset_sizes for plan in plans]
    groups: dict[str, list[Group]] = {}
    for name, selector in SELECTORS.items():
        states = select_reset_states(1, seeds, selector, session, meter)
        suffixes = sample_suffixes(1, states, sizes, method, session, meter)
        groups[name] = [group for mine in suffixes for group in mine]
    return groups


def has_variance(group: Group) -> bool:
    return len(set(group.rewards)) > 1


def is_corrected(group: Group) -> bool:
    return any(verdict.correct for verdict in group.verdicts)


def over_seeds(flags: Sequence[Sequence[bool]]) -> Interval:
    """The mean over run seeds and its interval by Student's t."""
    shares = [fmean(mine) for mine in flags]
    mean = fmean(shares)
    error = stats.sem(shares) * stats.t.ppf(0.975, len(shares) - 1)
    return Interval(mean, mean - error, mean + error)


def pooled(flags: Sequence[Sequence[bool]]) -> Interval:
    """The share of all groups together and its Wilson interval."""
    every = [flag for mine in flags for flag in mine]
    interval = stats.binomtest(sum(every), len(every)).proportion_ci(method="wilson")
    return Interval(fmean(every), interval.low, interval.high)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=160, help="prompts of each run seed")
    parser.add_argument("--seeds", type=int, default=5, help="run seeds")
    options = parser.parse_args()
    registry = load_plugins()
    config = compose(["method=oracle"], registry)
    trainer = build_trainer(config, Path(tempfile.gettempdir()), registry)
    by_seed = [groups_of(trainer, seed, options.prompts) for seed in range(options.seeds)]

    print(
        "| selector | groups | with variance: over seeds | pooled "
        "| corrected: over seeds | pooled |"
    )
    print("|---|---|---|---|---|---|")
    measured: dict[str, list[Interval]] = {}
    for name in SELECTORS:
        intervals = []
        for question in (has_variance, is_corrected):
            flags = [[question(group) for group in groups[name]] for groups in by_seed]
            intervals += [over_seeds(flags), pooled(flags)]
        measured[name] = intervals
        num_groups = sum(len(groups[name]) for groups in by_seed)
        print(f"| {name} | {num_groups} | " + " | ".join(map(str, intervals)) + " |")

    pairs = zip(measured["oracle"], measured["uniform"], strict=True)
    apart = all(oracle.is_above(uniform) for oracle, uniform in pairs)
    print(f"\nThe oracle's intervals lie {'all' if apart else 'NOT all'} above uniform's.")
    return 0 if apart else 1


if __name__ == "__main__":
    sys.exit(main())
