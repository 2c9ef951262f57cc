"""The contract of reset selectors."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from resetrl.interfaces import ResetSelector
from resetrl.testing.contracts._require import require
from resetrl.testing.fakes import ScriptedPolicy, make_context, make_prompt, make_rollout
from resetrl.types import Rollout, Selection

_PROMPT = make_prompt("1+1", "2", "problem-1")

SEEDS = (
    make_rollout(["\\boxed{3!}"]),
    make_rollout(["3+4=7", "7*6=3!", "\\boxed{3}"]),
    make_rollout(["3+4=7", "7*6=2", "2+1=3"], stop="max_thoughts"),
    make_rollout(["3!", "", "+", "7*6=2", "\\boxed{5}<eos>"], prompt=_PROMPT),
    make_rollout(
        ["1+1=2", "2!"],
        prompt=_PROMPT,
        logprobs=[-0.1, -2.0, -0.1, -0.3, 0.0, 0.0, -9.0, -1.0, 0.0],
    ),
)
"""Failures of one to five thoughts; the first three and the last two share a prompt."""

_REPLIES = (
    "\\boxed{1}",
    "",
    "\\boxed{0}",
    "\\boxed{99}",
    "\\boxed{x}",
    "Step 7 is wrong",
    "\\boxed{",
)


def gives_one_selection_a_seed(selector: ResetSelector) -> None:
    for selection in _select(selector, SEEDS):
        require(
            isinstance(selection, Selection) and bool(selection.status),
            f"{selection!r} is no resetrl.types.Selection with a status",
        )


def gives_no_selection_for_no_seed(selector: ResetSelector) -> None:
    _select(selector, [])


def names_a_thought_of_the_seed(selector: ResetSelector) -> None:
    for reply in _REPLIES:
        policy = ScriptedPolicy(lambda _, reply=reply: [reply])  # type: ignore[misc]
        for seed, chosen in zip(SEEDS, _select(selector, SEEDS, policy), strict=True):
            num_thoughts = len(seed.completion.thoughts)
            require(
                type(chosen.thought) is int and 1 <= chosen.thought <= num_thoughts,
                f"thought {chosen.thought!r} was chosen in a seed of {num_thoughts} thoughts: "
                f"choose an integer from 1 to {num_thoughts} (1 is the bare prompt)"
                + (f"; the policy had replied {reply!r}" if policy.requests else ""),
            )


def chooses_the_same_for_the_same_rng_seed(selector: ResetSelector) -> None:
    first, second = _select(selector, SEEDS), _select(selector, SEEDS)
    require(
        first == second,
        f"two calls gave {_thoughts(first)} and {_thoughts(second)}: draw only from "
        "random.Random(context.rng_seed(seed, purpose)) and keep no state",
    )


def chooses_the_same_in_any_order_and_alone(selector: ResetSelector) -> None:
    together = _select(selector, SEEDS)
    reverse = _select(selector, SEEDS[::-1])[::-1]
    alone = [_select(selector, [seed])[0] for seed in SEEDS]
    for other, how in ((reverse, "in reverse order"), (alone, "one by one")):
        require(
            together == other,
            f"the same seeds gave {_thoughts(together)} together and {_thoughts(other)} {how}: "
            "let each choice depend on its own seed only",
        )


def changes_neither_seeds_nor_options(selector: ResetSelector) -> None:
    seeds, before = list(SEEDS), copy.deepcopy(selector)
    _select(selector, seeds)
    require(seeds == list(SEEDS), "the list of seeds was changed: sort or filter a copy")
    require(selector == before, f"its options changed from {before!r} to {selector!r}")


CHECKS = (
    gives_one_selection_a_seed,
    gives_no_selection_for_no_seed,
    names_a_thought_of_the_seed,
    chooses_the_same_for_the_same_rng_seed,
    chooses_the_same_in_any_order_and_alone,
    changes_neither_seeds_nor_options,
)


def _select(
    selector: ResetSelector, seeds: Sequence[Rollout], policy: ScriptedPolicy | None = None
) -> list[Selection]:
    selections = selector.select(seeds, make_context(policy))
    require(
        len(selections) == len(seeds),
        f"{len(seeds)} seeds gave {len(selections)} selections: return one a seed, in order",
    )
    return selections


def _thoughts(selections: list[Selection]) -> list[int]:
    return [selection.thought for selection in selections]
