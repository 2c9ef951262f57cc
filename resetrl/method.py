"""What a step is given: the method (an algorithm's components) and the session it works in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from resetrl.advantages import Scale
from resetrl.interfaces import (
    Learner,
    Loss,
    Policy,
    ResetSelector,
    SelectorContext,
    Task,
    Verifier,
)
from resetrl.splits import GroupSplit, SeedPolicy
from resetrl.types import Limits, Sampling


@dataclass(frozen=True)
class Method:
    """The components and options that make an algorithm.

    `advantage` scales rewards inside a group; `binarise_rewards` holds for every split alike;
    `mask_prefix=False` also trains the prefix of a reset group (the no-mask ablation).
    """

    split: GroupSplit
    seeds: SeedPolicy
    selector: ResetSelector | None
    loss: Loss
    advantage: Scale
    binarise_rewards: bool
    mask_prefix: bool
    sampling: Sampling
    limits: Limits


@dataclass(frozen=True)
class Session:
    """What a step works with besides: the model as policy and as learner, the judge, the seed.

    `selector_context(step)` is what the reset selector may use in that step.
    """

    policy: Policy
    learner: Learner
    verifier: Verifier
    task: Task
    delimiter: str
    run_seed: int
    selector_context: Callable[[int], SelectorContext]
