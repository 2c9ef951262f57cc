"""Critique-GRPO: attempts, a critique of each, and refinements (Zhang et al., arXiv 2506.03106).

Each attempt is followed by a refinement that sees it and whether it is right. The best refinement
takes the place of the last attempt in the group and is trained under the plain prompt, under which
it was not drawn: its tokens have no ratio but p / (p + gamma). The advantage is r - mean
(`advantage=mean_only`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from resetrl.meter import Meter
from resetrl.method import Method, Session
from resetrl.metrics import draws_accuracy
from resetrl.types import Group, Prefix, Prompt, Rollout, Sampled, TokenBatch, Verdict
from resetrl.waves import Draws, sample_wave
from resetrl_baselines.asking import ask_again, template

if TYPE_CHECKING:
    from torch import Tensor

REFINEMENT = "refinement"
"""The role of a rollout that was drawn under another prompt than it is trained under."""


@dataclass
class CritiqueGRPO:
    """Trains all attempts but one, and the best refinement of any (arXiv 2506.03106).

    attempts: attempts a prompt, all refined; one fewer is trained.
    prompt: what asks for a refinement, `thoughts`, `tiny` or a path to a template; empty takes
        the one that belongs to the model.
    """

    attempts: int = 8
    prompt: str = ""

    def __post_init__(self) -> None:
        if self.attempts < 2:
            raise ValueError(f"attempts is {self.attempts}: choose at least 2, to compare them")

    @property
    def budget(self) -> int:
        return self.attempts

    def sample(
        self, step: int, prompts: Sequence[Prompt], method: Method, session: Session, meter: Meter
    ) -> Sampled:
        origins = [
            (prompt, Prefix(), index) for prompt in prompts for index in range(self.attempts)
        ]
        attempts = sample_wave("draw", step, origins, method, session, meter)
        refinements = self._refine(step, attempts, method, session, meter)
        groups = []
        for start in range(0, len(attempts), self.attempts):
            mine = slice(start, start + self.attempts)
            best = max(refinements[mine], key=_goodness)
            rollouts, verdicts = zip(best, *attempts[mine][:-1], strict=True)
            groups.append(Group("refined", rollouts, verdicts))
        metrics = draws_accuracy(attempts, self.attempts)
        if refinements:
            right = sum(verdict.correct for _, verdict in refinements)
            metrics["refinement/accuracy"] = right / len(refinements)
            best_right = sum(group.verdicts[0].correct for group in groups)
            metrics["refinement/best_accuracy"] = best_right / len(groups)
        return Sampled(groups, [*attempts, *refinements], metrics)

    def _refine(
        self, step: int, attempts: Draws, method: Method, session: Session, meter: Meter
    ) -> Draws:
        """A refinement of every attempt, as a rollout of the plain prompt."""
        path = template("refinement", self.prompt, session)
        origins = [
            (ask_again(path, attempt, verdict, method, session), Prefix(), attempt.index)
            for attempt, verdict in attempts
        ]
        drawn = sample_wave("refine", step, origins, method, session, meter)
        return [
            (
                dataclasses.replace(
                    refinement,
                    prompt=attempt.prompt,
                    index=self.attempts + attempt.index,
                    role=REFINEMENT,
                ),
                verdict,
            )
            for (refinement, verdict), (attempt, _) in zip(drawn, attempts, strict=True)
        ]


def _goodness(draw: tuple[Rollout, Verdict]) -> tuple[bool, bool, float]:
    _, verdict = draw
    return not verdict.error, verdict.correct, verdict.reward


@dataclass
class CritiqueLoss:
    """The plain ratio on attempts and p / (p + gamma) on refinements (arXiv 2506.03106).

    Minus the sum over all loss tokens of advantage x that, divided by a constant length; not by
    the number of rollouts, as the published objective is.

    gamma: the smaller, the more weight have improbable tokens of refinements.
    response_len: the constant, usually `limits.max_completion_len`.
    """

    ignores_zero_advantage: ClassVar[bool] = True
    needs_reference: ClassVar[bool] = False

    gamma: float = 0.1
    response_len: int = 5120

    def __post_init__(self) -> None:
        if not self.gamma > 0 or self.response_len < 1:
            raise ValueError(
                f"gamma={self.gamma}, response_len={self.response_len}: choose gamma above 0 and a "
                "length of at least 1"
            )

    def loss(self, logprobs: Tensor, batch: TokenBatch) -> tuple[Tensor, Mapping[str, float]]:
        refined = logprobs.new_tensor([role == REFINEMENT for role in batch.roles])[:, None].bool()
        difference = logprobs - batch.old_logprobs
        ratio = difference.clamp(-20, 20).exp()
        weights = shaped(logprobs, self.gamma).where(refined, ratio)
        token_losses = -batch.advantages[:, None] * weights * batch.loss_mask

        def share(values: Tensor) -> float:
            total = (values.detach() * batch.loss_mask).sum().item()
            return total / max(batch.num_loss_tokens, 1)

        return token_losses.sum() / self.response_len, {
            "learner/kl_to_old": share(-difference.clamp(-20, 20)),
            "learner/ratio": share(ratio),
            "learner/refinement_tokens": share(refined.expand_as(logprobs)),
        }


def shaped(logprobs: Tensor, gamma: float) -> Tensor:
    """p / (p + gamma) of log-probabilities: in (0, 1), steepest where p is small."""
    probabilities = logprobs.clamp(-20, 0).exp()
    return probabilities / (probabilities + gamma)
