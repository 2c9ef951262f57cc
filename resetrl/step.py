"""One training step, top to bottom: the page to read first.

A sampler turns prompts into groups of judged rollouts; rewards are compared inside each group,
and one masked loss trains the policy on them. The sampler of the method itself is `Resets`:
every prompt gets fresh draws; a failed draw becomes a seed; the reset selector says before which
of its thoughts to go back; suffixes are sampled from there and alone are trained (Samanta et al.,
arXiv 2605.25507, sec. 3). GRPO, RRPO, SRPO and the oracle differ in its split and selector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from resetrl.advantages import group_advantages
from resetrl.interfaces import ResetSelector
from resetrl.meter import Meter
from resetrl.method import Method, Session
from resetrl.metrics import draws_accuracy
from resetrl.record import Share, whole_record
from resetrl.splits import GroupSplit, SeedPolicy, assign, draws_wanted
from resetrl.sync import rest, synchronise
from resetrl.types import Group, Prompt, Sampled, StepRecord
from resetrl.updates import train
from resetrl.verification import without_errors
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
    """Sample, compare, train; returns everything that happened.

    In a run of several processes `prompts` are this rank's, and the record is that of all.

    Raises `resetrl.errors.TrainingError` if a component breaks its contract or the loss is not
    finite; the parameters are then unchanged, but for optimizer steps that were taken before.
    Raises SyncError if the new parameters did not arrive at the policy.
    """
    learner = session.learner
    meter = Meter(session.policy.counters, learner.num_parameters, learner.num_trained_parameters)

    # Prompts -> groups of rollouts with their verdicts.
    sampled = method.sampler.sample(step, prompts, method, session, meter)
    sampled = without_errors(sampled, session.ranks)

    # Rewards -> advantages, compared only inside a group.
    advantages = [_advantages(group, method) for group in sampled.groups]

    # Masked loss -> optimizer steps: one over all rollouts, or several over parts of them.
    with meter.phase("learn") as work:
        rest(session)
        update = train(step, sampled.groups, advantages, method, session, work)

    # New parameters -> the policy, with a probe that they arrived.
    with meter.phase("sync"):
        sync_metrics = synchronise(session)

    # What each rank did -> one record of the step.
    share = Share(sampled, advantages, meter.usage(), sync_metrics)
    return whole_record(step, share, update, session)


@dataclass(frozen=True)
class Resets:
    """Groups of fresh rollouts and of suffixes behind the reset states of failed ones.

    Without reset groups in the split this is GRPO, and no selector is needed.
    """

    split: GroupSplit
    seeds: SeedPolicy
    selector: ResetSelector | None

    @property
    def budget(self) -> int:
        return self.split.budget

    def sample(
        self, step: int, prompts: Sequence[Prompt], method: Method, session: Session, meter: Meter
    ) -> Sampled:
        # Prompts -> base rollouts and their verdicts, drawn on until each prompt has its seeds.
        draws = draw_rollouts(step, prompts, self.split, self.seeds, method, session, meter)

        # Failed draws -> seeds -> reset states, all prompts in one wave.
        plans = [assign(self.split, self.seeds, usable_failures(mine)) for mine in draws]
        seeds = [[mine[i] for i in plan.seeds] for mine, plan in zip(draws, plans, strict=True)]
        reset_states = select_reset_states(step, seeds, self.selector, session, meter)

        # Reset states -> suffixes and their verdicts, in one wave.
        sizes = [plan.reset_sizes for plan in plans]
        reset_groups = sample_suffixes(step, reset_states, sizes, method, session, meter)

        groups: list[Group] = []
        for mine, plan, resets in zip(draws, plans, reset_groups, strict=True):
            groups += [*_base_group(mine, plan.base), *resets]
        drawn = [draw for mine in draws for draw in mine]
        first_wave = draws_wanted(self.split, self.seeds, [])
        return Sampled(groups, drawn, draws_accuracy(drawn, first_wave))


def _base_group(draws: Draws, chosen: Sequence[int]) -> list[Group]:
    """The base group of a prompt, or none where the split has only reset groups."""
    if not chosen:
        return []
    rollouts, verdicts = zip(*(draws[i] for i in chosen), strict=True)
    return [Group("base", rollouts, verdicts)]


def _advantages(group: Group, method: Method) -> list[float]:
    rewards = group.shaped_rewards
    if rewards is None:
        rewards = tuple(method.rewards(group.verdicts))
    return group_advantages(rewards, method.advantage)
