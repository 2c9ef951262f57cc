"""From groups to the tensors of the loss."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from resetrl.types import Group, TokenBatch


def build_batch(
    groups: Sequence[Group],
    advantages: Sequence[Sequence[float]],
    *,
    temperature: float,
    mask_prefix: bool = True,
    pad_id: int = 0,
) -> TokenBatch:
    """All rollouts of all groups as one `TokenBatch` [R, T], in the order of the groups.

    Without groups it has no rows, which a rank may have that has no prompt in a mini-batch.

    The loss mask of rollout i is true on its completion tokens at or after its prefix end s_i
    (base rollouts: s_i = 0); with `mask_prefix=False` the prefix is trained too, which is the
    no-mask ablation. Example: a prompt of 2 tokens, a prefix of 3 and a suffix of 2 give the
    mask 0 0 0 0 0 1 1.
    """
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    flat_advantages = [advantage for row in advantages for advantage in row]
    if len(flat_advantages) != len(rollouts):
        raise ValueError(
            f"{len(rollouts)} rollouts but {len(flat_advantages)} advantages: give one a rollout"
        )
    lengths = [len(r.prompt.token_ids) + len(r.completion.token_ids) for r in rollouts]
    shape = (len(rollouts), max(lengths, default=0))
    token_ids = torch.full(shape, pad_id, dtype=torch.int64)
    attention_mask = torch.zeros(shape, dtype=torch.bool)
    loss_mask = torch.zeros(shape, dtype=torch.bool)
    old_logprobs = torch.zeros(shape, dtype=torch.float32)
    for row, (rollout, length) in enumerate(zip(rollouts, lengths, strict=True)):
        start = len(rollout.prompt.token_ids)
        completion = rollout.completion
        token_ids[row, :length] = torch.tensor(rollout.prompt.token_ids + completion.token_ids)
        attention_mask[row, :length] = True
        loss_mask[row, start + (completion.prefix_len if mask_prefix else 0) : length] = True
        old_logprobs[row, start:length] = torch.tensor(completion.logprobs)
    return TokenBatch(
        token_ids=token_ids,
        attention_mask=attention_mask,
        loss_mask=loss_mask,
        old_logprobs=old_logprobs,
        advantages=torch.tensor(flat_advantages, dtype=torch.float32),
        temperature=temperature,
        num_rollouts=len(rollouts),
        num_loss_tokens=int(loss_mask.sum()),
        uids=tuple(rollout.prompt.uid for rollout in rollouts),
        roles=tuple(rollout.role for rollout in rollouts),
    )


def take_rows(batch: TokenBatch, rows: Tensor) -> TokenBatch:
    """The given rows, trimmed to the longest of them; the counts stay those of the whole step."""
    width = int(batch.attention_mask[rows].sum(dim=1).max())
    reference = batch.reference_logprobs
    return dataclasses.replace(
        batch,
        token_ids=batch.token_ids[rows, :width],
        attention_mask=batch.attention_mask[rows, :width],
        loss_mask=batch.loss_mask[rows, :width],
        old_logprobs=batch.old_logprobs[rows, :width],
        reference_logprobs=None if reference is None else reference[rows, :width],
        advantages=batch.advantages[rows],
        uids=tuple(batch.uids[int(row)] for row in rows),
        roles=tuple(batch.roles[int(row)] for row in rows),
    )
