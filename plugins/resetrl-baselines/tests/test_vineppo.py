"""VinePPO: the values of states and what each thought is credited with."""

from __future__ import annotations

from typing import Any

import pytest
from resetrl_baselines.vineppo import VinePPO, step_advantages

from resetrl.batch import build_batch
from resetrl.metrics import step_metrics
from resetrl.testing import FakeTask

RIGHT, WRONG = ["\\boxed{1}"], ["\\boxed{9}"]

# The prompt 0+1: two rollouts that share their first thought; behind it one of two continuations
# is right, behind the second thought both are.
VINE = [["a", "b", *RIGHT], ["a", *WRONG], RIGHT, WRONG, RIGHT, RIGHT]


def test_a_thought_is_credited_with_what_it_adds_to_the_value(surroundings: Any) -> None:
    around = surroundings(VinePPO(rollouts=2, samples=2), VINE)
    first, second = around.sample().groups
    # Values: 0.5 of the prompt, 0.5 behind a, 1 behind b; then the rollout's own reward.
    assert first.shaped_rewards == (0.0, 0.5, 0.0)
    assert second.shaped_rewards == (0.0, -0.5)
    assert first.rewards == (0.5, 1.0, 1.0)
    assert (
        around.asked()
        == ["0+1\n"] * 2 + ["0+1\n|a</thought>"] * 2 + ["0+1\n|a</thought>b</thought>"] * 2
    )


def test_each_thought_is_a_row_behind_those_before_it(surroundings: Any) -> None:
    sampled = surroundings(VinePPO(rollouts=2, samples=2), VINE).sample()
    advantages = [group.shaped_rewards for group in sampled.groups]
    batch = build_batch(sampled.groups, advantages, temperature=0.7)
    # The prompt has 4 tokens, a thought 2, an answer 4.
    assert batch.loss_mask.long().tolist() == [
        [0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1],
        [0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0],
    ]
    assert batch.token_ids[2].tolist() == [*b"0+1\n", *b"a", 2, *b"b", 2, 3, *b"1}", 2]


def test_continuations_are_accounted_for_as_discarded(surroundings: Any) -> None:
    around = surroundings(VinePPO(rollouts=2, samples=2), VINE)
    sampled = around.sample()
    metrics = step_metrics(sampled, [[0.0] * 3, [0.0] * 2], FakeTask(), "</thought>")
    expected = {
        "rollouts/trained": 2.0,
        "rollouts/discarded": 4.0,
        "rollouts/drawn": 6.0,
        "reward/mean": 0.5,
        "draws/accuracy": 0.5,
        "vine/states": 2.0,
    }
    assert {name: metrics[name] for name in expected} == expected
    usage = around.meter.usage()
    assert (usage["draw"].requests, usage["value"].requests) == (2, 4)


def test_an_answer_at_once_and_an_empty_completion_are_one_row_each(surroundings: Any) -> None:
    around = surroundings(VinePPO(rollouts=2, samples=2), [RIGHT, ["<eos>"]])
    groups = around.sample().groups
    assert [group.shaped_rewards for group in groups] == [(0.5,), (-0.5,)]


def test_thoughts_beside_a_value_that_cannot_be_judged_are_left_out(surroundings: Any) -> None:
    script = [["a", "b", *RIGHT], RIGHT, ["?"], ["?"], RIGHT, ["?"]]
    first, second = surroundings(VinePPO(rollouts=2, samples=2), script).sample().groups
    # Values: 1 of the prompt, none behind a, 1 behind b.
    assert [bool(verdict.error) for verdict in first.verdicts] == [True, True, False]
    assert (first.shaped_rewards, second.shaped_rewards) == ((0.0, 0.0, 0.0), (0.0,))


def test_step_advantages_add_up_to_reward_less_first_value() -> None:
    assert step_advantages([0.5, 0.25, 1.0]) == (-0.25, 0.75)
    assert step_advantages([0.5, None, 1.0, 1.0]) == (None, None, 0.0)


@pytest.mark.parametrize("options", [{"rollouts": 1}, {"samples": 0}])
def test_options_out_of_range_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="choose at least 2 rollouts and 1 sample"):
        VinePPO(**options)
