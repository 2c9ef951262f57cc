"""VinePPO: Monte-Carlo values of every thought (Kazemnejad et al., arXiv 2410.01679).

At each thought boundary of a rollout several continuations are drawn, whose mean reward is the
value of that state; a thought's advantage is the value behind it less the value before it. Each
thought is one row of the batch behind the thoughts before it. Values are the shaped rewards and
need no further comparison (`advantage=none`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from resetrl.meter import Meter
from resetrl.method import Method, Session
from resetrl.metrics import draws_accuracy
from resetrl.types import Group, Prefix, Prompt, Rollout, Sampled, Verdict
from resetrl.waves import Draws, sample_wave
from resetrl_baselines.parts import part_verdict, thought_of, unjudged

State = tuple[str, tuple[int, ...]]
"""A prompt's uid and the completion tokens up to a thought boundary."""


@dataclass
class VinePPO:
    """Trains every thought of fresh rollouts with its Monte-Carlo advantage (arXiv 2410.01679).

    The value of the bare prompt is the mean reward of its rollouts. Rollouts that share a
    beginning share its values.

    rollouts: rollouts trained a prompt.
    samples: continuations drawn from every thought boundary; the paper uses 9.
    """

    rollouts: int = 8
    samples: int = 4

    def __post_init__(self) -> None:
        if self.rollouts < 2 or self.samples < 1:
            raise ValueError(
                f"rollouts={self.rollouts}, samples={self.samples}: choose at least 2 rollouts and "
                "1 sample"
            )

    @property
    def budget(self) -> int:
        return self.rollouts

    def sample(
        self, step: int, prompts: Sequence[Prompt], method: Method, session: Session, meter: Meter
    ) -> Sampled:
        origins = [
            (prompt, Prefix(), index) for prompt in prompts for index in range(self.rollouts)
        ]
        drawn = sample_wave("draw", step, origins, method, session, meter)
        values, continuations = self._values(step, drawn, method, session, meter)
        groups = [_thought_group(rollout, verdict, values, method) for rollout, verdict in drawn]
        trained = [(group.rollouts[-1], group.verdicts[-1]) for group in groups]
        metrics = draws_accuracy(drawn, self.rollouts)
        if groups:
            metrics["vine/states"] = (len(values) - len(prompts)) / len(prompts)
        return Sampled(groups, [*trained, *continuations], metrics)

    def _values(
        self, step: int, drawn: Draws, method: Method, session: Session, meter: Meter
    ) -> tuple[dict[State, float], Draws]:
        """The value of every state on the way of the rollouts, and the draws it was taken from."""
        rewards: dict[State, list[float]] = {}
        between: dict[State, tuple[Prompt, Prefix]] = {}
        for rollout, verdict in drawn:
            rewards.setdefault(_state(rollout, 0), []).extend(_reward(verdict, method))
            for num in range(1, len(rollout.completion.thoughts)):
                prefix = rollout.completion.first_thoughts(num)
                between.setdefault(_state(rollout, num), (rollout.prompt, prefix))
        origins, states = [], []
        numbers: dict[str, int] = {}
        for state, (prompt, prefix) in between.items():
            for _ in range(self.samples):
                index = numbers.get(prompt.uid, 0)
                numbers[prompt.uid] = index + 1
                origins.append((prompt, prefix, index))
                states.append(state)
        continuations = sample_wave("value", step, origins, method, session, meter)
        for state, (_, verdict) in zip(states, continuations, strict=True):
            rewards.setdefault(state, []).extend(_reward(verdict, method))
        return {state: fmean(mine) for state, mine in rewards.items() if mine}, continuations


def _state(rollout: Rollout, num_thoughts: int) -> State:
    return rollout.prompt.uid, rollout.completion.first_thoughts(num_thoughts).token_ids


def _reward(verdict: Verdict, method: Method) -> list[float]:
    """The reward, or none where the verifier failed."""
    return [] if verdict.error else method.rewards([verdict])


def _thought_group(
    rollout: Rollout, verdict: Verdict, values: dict[State, float], method: Method
) -> Group:
    """The thoughts of a rollout as rows, with their advantages as rewards."""
    num = max(len(rollout.completion.thoughts), 1)
    on_the_way = [values.get(_state(rollout, before)) for before in range(num)]
    verdicts = [*(part_verdict(value) for value in on_the_way[1:]), verdict]
    final: list[float | None] = [*_reward(verdict, method)] or [None]
    advantages = step_advantages([*on_the_way, *final])
    return Group(
        "thoughts",
        tuple(thought_of(rollout, number) for number in range(1, num + 1)),
        tuple(
            unjudged("a value beside it could not be judged") if advantage is None else verdict
            for verdict, advantage in zip(verdicts, advantages, strict=True)
        ),
        shaped_rewards=tuple(advantage or 0.0 for advantage in advantages),
    )


def step_advantages(values: Sequence[float | None]) -> tuple[float | None, ...]:
    """What each step adds to the value: `step_advantages([0.5, 0.25, 1]) == (-0.25, 0.75)`.

    None where a value beside the step is unknown.
    """
    return tuple(
        None if before is None or after is None else after - before
        for before, after in pairwise(values)
    )
