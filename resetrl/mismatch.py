"""How far the engine's log-probabilities are from the learner's when an optimizer step starts.

They are of the same parameters, so whatever they differ by is the engine's arithmetic: another
kernel, another dtype, a stale cache. Nothing is computed for it but a few sums over the
log-probabilities that the loss is given anyway.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from resetrl.errors import blaming
from resetrl.interfaces import Learner, Loss
from resetrl.types import TokenBatch, Update

if TYPE_CHECKING:
    from torch import Tensor

_SUMS = tuple(f"mismatch/sum_{name}" for name in ("tokens", "k3", "ratios", "squares"))
"""Sums over the loss tokens, which add up over micro-batches and ranks as a loss's metrics do."""


_LARGEST = "mismatch/max_ratio"


def first_update(batch: TokenBatch, loss: Loss, learner: Learner) -> Update:
    """An optimizer step with parameters as the engine has them; its metrics hold this rank's share
    of the mismatch, from which `with_mismatch` computes that of all ranks.
    """
    watched = _Watched(loss)
    update = learner.update(batch, watched)
    if not watched.max_ratio:
        return update
    return dataclasses.replace(update, metrics={**update.metrics, _LARGEST: watched.max_ratio})


def is_largest(name: str) -> bool:
    """Whether a metric of several ranks is the largest of theirs, where others are sums."""
    return name == _LARGEST


def with_mismatch(update: Update) -> Update:
    """The update of all ranks with means in place of the sums that `first_update` reports.

    `mismatch/kl` is the mean over the trained tokens of k3 (see `resetrl.builtin.losses.kl_k3`),
    an estimate in nats of KL(engine || learner); `mismatch/max_ratio` the largest probability
    ratio learner / engine of a token; `mismatch/ess` the effective share of the tokens if each is
    weighted by its ratio w, (sum w)^2 / (n sum w^2), which is 1 if all are equal.
    """
    metrics = dict(update.metrics)
    tokens, k3, ratios, squares = (metrics.pop(name, 0.0) for name in _SUMS)
    if tokens:
        metrics["mismatch/kl"] = k3 / tokens
        metrics["mismatch/ess"] = ratios**2 / (tokens * squares)
    return dataclasses.replace(update, metrics=metrics)


@dataclass
class _Watched:
    """A loss that also reports the sums of its parts; errors name the one that it wraps."""

    __wrapped__: Loss
    max_ratio: float = field(default=0.0, init=False)

    @property
    def ignores_zero_advantage(self) -> bool:
        return self.__wrapped__.ignores_zero_advantage

    @property
    def needs_reference(self) -> bool:
        return self.__wrapped__.needs_reference

    def loss(self, logprobs: Tensor, batch: TokenBatch) -> tuple[Tensor, Mapping[str, float]]:
        sums, most = mismatch_sums(logprobs.detach(), batch)
        self.max_ratio = max(self.max_ratio, most)
        with blaming(self.__wrapped__, "loss", batch.uids):
            value, metrics = self.__wrapped__.loss(logprobs, batch)
        return value, {**metrics, **sums}


def mismatch_sums(logprobs: Tensor, batch: TokenBatch) -> tuple[dict[str, float], float]:
    """The sums over this part's loss tokens, and their largest ratio learner / engine.

    Example: ratios 1 and 2 give 2 tokens, k3 0 + (2 - log 2 - 1), ratios 3, squares 5; largest 2.
    """
    differences = (logprobs - batch.old_logprobs)[batch.loss_mask].clamp(-20, 20).double()
    ratios = differences.exp()
    k3 = ratios - differences - 1
    values = (ratios.numel(), k3.sum().item(), ratios.sum().item(), ratios.square().sum().item())
    largest = ratios.max().item() if ratios.numel() else 0.0
    return dict(zip(_SUMS, map(float, values), strict=True)), largest
