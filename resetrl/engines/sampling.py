"""Drawing the next token of every row, each with its own stream of random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from resetrl.types import Sampling


class UniformStream:
    """Uniform numbers in [0, 1) for one request, a fixed function of its seed.

    Token t of a request always consumes the t-th number, whatever the batch around it.
    """

    BLOCK = 64

    def __init__(self, rng_seed: int) -> None:
        self._generator = np.random.Generator(np.random.Philox(key=rng_seed))
        self._block: list[float] = []

    def next(self) -> float:
        if not self._block:
            self._block = self._generator.random(self.BLOCK)[::-1].tolist()
        return self._block.pop()


@dataclass(frozen=True)
class RowSamplings:
    """The `Sampling` of every row as tensors [R]; a greedy row has scale 1 and top_p 0."""

    scales: Tensor
    top_ps: Tensor
    all_greedy: bool

    @staticmethod
    def of(samplings: Sequence[Sampling], device: torch.device) -> RowSamplings:
        temperatures = [sampling.temperature for sampling in samplings]
        return RowSamplings(
            scales=torch.tensor([t or 1.0 for t in temperatures], device=device),
            top_ps=torch.tensor([s.top_p if s.temperature else 0.0 for s in samplings]).to(device),
            all_greedy=not any(temperatures),
        )


def draw_tokens(logits: Tensor, uniforms: Tensor, samplings: RowSamplings) -> tuple[Tensor, Tensor]:
    """The next token of each row and its log-probability, both [R].

    `logits` [R, V], `uniforms` [R] in [0, 1). Inverse-CDF sampling over the tokens in order of
    falling probability, truncated to the smallest set that holds `top_p`. The log-probability is
    that of the temperature-scaled distribution before truncation; a greedy row (temperature 0)
    takes the most probable token and reports the unscaled distribution.
    """
    logprobs = torch.log_softmax(logits.float() / samplings.scales[:, None], dim=-1)
    if samplings.all_greedy:
        tokens = logprobs.argmax(dim=-1)
        return tokens, logprobs.gather(1, tokens[:, None])[:, 0]
    ordered, order = logprobs.sort(dim=-1, descending=True, stable=True)
    probs = ordered.exp().double()
    cumulative = probs.cumsum(dim=-1)
    # The first token is always kept, so a greedy row (top_p 0 here) keeps exactly the best one.
    num_kept = (cumulative - probs < samplings.top_ps[:, None]).sum(dim=-1).clamp(min=1)
    mass = cumulative.gather(1, (num_kept - 1)[:, None])
    ranks = torch.searchsorted(cumulative, uniforms.double()[:, None] * mass, right=True)[:, 0]
    ranks = torch.minimum(ranks, num_kept - 1)
    tokens = order.gather(1, ranks[:, None])[:, 0]
    return tokens, logprobs.gather(1, tokens[:, None])[:, 0]
