"""What every component of a kind must do, as functions that raise AssertionError.

A contract is a tuple of checks, one idea each, in the module named after the kind; the name of a
check says what it asks for. `resetrl plugins check` shows them one by one, a plugin's own test
needs one line: `check_reset_selector(LeastConfident())`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from resetrl.plugins import KINDS

if TYPE_CHECKING:
    from resetrl.interfaces import (
        Engine,
        LearnerSpec,
        Loss,
        ResetSelector,
        Sampler,
        Task,
        Verifier,
    )
    from resetrl.splits import GroupSplit

Check = Callable[[Any], None]


def contract_for(kind: str) -> tuple[Check, ...]:
    """The checks of a kind such as `reset_selector`; the modules with torch load only here."""
    if kind not in KINDS:
        raise ValueError(f"no contract for {kind!r}: choose {', '.join(KINDS)}")
    checks: tuple[Check, ...] = importlib.import_module(f"{__name__}.{kind}").CHECKS
    return checks


def title(check: Check) -> str:
    """What a check asks for: `names_a_thought_of_the_seed` as `names a thought of the seed`."""
    return check.__name__.replace("_", " ")


def check_reset_selector(component: ResetSelector) -> None:
    """One selection a seed, within it, the same in any order and for any reply of the policy."""
    _run_all("reset_selector", component)


def check_verifier(component: Verifier) -> None:
    """One verdict a rollout, a reward in [0, 1], whatever the completion looks like."""
    _run_all("verifier", component)


def check_split(component: GroupSplit) -> None:
    """Groups that can be compared, and the whole budget trained whatever the draws come to."""
    _run_all("split", component)


def check_sampler(component: Sampler) -> None:
    """Groups of every prompt, the same in any batch, with all that it asked in the ledger."""
    _run_all("sampler", component)


def check_loss(component: Loss) -> None:
    """A finite scalar whose gradient obeys mask and advantages and no micro-batch can change."""
    _run_all("loss", component)


def check_task(component: Task) -> None:
    """Fixed, unique, disjoint problems with a verifier that accepts their references."""
    _run_all("task", component)


def check_engine(component: Engine) -> None:
    """The same tokens and log-probabilities alone and in any batch, exact stops and counters."""
    _run_all("engine", component)


def check_learner(component: LearnerSpec) -> None:
    """Updates that no micro-batch changes, exact checkpoints, no step on what is not finite."""
    _run_all("learner", component)


def _run_all(kind: str, component: object) -> None:
    for check in contract_for(kind):
        try:
            check(component)
        except AssertionError as error:
            error.add_note(f"{kind} {component!r}: the contract's check {title(check)!r}")
            raise
