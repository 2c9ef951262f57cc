"""How a prompt's rollout budget divides into groups, and which draws become what.

A split is data: a base group and a list of reset groups. The functions here turn the outcomes of
the draws so far into the number of draws still wanted, and at the end into the base group and the
seeds. They know nothing of models, so every rule is a literal test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

SEED_CHOICES = ("independent", "reference")


@dataclass
class GroupSplit:
    """Divides a prompt's rollout budget: `base` fresh rollouts and reset groups of given sizes.

    `GroupSplit(4, [4])` is the paper's 1x4 split, `GroupSplit(8, [])` plain GRPO.
    """

    base: int
    resets: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        self.resets = tuple(self.resets)
        sizes = (self.base, *self.resets)
        if self.base < 0 or any(size < 2 for size in self.resets) or self.base == 1:
            raise ValueError(
                f"split {sizes}: a group compares its rollouts, so the base size must be 0 or at "
                "least 2 and every reset size at least 2"
            )
        if not self.budget:
            raise ValueError("split (0,): give a base group, reset groups, or both")

    @property
    def budget(self) -> int:
        """Rollouts trained a prompt."""
        return self.base + sum(self.resets)


@dataclass
class SeedPolicy:
    """Which draws become seeds and which the base group.

    choice: `independent` takes the first draws as the base group whatever their outcome (i.i.d.)
        and the first failures among all draws as seeds; `reference` does as the released code
        does: the first failures become seeds and are in no group, so that the base group is
        conditioned on outcomes (its accuracy .5 becomes .617).
    max_draws: draws a prompt at most while a failure is being looked for.
    first_wave: draws of the first wave at least, for splits that need fewer.
    top_up: draws added at once for a prompt that still lacks a failure; fewer, larger waves cost
        more discarded draws and less waiting. With both at 1 no more is drawn than the released
        code would; top_up 8 leaves one top-up wave at most below a cap of 12.
    """

    choice: str = "independent"
    max_draws: int = 12
    first_wave: int = 4
    top_up: int = 8

    def __post_init__(self) -> None:
        if self.choice not in SEED_CHOICES:
            raise ValueError(
                f"seed_policy.choice is {self.choice!r}: choose {' or '.join(SEED_CHOICES)}"
            )
        for name in ("max_draws", "first_wave", "top_up"):
            if getattr(self, name) < 1:
                raise ValueError(f"seed_policy.{name} is {getattr(self, name)}: choose at least 1")


class Assignment(NamedTuple):
    """Indices of draws: the base group's, and one seed for each reset group that has one."""

    base: tuple[int, ...]
    seeds: tuple[int, ...]
    reset_sizes: tuple[int, ...]


def draws_wanted(split: GroupSplit, policy: SeedPolicy, usable_failures: Sequence[bool]) -> int:
    """Draws to add for a prompt whose draws so far are given; 0 when there are enough.

    `usable_failures[i]` is true if draw i failed and has a thought to go back to. Only draws that
    are surely needed are asked for, but while only seeds are missing at least `first_wave`, and
    later `top_up`, of them.
    """
    drawn = len(usable_failures)
    found = min(sum(usable_failures), len(split.resets))
    missing_seeds = len(split.resets) - found
    others = drawn - found if policy.choice == "reference" else drawn
    missing_base = max(split.base - others, 0)
    if missing_seeds and drawn < policy.max_draws:
        if policy.choice == "reference":
            needed = missing_base + missing_seeds
        else:
            needed = max(missing_base, missing_seeds)
        spare = policy.top_up if drawn else policy.first_wave
        floor = needed if missing_base else spare
        return min(max(needed, floor), policy.max_draws - drawn)
    return max(_base_size(split, found) - others, 0)


def assign(split: GroupSplit, policy: SeedPolicy, usable_failures: Sequence[bool]) -> Assignment:
    """The base group and the seeds among a prompt's draws.

    Reset groups that found no seed add their size to the base group, so the budget is kept and
    no failure is thrown away; with no seed at all the prompt is a plain GRPO group.
    """
    seeds = tuple(i for i, failed in enumerate(usable_failures) if failed)[: len(split.resets)]
    free = [
        i for i in range(len(usable_failures)) if policy.choice == "independent" or i not in seeds
    ]
    return Assignment(
        base=tuple(free[: _base_size(split, len(seeds))]),
        seeds=seeds,
        reset_sizes=split.resets[: len(seeds)],
    )


def _base_size(split: GroupSplit, seeds_found: int) -> int:
    return split.base + sum(split.resets[seeds_found:])
