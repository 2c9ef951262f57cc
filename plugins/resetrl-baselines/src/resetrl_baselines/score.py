"""SCoRe: learning to correct oneself in a second turn (Kumar et al., arXiv 2409.12917).

Every first attempt is followed by a second one, asked for with a hedged hint that something may
be wrong. Stage I rewards the second turn only and holds the first to the initial policy; stage II
rewards both, and the second one for its progress over the first. Rewards are the advantages
(`advantage=none`): plain REINFORCE.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from resetrl.meter import Meter
from resetrl.method import Method, Session
from resetrl.types import Group, Prefix, Prompt, Sampled, TokenBatch
from resetrl.waves import Draws, sample_wave
from resetrl_baselines.asking import ask_again, template

if TYPE_CHECKING:
    from torch import Tensor

HELD, FIRST, SECOND = "first_turn_held", "first_turn", "second_turn"
"""Roles: a first attempt of stage I, one of stage II, a second attempt."""


@dataclass
class SCoRe:
    """Draws pairs of a first and a second attempt, in two stages (arXiv 2409.12917).

    pairs: pairs a prompt, each of two rollouts.
    stage_one_steps: training steps of stage I; the steps after it are stage II.
    alpha: weight of the progress of the second turn over the first, in stage II.
    prompt: what asks for the second turn, `thoughts`, `tiny` or a path to a template; empty takes
        the one that belongs to the model.
    """

    pairs: int = 4
    stage_one_steps: int = 40
    alpha: float = 10.0
    prompt: str = ""

    def __post_init__(self) -> None:
        if self.pairs < 1 or self.stage_one_steps < 0:
            raise ValueError(
                f"pairs={self.pairs}, stage_one_steps={self.stage_one_steps}: choose at least 1 "
                "pair and 0 steps"
            )

    @property
    def budget(self) -> int:
        return 2 * self.pairs

    def sample(
        self, step: int, prompts: Sequence[Prompt], method: Method, session: Session, meter: Meter
    ) -> Sampled:
        stage = 1 if step <= self.stage_one_steps else 2
        origins = [(prompt, Prefix(), index) for prompt in prompts for index in range(self.pairs)]
        first = _with_role(
            HELD if stage == 1 else FIRST,
            sample_wave("draw", step, origins, method, session, meter),
        )
        second = self._second_turns("second_turn", step, first, method, session, meter)
        groups: list[Group] = []
        for start in range(0, len(first), self.pairs):
            pairs = slice(start, start + self.pairs)
            groups += self._groups(stage, first[pairs], second[pairs], method)
        return Sampled(groups, first, _turn_metrics(stage, first, second) if first else {})

    def evaluate(
        self, answers: Draws, method: Method, session: Session, meter: Meter
    ) -> Mapping[str, float]:
        """How the second turns behind the plain answers come out, and how often they differ."""
        second = self._second_turns("evaluate", 0, answers, method, session, meter)
        return {
            "second_turn_accuracy": _share(verdict.correct for _, verdict in second),
            "second_turn_corrected": _corrected(answers, second),
            "second_turn_spoiled": _corrected(second, answers),
        }

    def _second_turns(
        self,
        purpose: str,
        step: int,
        first: Draws,
        method: Method,
        session: Session,
        meter: Meter,
    ) -> Draws:
        path = template("second_turn", self.prompt, session)
        origins = [
            (
                ask_again(path, attempt, verdict, method, session),
                Prefix(),
                self.pairs + attempt.index,
            )
            for attempt, verdict in first
        ]
        return _with_role(SECOND, sample_wave(purpose, step, origins, method, session, meter))

    def _groups(self, stage: int, first: Draws, second: Draws, method: Method) -> list[Group]:
        """The first turns of one prompt and its second turns, with their shaped rewards.

        A turn whose other half could not be judged is left out as that is.
        """
        lost = [one.error or two.error for (_, one), (_, two) in zip(first, second, strict=True)]
        firsts, first_verdicts = zip(*_without(lost, first), strict=True)
        seconds, second_verdicts = zip(*_without(lost, second), strict=True)
        shaped = shaped_rewards(
            stage, self.alpha, method.rewards(first_verdicts), method.rewards(second_verdicts)
        )
        return [
            Group("first_turn", firsts, first_verdicts, shaped_rewards=shaped[0]),
            Group("second_turn", seconds, second_verdicts, shaped_rewards=shaped[1]),
        ]


def shaped_rewards(
    stage: int, alpha: float, first: Sequence[float], second: Sequence[float]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The shaped rewards of first and second turns (arXiv 2409.12917, eq. 3 and 4).

    Stage I: 0 and R2. Stage II: R1 and R2 + alpha (R2 - R1).
    """
    if stage == 1:
        return (0.0,) * len(first), tuple(second)
    progress = zip(first, second, strict=True)
    return tuple(first), tuple(r2 + alpha * (r2 - r1) for r1, r2 in progress)


@dataclass
class SCoReLoss:
    """REINFORCE on rewards less a KL penalty on the initial policy, of its own for held turns.

    Each rollout's advantage loses beta times its mean k1 = old - initial log-probability; the
    loss is the mean over all loss tokens of -(that advantage) x log pi.

    kl: beta of every rollout but the held ones.
    held_kl: beta of the first turns of stage I, which are held to the initial policy.
    """

    ignores_zero_advantage: ClassVar[bool] = False
    needs_reference: ClassVar[bool] = True

    kl: float = 0.01
    held_kl: float = 0.1

    def __post_init__(self) -> None:
        if self.kl < 0 or self.held_kl < 0:
            raise ValueError(f"kl={self.kl}, held_kl={self.held_kl}: choose 0 or more")

    def loss(self, logprobs: Tensor, batch: TokenBatch) -> tuple[Tensor, Mapping[str, float]]:
        divergences = mean_k1(batch.old_logprobs, batch.reference, batch.loss_mask)
        advantages = self.penalised(batch.advantages, divergences, batch.roles)
        token_losses = -advantages[:, None] * logprobs * batch.loss_mask
        return token_losses.sum() / max(batch.num_loss_tokens, 1), {
            "learner/kl_to_initial": divergences.sum().item() / batch.num_rollouts
        }

    def penalised(self, rewards: Tensor, divergences: Tensor, roles: Sequence[str]) -> Tensor:
        """Shaped rewards [R] less the penalty on each rollout's divergence [R]."""
        betas = [self.held_kl if role == HELD else self.kl for role in roles]
        return rewards - rewards.new_tensor(betas) * divergences


def mean_k1(old_logprobs: Tensor, reference: Tensor, loss_mask: Tensor) -> Tensor:
    """Each rollout's mean of old - initial log-probability over its loss tokens, [R]."""
    mask = loss_mask.float()
    return ((old_logprobs - reference) * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)


def _with_role(role: str, draws: Draws) -> Draws:
    return [(dataclasses.replace(rollout, role=role), verdict) for rollout, verdict in draws]


def _without(lost: Sequence[str], draws: Draws) -> Draws:
    """The draws, those of lost pairs with the error."""
    pairs = zip(lost, draws, strict=True)
    return [
        (rollout, dataclasses.replace(verdict, error=error)) for error, (rollout, verdict) in pairs
    ]


def _turn_metrics(stage: int, first: Draws, second: Draws) -> dict[str, float]:
    return {
        "draws/accuracy": _share(verdict.correct for _, verdict in first),
        "second_turn/corrected": _corrected(first, second),
        "second_turn/spoiled": _corrected(second, first),
        "second_turn/stage": float(stage),
    }


def _corrected(before: Draws, after: Draws) -> float:
    """The share of pairs, of all, that are wrong before and right after."""
    pairs = zip(before, after, strict=True)
    return _share(new.correct and not old.correct for (_, old), (_, new) in pairs)


def _share(flags: Iterable[bool]) -> float:
    values = list(flags)
    return sum(values) / len(values)
