"""The contract of group splits."""

from __future__ import annotations

import itertools

from resetrl.splits import SEED_CHOICES, GroupSplit, SeedPolicy, assign, draws_wanted
from resetrl.testing.contracts._require import require


def has_groups_that_can_be_compared(split: GroupSplit) -> None:
    sizes = (split.base, *split.resets)
    require(
        all(type(size) is int for size in sizes) and isinstance(split.resets, tuple),
        f"base={split.base!r}, resets={split.resets!r}: give an int and a tuple of ints",
    )
    require(
        split.base != 1 and split.base >= 0 and all(size >= 2 for size in split.resets),
        f"base={split.base}, resets={split.resets}: a group of one has nothing to compare with",
    )


def has_a_budget_that_adds_up(split: GroupSplit) -> None:
    expected = split.base + sum(split.resets)
    require(
        split.budget == expected > 0,
        f"budget is {split.budget}, but base={split.base}, resets={split.resets} make {expected}",
    )


def trains_the_whole_budget_whatever_the_draws(split: GroupSplit) -> None:
    """Every pattern of failures among the first 8 draws, repeated, under both seed policies."""
    for choice in SEED_CHOICES:
        policy = SeedPolicy(choice=choice)
        for pattern in itertools.product((False, True), repeat=8):
            failures = _draw(split, policy, pattern)
            chosen = assign(split, policy, failures)
            trained = len(chosen.base) + sum(chosen.reset_sizes)
            require(
                trained == split.budget,
                f"{trained} of {split.budget} rollouts are trained with seed choice {choice!r} "
                f"when the draws fail as {failures}",
            )


CHECKS = (
    has_groups_that_can_be_compared,
    has_a_budget_that_adds_up,
    trains_the_whole_budget_whatever_the_draws,
)


def _draw(split: GroupSplit, policy: SeedPolicy, pattern: tuple[bool, ...]) -> list[bool]:
    """The outcomes of all draws asked for, where draw i fails as the pattern says."""
    outcomes = itertools.cycle(pattern)
    failures: list[bool] = []
    while wanted := draws_wanted(split, policy, failures):
        failures += itertools.islice(outcomes, wanted)
        most = max(policy.max_draws, 0) + split.budget
        require(len(failures) <= most, f"{len(failures)} draws are asked for: {most} must do")
    return failures
