"""Drawing the next token of every row, each with its own stream of random numbers."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resetrl.types import Sampling


class UniformStream:
    """Uniform numbers in [0, 1) for one request, a fixed function of its seed.

    Token t of a request always consumes the t-th number, whatever the batch around it.
    """

    BLOCK = 64

    def __init__(self, rng_seed: int) -> None:
        self._generator = np.random.Generator(np.random.Philox(key=rng_seed))
        self._block: NDArray[np.float64] = self._generator.random(self.BLOCK)
        self._used = 0

    def next(self) -> float:
        if self._used == self.BLOCK:
            self._block = self._generator.random(self.BLOCK)
            self._used = 0
        self._used += 1
        return float(self._block[self._used - 1])


def draw_tokens(
    logits: Tensor, uniforms: Tensor, samplings: list[Sampling]
) -> tuple[Tensor, Tensor]:
    """The next token of each row and its log-probability, both [R].

    `logits` [R, V], `uniforms` [R] in [0, 1). Inverse-CDF sampling over the tokens in order of
    falling probability, truncated to the smallest set that holds `top_p`. The log-probability is
    that of the temperature-scaled distribution before truncation; a greedy row (temperature 0)
    takes the most probable token and reports the unscaled distribution.
    """
    device = logits.device
    temperatures = [s.temperature for s in samplings]
    scales = torch.tensor([t if t > 0 else 1.0 for t in temperatures], device=device)
    logprobs = torch.log_softmax(logits.float() / scales[:, None], dim=-1)
    if not any(temperatures):
        tokens = logprobs.argmax(dim=-1)
        return tokens, logprobs.gather(1, tokens[:, None])[:, 0]
    top_ps = torch.tensor([s.top_p if s.temperature > 0 else 0.0 for s in samplings], device=device)
    probs, order = logprobs.exp().double().sort(dim=-1, descending=True, stable=True)
    cumulative = probs.cumsum(dim=-1)
    # The first token is always kept, so a greedy row (top_p 0 here) keeps exactly the best one.
    num_kept = (cumulative - probs < top_ps[:, None]).sum(dim=-1).clamp(min=1)
    mass = cumulative.gather(1, (num_kept - 1)[:, None])
    ranks = torch.searchsorted(cumulative, uniforms.double()[:, None] * mass, right=True)[:, 0]
    ranks = torch.minimum(ranks, num_kept - 1)
    tokens = order.gather(1, ranks[:, None])[:, 0]
    return tokens, logprobs.gather(1, tokens[:, None])[:, 0]
