"""The generation waves of a step: draws, localizations, suffixes.

Everything independent is generated together, over all prompts of the batch, and every random
draw comes from (run seed, step, prompt uid, purpose, index).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from resetrl.ask import choose_resets, judge
from resetrl.errors import TrainingError, list_names
from resetrl.interfaces import Policy, ResetSelector
from resetrl.meter import Meter
from resetrl.method import Method, Session
from resetrl.rng import derive_seed
from resetrl.splits import GroupSplit, SeedPolicy, draws_wanted
from resetrl.types import (
    Completion,
    Group,
    Prefix,
    Prompt,
    Request,
    ResetState,
    Rollout,
    Verdict,
)

Draws = list[tuple[Rollout, Verdict]]
"""Rollouts drawn from one prompt, in drawing order, each with its verdict."""


def usable_failures(draws: Draws) -> list[bool]:
    """Which draws may become seeds: they are wrong and have a thought to go back to."""
    return [
        not verdict.correct and not verdict.error and bool(rollout.completion.thoughts)
        for rollout, verdict in draws
    ]


def draw_rollouts(
    step: int,
    prompts: Sequence[Prompt],
    split: GroupSplit,
    seed_policy: SeedPolicy,
    method: Method,
    session: Session,
    meter: Meter,
) -> list[Draws]:
    """Fresh rollouts of every prompt: one wave, and top-ups for prompts that lack a seed."""
    draws: list[Draws] = [[] for _ in prompts]
    while True:
        wanted = [draws_wanted(split, seed_policy, usable_failures(mine)) for mine in draws]
        if not any(wanted):
            return draws
        origins = [
            (prompts[place], Prefix(), len(draws[place]) + extra)
            for place, count in enumerate(wanted)
            for extra in range(count)
        ]
        judged = iter(sample_wave("draw", step, origins, method, session, meter))
        for mine, count in zip(draws, wanted, strict=True):
            mine += [next(judged) for _ in range(count)]


def select_reset_states(
    step: int,
    seeds: Sequence[Draws],
    selector: ResetSelector | None,
    session: Session,
    meter: Meter,
) -> list[list[ResetState]]:
    """For each prompt the reset states of its seeds, chosen for all prompts at once."""
    flat = [seed for mine in seeds for seed in mine]
    if selector is None:
        return [[] for _ in seeds]
    with meter.phase("localize"):
        selections = choose_resets(
            selector, [rollout for rollout, _ in flat], session.selector_context(step)
        )
    states = [
        ResetState(rollout, verdict, selection)
        for (rollout, verdict), selection in zip(flat, selections, strict=True)
    ]
    remaining = iter(states)
    return [[next(remaining) for _ in mine] for mine in seeds]


def sample_suffixes(
    step: int,
    reset_states: Sequence[Sequence[ResetState]],
    sizes: Sequence[Sequence[int]],
    method: Method,
    session: Session,
    meter: Meter,
) -> list[list[Group]]:
    """For each prompt its reset groups: suffixes of each reset state, all in one wave."""
    origins = [
        (state.seed.prompt, state.prefix, sum(mine_sizes[:place]) + index)
        for mine, mine_sizes in zip(reset_states, sizes, strict=True)
        for place, state in enumerate(mine)
        for index in range(mine_sizes[place])
    ]
    judged = iter(sample_wave("suffix", step, origins, method, session, meter))
    return [
        [_reset_group(state, size, judged) for state, size in zip(mine, mine_sizes, strict=True)]
        for mine, mine_sizes in zip(reset_states, sizes, strict=True)
    ]


def _reset_group(state: ResetState, size: int, judged: Iterator[tuple[Rollout, Verdict]]) -> Group:
    rollouts, verdicts = zip(*(next(judged) for _ in range(size)), strict=True)
    return Group("reset", rollouts, verdicts, state)


def sample_wave(
    purpose: str,
    step: int,
    origins: Sequence[tuple[Prompt, Prefix, int]],
    method: Method,
    session: Session,
    meter: Meter,
) -> Draws:
    """`generate_wave`, and the verdicts of its rollouts."""
    return judge(generate_wave(purpose, step, origins, method, session, meter), session, meter)


def generate_wave(
    purpose: str,
    step: int,
    origins: Sequence[tuple[Prompt, Prefix, int]],
    method: Method,
    session: Session,
    meter: Meter,
) -> list[Rollout]:
    """Generate from every origin (prompt, prefix, index) in one call.

    `purpose` names the phase in the ledger; with the run seed, the step, the prompt's uid and the
    index it also seeds the draws, so an index must not come twice for a prompt and purpose.
    """
    if not origins:
        return []
    requests = [
        Request(
            prompt_ids=prompt.token_ids,
            rng_seed=derive_seed(session.run_seed, step, prompt.uid, purpose, index),
            sampling=method.sampling,
            limits=method.limits,
            prefix=prefix,
        )
        for prompt, prefix, index in origins
    ]
    with meter.phase(purpose):
        completions = session.policy.generate(requests)
    _refuse_empty(completions, origins, session.policy)
    return [
        Rollout(prompt, completion, index)
        for (prompt, _, index), completion in zip(origins, completions, strict=True)
    ]


def _refuse_empty(
    completions: Sequence[Completion],
    origins: Sequence[tuple[Prompt, Prefix, int]],
    policy: Policy,
) -> None:
    """A policy draws one token at least, be it EOS: none is a prompt that left it no room."""
    empty = [
        origin[0].uid
        for origin, completion in zip(origins, completions, strict=True)
        if not completion.num_drawn
    ]
    if empty:
        raise TrainingError(
            f"policy {type(policy).__name__} returned {len(empty)} empty completions (of prompt "
            f"{list_names(empty)}): see whether prompt and thought fit its context, and what its "
            "engine says",
            policy,
        )
