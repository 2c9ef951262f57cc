"""A reset selector that reads the policy's confidence from what it has sampled already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from resetrl.interfaces import SelectorContext
from resetrl.types import Completion, Rollout, Selection

Score = Literal["mean", "first_token"]


@dataclass
class LeastConfident:
    """Goes back to the thought whose tokens surprised the policy most when it drew them.

    The surprisal of a token is its negative log-probability under the policy that drew it, which
    the rollout holds already: the choice costs no model call. Of equal thoughts the first is
    taken, so that a greedy seed, all of whose surprisals may be near 0, goes back far.

    score: what stands for a thought: its `mean` token surprisal, or that of its `first_token`,
        where a new idea starts.
    include_last: whether the last thought may be chosen even if it is not the only one; it is
        usually the answer, which follows from what went before.
    """

    score: Score = "mean"
    include_last: bool = False

    def select(self, seeds: Sequence[Rollout], context: SelectorContext) -> list[Selection]:
        return [self._choose(seed.completion) for seed in seeds]

    def _choose(self, completion: Completion) -> Selection:
        scores = self._surprisals(completion)
        eligible = scores if self.include_last or len(scores) == 1 else scores[:-1]
        return Selection(eligible.index(max(eligible)) + 1, "least_confident")

    def _surprisals(self, completion: Completion) -> list[float]:
        """One number a thought: its tokens are those between two of `thought_ends`."""
        starts = (0, *completion.thought_ends[:-1])
        bounds = zip(starts, completion.thought_ends, strict=True)
        thoughts = [completion.logprobs[start:end] for start, end in bounds]
        if self.score == "first_token":
            return [-logprobs[0] for logprobs in thoughts]
        return [-fmean(logprobs) for logprobs in thoughts]
