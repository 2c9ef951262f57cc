"""Built-in verifiers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from resetrl.thoughts import BOX_OPENING, last_boxed
from resetrl.types import Rollout, Verdict


@dataclass
class Exact:
    """Right if the last closed `\\boxed{...}` equals the reference, surrounding spaces aside."""

    def verify(self, rollouts: Sequence[Rollout]) -> list[Verdict]:
        return [self._verdict(rollout) for rollout in rollouts]

    def _verdict(self, rollout: Rollout) -> Verdict:
        extracted = last_boxed(rollout.completion.text)
        if extracted is None:
            opened = BOX_OPENING in rollout.completion.text
            why = "the box is not closed" if opened else "no boxed answer"
            return Verdict(0.0, False, {"extracted": None, "why": why})
        correct = extracted.strip() == rollout.prompt.problem.reference.strip()
        why = "" if correct else f"expected {rollout.prompt.problem.reference}"
        return Verdict(float(correct), correct, {"extracted": extracted, "why": why})
