"""How hard each token is pushed: the size of its logit's gradient under the policy gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence


def token_signal(logprobs: Sequence[float], mask: Sequence[bool], advantage: float) -> list[float]:
    """|A| / n (1 - pi_t) for each token, n the tokens in the mask; 0 outside of it.

    A/n (1 - pi_t) is the derivative of A/n log pi(y_t) by the logit of y_t: a token that the
    policy was sure of is hardly pushed, whatever the advantage (the released analysis of
    arXiv 2605.25507). Example: `token_signal([-0.1, -1.0], [False, True], -1.5)` is `[0, 0.95]`.
    """
    num_active = sum(mask)
    return [
        abs(advantage) / num_active * -math.expm1(logprob) if is_active else 0.0
        for logprob, is_active in zip(logprobs, mask, strict=True)
    ]


def thought_signal(signal: Sequence[float], mask: Sequence[bool], start: int, end: int) -> float:
    """The mean signal of a thought's tokens in the mask, 0 if none is."""
    active = [signal[place] for place in range(start, end) if mask[place]]
    return sum(active) / len(active) if active else 0.0
