"""Built-in losses. All are means over the whole optimizer step, whatever part they are given.

`SuffixMean` and `Clipped` may add a penalty `kl` x k3 to every loss token, averaged as their other
token losses are. `TruncatedIS` weights the tokens of another loss.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from resetrl.interfaces import Loss
from resetrl.types import TokenBatch

if TYPE_CHECKING:
    from torch import Tensor

Aggregation = Literal[
    "token_mean", "seq_mean_token_mean", "seq_mean_token_sum", "seq_mean_token_sum_norm"
]


@dataclass
class SuffixMean:
    """Policy gradient on the mean log-probability of each rollout's loss tokens.

    -(1/N) sum_i A_i (1/n_i) sum_t m[i,t] log pi(y[i,t]), with N the rollouts of the optimizer
    step, also the fully masked ones (Samanta et al., arXiv 2605.25507, sec. 3).

    kl: weight of the penalty on leaving the initial policy, 0 for none; usually 0.01.
    """

    kl: float = 0.0

    def __post_init__(self) -> None:
        _check_kl(self.kl)

    @property
    def ignores_zero_advantage(self) -> bool:
        return self.kl == 0

    @property
    def needs_reference(self) -> bool:
        return self.kl > 0

    def loss(self, logprobs: Tensor, batch: TokenBatch) -> tuple[Tensor, Mapping[str, float]]:
        mask = batch.loss_mask.float()
        penalties, metrics = _penalties(self.kl, logprobs, batch)
        token_losses = (penalties - batch.advantages[:, None] * logprobs) * mask
        row_means = token_losses.sum(dim=1) / mask.sum(dim=1).clamp(min=1)
        metrics["learner/kl_to_old"] = _mean_kl(logprobs, batch)
        return row_means.sum() / batch.num_rollouts, metrics


@dataclass
class Clipped:
    """The clipped surrogate with dual clip (PPO, arXiv 1707.06347; dual clip, arXiv 1912.09729).

    ratio = exp(clamp(logp - old, -20, 20)); per token max(-A r, -A clip(r, 1-low, 1+high)), and
    for A < 0 at most -A c. Aggregations: over all loss tokens; or over rollouts, of each one's
    token mean, token sum, or token sum / `fixed_length`.

    kl: weight of the penalty on leaving the initial policy, 0 for none; usually 0.01.
    """

    clip_low: float = 0.2
    clip_high: float = 0.2
    dual_clip: float = 3.0
    aggregation: Aggregation = "token_mean"
    fixed_length: int = 5120
    kl: float = 0.0

    def __post_init__(self) -> None:
        _check_kl(self.kl)
        if not 0 < self.clip_low < 1 or self.clip_high <= 0:
            raise ValueError(
                f"clip_low={self.clip_low}, clip_high={self.clip_high}: choose 0 < low < 1 and "
                "high > 0, for example 0.2 and 0.2"
            )
        if self.dual_clip <= 1:
            raise ValueError(f"dual_clip is {self.dual_clip}: choose a value above 1, usually 3")
        if self.fixed_length < 1:
            raise ValueError(f"fixed_length is {self.fixed_length}: choose at least 1")

    @property
    def ignores_zero_advantage(self) -> bool:
        return self.kl == 0

    @property
    def needs_reference(self) -> bool:
        return self.kl > 0

    def loss(self, logprobs: Tensor, batch: TokenBatch) -> tuple[Tensor, Mapping[str, float]]:
        advantages = batch.advantages[:, None]
        ratio = (logprobs - batch.old_logprobs).clamp(-20, 20).exp()
        plain = -advantages * ratio
        clipped = -advantages * ratio.clamp(1 - self.clip_low, 1 + self.clip_high)
        token_losses = plain.maximum(clipped)
        capped = token_losses.minimum(-advantages * self.dual_clip)
        token_losses = capped.where(advantages < 0, token_losses)
        mask = batch.loss_mask.float()
        was_clipped = ((clipped > plain).float() * mask).sum().item()
        penalties, metrics = _penalties(self.kl, logprobs, batch)
        metrics["learner/kl_to_old"] = _mean_kl(logprobs, batch)
        metrics["learner/clip_fraction"] = was_clipped / max(batch.num_loss_tokens, 1)
        return self._aggregate((token_losses + penalties) * mask, mask, batch), metrics

    def _aggregate(self, token_losses: Tensor, mask: Tensor, batch: TokenBatch) -> Tensor:
        if self.aggregation == "token_mean":
            return token_losses.sum() / max(batch.num_loss_tokens, 1)
        row_sums = token_losses.sum(dim=1)
        if self.aggregation == "seq_mean_token_mean":
            row_sums = row_sums / mask.sum(dim=1).clamp(min=1)
        elif self.aggregation == "seq_mean_token_sum_norm":
            row_sums = row_sums / self.fixed_length
        return row_sums.sum() / batch.num_rollouts


@dataclass
class TruncatedIS:
    """Another loss, each token's gradient weighted by min(learner / engine, `clip`).

    The truncated importance sampling of Yao et al., "Your efficient RL framework secretly brings
    you off-policy RL training" (2025): it corrects for an engine whose probabilities differ from
    the learner's, at a bounded variance. The value of the loss stays the other's.

    of: the other loss, chosen by `loss/of=suffix_mean`. `clipped` has that ratio already.
    clip: the largest weight, usually 2.
    """

    of: Loss = field(default_factory=SuffixMean)
    clip: float = 2.0

    def __post_init__(self) -> None:
        if self.of is None:
            raise ValueError("of is null: choose a loss, as in loss/of=suffix_mean")
        if isinstance(self.of, Clipped | TruncatedIS):
            raise ValueError(
                f"of is {type(self.of).__name__}, which weights tokens by this ratio itself: "
                "choose loss/of=suffix_mean, or that loss alone"
            )
        if not self.clip >= 1:
            raise ValueError(f"clip is {self.clip}: choose at least 1, usually 2")

    @property
    def ignores_zero_advantage(self) -> bool:
        return self.of.ignores_zero_advantage

    @property
    def needs_reference(self) -> bool:
        return self.of.needs_reference

    def loss(self, logprobs: Tensor, batch: TokenBatch) -> tuple[Tensor, Mapping[str, float]]:
        fixed = logprobs.detach()
        differences = fixed - batch.old_logprobs
        weights = differences.clamp(max=math.log(self.clip)).exp()
        # Equal to logprobs, with the weights as the derivative.
        value, metrics = self.of.loss(fixed + weights * (logprobs - fixed), batch)
        truncated = ((differences > math.log(self.clip)) & batch.loss_mask).sum().item()
        share = truncated / max(batch.num_loss_tokens, 1)
        return value, {**metrics, "learner/truncated_fraction": share}


def kl_k3(logprobs: Tensor, reference: Tensor) -> Tensor:
    """exp(d) - d - 1 with d = reference - logprobs, for each token: an estimate of the KL.

    Never negative, and unbiased for tokens drawn from the policy (Schulman, "Approximating KL
    divergence", 2020). d is cut at 20, where exp would leave the range of float32.
    """
    difference = (reference - logprobs).clamp(max=20)
    return difference.exp() - difference - 1


def _check_kl(kl: float) -> None:
    if not kl >= 0:
        raise ValueError(f"kl is {kl}: choose 0 (no penalty) or more, usually 0.01")


def _penalties(
    kl: float, logprobs: Tensor, batch: TokenBatch
) -> tuple[Tensor | float, dict[str, float]]:
    """kl x k3 of each token [R, T], and this part's share of the mean k3 over the loss tokens."""
    if kl == 0:
        return 0.0, {}
    k3 = kl_k3(logprobs, batch.reference)
    share = (k3.detach() * batch.loss_mask).sum().item() / max(batch.num_loss_tokens, 1)
    return kl * k3, {"learner/kl_to_initial": share}


def _mean_kl(logprobs: Tensor, batch: TokenBatch) -> float:
    """This part's share of the mean of old - new log-probability over the step's loss tokens."""
    difference = (batch.old_logprobs - logprobs.detach()) * batch.loss_mask
    return difference.sum().item() / max(batch.num_loss_tokens, 1)
