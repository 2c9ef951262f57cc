"""From the groups of a step to its optimizer steps: one, or several mini-batches and epochs."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING

from resetrl.errors import TrainingError
from resetrl.mismatch import first_update, is_largest, with_mismatch
from resetrl.rng import derive_seed
from resetrl.types import Group, Update

if TYPE_CHECKING:
    from resetrl.meter import Work
    from resetrl.method import Method, Session


@dataclass
class Updates:
    """How often the rollouts of one step train the policy; once, all together, by default.

    mini_batches: parts of nearly as many prompts each, with one optimizer step a part; what a
        loss averages over, rollouts and tokens, is the part.
    epochs: passes over the rollouts, each with its own shuffle of the prompts into parts.

    From the second optimizer step on the policy is no longer the one that drew the rollouts:
    `clipped` weighs that by its ratio, `suffix_mean` does not.
    """

    mini_batches: int = 1
    epochs: int = 1

    def __post_init__(self) -> None:
        if self.mini_batches < 1 or self.epochs < 1:
            raise ValueError(
                f"updates.mini_batches={self.mini_batches}, epochs={self.epochs}: both must be at "
                "least 1"
            )


def train(
    step: int,
    groups: Sequence[Group],
    advantages: Sequence[Sequence[float]],
    method: Method,
    session: Session,
    work: Work,
) -> Update:
    """All optimizer steps of a training step; loss, norm and metrics are means over them.

    `advantages[g][i]` belongs to `groups[g].rollouts[i]`. The groups are this rank's; mini-batches
    are parts of the prompts of all, and what a loss averages over is the whole of a part. `work`
    gets the tokens that this rank computed. Raises `resetrl.errors.TrainingError`
    if loss or gradient is not finite, and says whether parameters have changed before.
    """
    from resetrl.batch import build_batch  # torch: a configuration needs none

    rows = list(zip(groups, advantages, strict=True))
    ranks = session.ranks
    uids = ranks.join([group.prompt.uid for group in groups])
    parts = parts_of(step, uids, method.updates, session.run_seed)
    updates: list[Update] = []
    for part in parts:
        chosen = [row for row in rows if row[0].prompt.uid in part]
        batch = build_batch(
            [group for group, _ in chosen],
            [values for _, values in chosen],
            temperature=method.sampling.temperature,
            mask_prefix=method.mask_prefix,
        )
        batch = replace(
            batch,
            num_rollouts=ranks.total(batch.num_rollouts),
            num_loss_tokens=ranks.total(batch.num_loss_tokens),
        )
        try:
            if updates:
                mine = session.learner.update(batch, method.loss)
            else:
                mine = first_update(batch, method.loss, session.learner)
        except TrainingError as error:
            if not updates:
                raise
            raise TrainingError(
                f"{error} (optimizer step {len(updates) + 1} of {len(parts)} of training step "
                f"{step}; those before it have changed the parameters: go on from a checkpoint)",
                error.component,
            ) from error
        work.learned_tokens += mine.learned_tokens
        work.scored_tokens += mine.scored_tokens
        updates.append(with_mismatch(summed_update(ranks.gather(mine))))
    return mean_update(updates)


def parts_of(
    step: int, uids: Sequence[str], updates: Updates, run_seed: int
) -> list[frozenset[str]]:
    """The prompts of each optimizer step, epoch after epoch; a prompt may be named repeatedly.

    Their sizes differ by one at most. Example: 5 prompts in 2 mini-batches are 3 and 2 prompts.
    """
    prompts = list(dict.fromkeys(uids))
    parts: list[frozenset[str]] = []
    for epoch in range(updates.epochs):
        order = list(prompts)
        random.Random(derive_seed(run_seed, step, "mini_batches", epoch)).shuffle(order)
        split = [order[first :: updates.mini_batches] for first in range(updates.mini_batches)]
        parts += [frozenset(part) for part in split if part]
    return parts


def summed_update(shares: Sequence[Update]) -> Update:
    """One optimizer step of the ranks' shares; the gradient norm is that of all already."""
    names = dict.fromkeys(name for share in shares for name in share.metrics)
    return Update(
        loss=sum(share.loss for share in shares),
        grad_norm=shares[0].grad_norm,
        metrics={
            name: (max if is_largest(name) else sum)(
                share.metrics[name] for share in shares if name in share.metrics
            )
            for name in names
        },
        learned_tokens=sum(share.learned_tokens for share in shares),
        scored_tokens=sum(share.scored_tokens for share in shares),
    )


def mean_update(updates: Sequence[Update]) -> Update:
    """One record of several optimizer steps: means, but sums of the tokens that were computed.

    The mean of a metric is over the steps that report it. `learner/optimizer_steps` counts the
    steps taken: one without any advantage to learn from is left out.
    """
    names = dict.fromkeys(name for update in updates for name in update.metrics)
    metrics = {
        name: fmean(update.metrics[name] for update in updates if name in update.metrics)
        for name in names
    }
    taken = sum(update.learned_tokens > 0 for update in updates)
    return Update(
        loss=fmean(update.loss for update in updates),
        grad_norm=fmean(update.grad_norm for update in updates),
        metrics={**metrics, "learner/optimizer_steps": float(taken)},
        learned_tokens=sum(update.learned_tokens for update in updates),
        scored_tokens=sum(update.scored_tokens for update in updates),
    )
