"""One training step, top to bottom: the page to read first.

Every prompt gets fresh draws; a failed draw becomes a seed; the reset selector says before which
of its thoughts to go back; suffixes are sampled from there; rewards are compared inside each
group, and only the tokens behind a group's common prefix are trained (Samanta et al.,
arXiv 2605.25507, sec. 3). GRPO, RRPO, SRPO and the oracle differ in their `Method` alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from resetrl.advantages import binarise, group_advantages
from resetrl.batch import build_batch
from resetrl.meter import Meter
from resetrl.method import Method, Session
from resetrl.metrics import step_metrics
from resetrl.splits import assign, draws_wanted
from resetrl.types import Group, Prompt, StepRecord
from resetrl.waves import (
    Draws,
    draw_rollouts,
    sample_suffixes,
    select_reset_states,
    usable_failures,
)


def train_step(
    step: int, prompts: Sequence[Prompt], method: Method, session: Session
) -> StepRecord:
    """Sample, compare, train once; returns everything that happened.

    Raises `resetrl.errors.TrainingError`, with the parameters unchanged, if a component breaks
    its contract or the loss is not finite.
    """
    meter = Meter(session.policy.counters, session.learner.num_parameters)

    # Prompts -> base rollouts and their verdicts, drawn on until each prompt has its seeds.
    draws = draw_rollouts(step, prompts, method, session, meter)

    # Failed draws -> seeds -> reset states, all prompts in one wave.
    plans = [assign(method.split, method.seeds, usable_failures(mine)) for mine in draws]
    seeds = [[mine[i] for i in plan.seeds] for mine, plan in zip(draws, plans, strict=True)]
    reset_states = select_reset_states(step, seeds, method, session, meter)

    # Reset states -> suffixes and their verdicts, in one wave.
    sizes = [plan.reset_sizes for plan in plans]
    reset_groups = sample_suffixes(step, reset_states, sizes, method, session, meter)

    # Rewards -> advantages, compared only inside a group.
    groups: list[Group] = []
    for mine, plan, resets in zip(draws, plans, reset_groups, strict=True):
        groups += [*_base_group(mine, plan.base), *resets]
    advantages = [_advantages(group, method) for group in groups]

    # Masked loss over the whole step -> one optimizer step.
    batch = build_batch(
        groups,
        advantages,
        temperature=method.sampling.temperature,
        mask_prefix=method.mask_prefix,
    )
    with meter.phase("learn", learned_tokens=int(batch.attention_mask.sum())):
        update = session.learner.update(batch, method.loss)

    drawn = [draw for mine in draws for draw in mine]
    first_wave = draws_wanted(method.split, method.seeds, [])
    metrics = step_metrics(groups, advantages, drawn, session.task, session.delimiter, first_wave)
    return StepRecord(step, groups, advantages, drawn, update, meter.usage(), metrics)


def _base_group(draws: Draws, chosen: Sequence[int]) -> list[Group]:
    """The base group of a prompt, or none where the split has only reset groups."""
    if not chosen:
        return []
    rollouts, verdicts = zip(*(draws[i] for i in chosen), strict=True)
    return [Group("base", rollouts, verdicts)]


def _advantages(group: Group, method: Method) -> list[float]:
    rewards = binarise(group.rewards) if method.binarise_rewards else group.rewards
    return group_advantages(rewards, method.advantage)
