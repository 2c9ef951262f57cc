"""What a step's groups say, as flat numbers for tracking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from resetrl.interfaces import StepChecker, Task
from resetrl.thoughts import stripped_thoughts
from resetrl.types import Group, Rollout, Sampled, Verdict


def step_metrics(
    sampled: Sampled, advantages: Sequence[Sequence[float]], task: Task, delimiter: str
) -> dict[str, float]:
    """Rewards, group variance, corrections, reset quality and accounting of one step.

    Shares over nothing (no reset group in the step) are left out rather than logged as 0. Parts
    of rollouts that are trained on their own count in no mean over rollouts.
    """
    groups = sampled.groups
    resets = [group for group in groups if group.kind == "reset"]
    trained = [rollout for group in groups for rollout in group.rollouts]
    whole = [rollout for rollout in trained if rollout.completion.is_whole]
    return {
        **sampled.metrics,
        "reward/mean": _mean([v.reward for group in groups for v in _whole_verdicts(group)]),
        **_group_metrics(groups),
        "groups/with_variance": _share(any(row) for row in advantages),
        **_reset_metrics(resets),
        **_localization_metrics(resets, task, delimiter),
        **_shape_metrics(whole),
        **_answer_metrics(sampled),
        **_rollout_accounting(whole, sampled),
    }


def draws_accuracy(draws: Sequence[tuple[Rollout, Verdict]], first_wave: int) -> dict[str, float]:
    """`draws/accuracy` over the first wave of draws, `first_wave` a prompt.

    Later ones were made because those were right: counting them would flatter the policy.
    """
    first = [v for rollout, v in draws if rollout.index < first_wave and not v.error]
    return {"draws/accuracy": _share(verdict.correct for verdict in first)} if first else {}


def _group_metrics(groups: Sequence[Group]) -> dict[str, float]:
    """Accuracy and share with unequal rewards of each kind of group that there is."""
    metrics: dict[str, float] = {}
    for kind in dict.fromkeys(group.kind for group in groups):
        mine = [group for group in groups if group.kind == kind]
        correct = [verdict.correct for group in mine for verdict in _whole_verdicts(group)]
        if correct:
            metrics[f"{kind}/accuracy"] = _share(correct)
        metrics[f"{kind}/with_variance"] = _share(len(set(group.rewards)) > 1 for group in mine)
    return metrics


def _whole_verdicts(group: Group) -> list[Verdict]:
    pairs = zip(group.rollouts, group.verdicts, strict=True)
    return [verdict for rollout, verdict in pairs if rollout.completion.is_whole]


def _reset_metrics(resets: Sequence[Group]) -> dict[str, float]:
    """How often a reset corrects its seed, where it goes back to, how the selector decided."""
    states = [group.reset_state for group in resets if group.reset_state is not None]
    if not states:
        return {}
    depths = [
        (state.selection.thought - 1) / max(len(state.seed.completion.thoughts) - 1, 1)
        for state in states
    ]
    statuses = Counter(state.selection.status for state in states)
    return {
        "reset/corrected": _share(any(v.correct for v in group.verdicts) for group in resets),
        "reset/thought": _mean([float(state.selection.thought) for state in states]),
        "reset/relative_depth": _mean(depths),
        **{f"reset/depth_tenth_{t}": _share(_tenth(d) == t for d in depths) for t in range(10)},
        **{f"localization/{name}": n / len(states) for name, n in sorted(statuses.items())},
    }


def _tenth(depth: float) -> int:
    """The bin of a relative depth in a histogram of ten; depth 1, the last thought, is in bin 9."""
    return min(int(depth * 10), 9)


def _localization_metrics(resets: Sequence[Group], task: Task, delimiter: str) -> dict[str, float]:
    """The chosen thought against the true first wrong one, where the task knows it."""
    if not isinstance(task, StepChecker):
        return {}
    offsets = []
    for group in resets:
        if group.reset_state is None:
            continue
        seed = group.reset_state.seed
        thoughts = stripped_thoughts(seed.completion, delimiter)
        truth = task.first_wrong_thought(seed.prompt.problem, thoughts)
        if truth is not None:
            offsets.append(group.reset_state.selection.thought - truth)
    if not offsets:
        return {}
    return {
        "localization/exact": _share(offset == 0 for offset in offsets),
        "localization/early": _share(offset < 0 for offset in offsets),
        "localization/late": _share(offset > 0 for offset in offsets),
        "localization/clean_prefix": _share(offset <= 0 for offset in offsets),
    }


def _shape_metrics(trained: Sequence[Rollout]) -> dict[str, float]:
    """What completions look like: length, thoughts, fragments, and how they ended."""
    completions = [rollout.completion for rollout in trained]
    thoughts = sum(len(completion.thoughts) for completion in completions)
    stops = Counter(completion.stop for completion in completions)
    return {
        "completion/tokens": _mean([float(len(c.token_ids)) for c in completions]),
        "completion/thoughts": thoughts / len(completions),
        "completion/fragments": sum(c.fragments for c in completions) / max(thoughts, 1),
        **{f"stop/{reason}": count / len(completions) for reason, count in sorted(stops.items())},
    }


def _all_judged(sampled: Sampled) -> list[tuple[Rollout, Verdict]]:
    """Every rollout of the step once, with its verdict: trained, discarded or left out."""
    grouped = [
        pair
        for group in sampled.groups
        for pair in zip(group.rollouts, group.verdicts, strict=True)
    ]
    once = {
        id(rollout): (rollout, v) for rollout, v in (*grouped, *sampled.draws, *sampled.left_out)
    }
    return list(once.values())


def _answer_metrics(sampled: Sampled) -> dict[str, float]:
    """How answers were judged, where the verifier has a word for it, and how often it failed."""
    judged = [pair for pair in _all_judged(sampled) if pair[0].completion.is_whole]
    statuses = Counter(str(v.details["status"]) for _, v in judged if "status" in v.details)
    return {
        **{f"answer/{status}": n / len(judged) for status, n in sorted(statuses.items())},
        "verdict/error": float(sum(bool(verdict.error) for _, verdict in judged)),
    }


def _rollout_accounting(trained: Sequence[Rollout], sampled: Sampled) -> dict[str, float]:
    """Rollouts drawn, trained and discarded, and the tokens drawn for nothing."""
    kept = {id(rollout) for group in sampled.groups for rollout in group.rollouts}
    discarded = [rollout for rollout, _ in _all_judged(sampled) if id(rollout) not in kept]
    num_suffixes = sum(rollout.completion.prefix_len > 0 for rollout in trained)
    return {
        "rollouts/trained": float(len(trained)),
        "rollouts/drawn": float(len(trained) + len(discarded)),
        "rollouts/discarded": float(len(discarded)),
        "rollouts/discarded_tokens": float(sum(r.completion.num_drawn for r in discarded)),
        "rollouts/with_prefix": float(num_suffixes),
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _share(flags: Iterable[bool]) -> float:
    values = list(flags)
    return sum(values) / len(values)
