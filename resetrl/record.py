"""From what each rank did in a step to one record of it, alike on all ranks.

Metrics are computed from the groups of all ranks, not averaged over them, so that they are those
of one process with all prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from resetrl.method import Session
from resetrl.metrics import step_metrics
from resetrl.types import PhaseUsage, Sampled, StepRecord, Update


@dataclass(frozen=True)
class Share:
    """What one rank did in a step; `advantages` are those of the groups it sampled."""

    sampled: Sampled
    advantages: Sequence[Sequence[float]]
    phases: Mapping[str, PhaseUsage]
    sync_metrics: Mapping[str, float]


def whole_record(step: int, share: Share, update: Update, session: Session) -> StepRecord:
    """The record of the step: all ranks' groups in the order of their prompts, and what it cost.

    A phase took as long as it took the slowest rank; its tokens are those of all. What a sampler
    or a sync measures itself is the mean over ranks, and the largest.
    """
    shares = session.ranks.gather(share)
    groups = [group for each in shares for group in each.sampled.groups]
    advantages = [row for each in shares for row in each.advantages]
    sampled = Sampled(
        groups=groups,
        draws=[draw for each in shares for draw in each.sampled.draws],
        metrics=_combined([each.sampled.metrics for each in shares], fmean),
        left_out=[pair for each in shares for pair in each.sampled.left_out],
    )
    metrics = {
        **step_metrics(sampled, advantages, session.task, session.delimiter),
        **_combined([each.sync_metrics for each in shares], max),
    }
    phases = combined_phases([each.phases for each in shares])
    return StepRecord(step, groups, advantages, sampled.draws, update, phases, metrics)


def combined_phases(
    of_ranks: Sequence[Mapping[str, PhaseUsage]],
) -> dict[str, PhaseUsage]:
    """The ledger of all ranks: sums, but the seconds of the slowest."""
    names = dict.fromkeys(name for phases in of_ranks for name in phases)
    return {
        name: _combined_usage([phases[name] for phases in of_ranks if name in phases])
        for name in names
    }


def _combined_usage(usages: Sequence[PhaseUsage]) -> PhaseUsage:
    return PhaseUsage(
        requests=sum(usage.requests for usage in usages),
        prompt_tokens=sum(usage.prompt_tokens for usage in usages),
        cached_tokens=sum(usage.cached_tokens for usage in usages),
        generated_tokens=sum(usage.generated_tokens for usage in usages),
        seconds=max(usage.seconds for usage in usages),
        flops=sum(usage.flops for usage in usages),
        learned_tokens=sum(usage.learned_tokens for usage in usages),
    )


def _combined(
    of_ranks: Sequence[Mapping[str, float]], how: Callable[[Sequence[float]], float]
) -> dict[str, float]:
    """Each metric over the ranks that report it."""
    names = dict.fromkeys(name for metrics in of_ranks for name in metrics)
    return {name: how([m[name] for m in of_ranks if name in m]) for name in names}
