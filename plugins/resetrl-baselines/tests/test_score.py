"""SCoRe: its two turns, its two stages, and the reference's numbers."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from resetrl_baselines.score import FIRST, HELD, SECOND, SCoRe, SCoReLoss, mean_k1, shaped_rewards

from resetrl.batch import build_batch
from resetrl.errors import ConfigError
from resetrl.verification import without_errors

RIGHT, WRONG = ["a", "\\boxed{1}"], ["a", "\\boxed{9}"]

# The prompt 0+1: two first attempts, right and wrong, then their second ones, both right.
PAIRS = [RIGHT, WRONG, ["b", "\\boxed{1}"], ["c", "\\boxed{1}"]]


def test_stage_one_rewards_the_second_turn_and_holds_the_first(surroundings: Any) -> None:
    sampled = surroundings(SCoRe(pairs=2, stage_one_steps=3), PAIRS).sample(step=3)
    first, second = sampled.groups
    assert (first.kind, first.rewards, first.shaped_rewards) == ("first_turn", (1, 0), (0, 0))
    assert (second.kind, second.rewards, second.shaped_rewards) == ("second_turn", (1, 1), (1, 1))
    assert [rollout.role for rollout in first.rollouts] == [HELD, HELD]
    assert [rollout.role for rollout in second.rollouts] == [SECOND, SECOND]


def test_stage_two_rewards_both_and_the_progress_from_one_to_the_other(surroundings: Any) -> None:
    sampled = surroundings(SCoRe(pairs=2, stage_one_steps=3), PAIRS).sample(step=4)
    first, second = sampled.groups
    assert first.shaped_rewards == (1, 0)
    assert second.shaped_rewards == (1 + 10 * 0, 1 + 10 * 1)
    assert [rollout.role for rollout in first.rollouts] == [FIRST, FIRST]
    assert sampled.metrics == {
        "draws/accuracy": 0.5,
        "second_turn/corrected": 0.5,
        "second_turn/spoiled": 0.0,
        "second_turn/stage": 2.0,
    }


def test_a_second_turn_is_asked_for_and_trained_under_its_own_prompt(surroundings: Any) -> None:
    around = surroundings(SCoRe(pairs=2), PAIRS)
    sampled = around.sample()
    assert around.asked() == ["0+1\n", "0+1\n", "0+1=\n", "0+1=\n"]
    batch = build_batch(sampled.groups, [[0.0, 0.0], [1.0, 1.0]], temperature=0.7)
    prompt = [*b"0+1=\n"]
    assert batch.token_ids[2, :7].tolist() == [*prompt, *b"b", 2]
    assert batch.loss_mask[2, :7].tolist() == [False] * 5 + [True, True]
    assert batch.roles == (HELD, HELD, SECOND, SECOND)


def test_the_prompt_of_a_large_model_shows_the_first_attempt(surroundings: Any) -> None:
    around = surroundings(SCoRe(pairs=1), [RIGHT, RIGHT], localization_prompt="thoughts")
    around.sample()
    assert "\nQ: 0+1\n\na</thought>\\boxed{1}</thought>\n\nThere may be" in around.asked()[1]


def test_an_attempt_too_long_for_the_context_loses_its_end(surroundings: Any) -> None:
    long = ["first", "second", "third", "\\boxed{1}"]
    around = surroundings(SCoRe(pairs=1), [long, RIGHT], localization_prompt="thoughts")
    around.sample()
    whole = len(around.policy.requests[1].prompt_ids)
    # Room for that prompt less 1 token, and a thought of 10: the last thought, 4 tokens, goes.
    around = surroundings(
        SCoRe(pairs=1), [long, RIGHT], localization_prompt="thoughts", context_len=whole - 1 + 10
    )
    around.sample()
    assert "first</thought>second</thought>third</thought>\n\nThere" in around.asked()[1]


def test_an_evaluation_answers_twice(surroundings: Any) -> None:
    around = surroundings(SCoRe(pairs=2), [RIGHT, WRONG, WRONG, RIGHT])
    first = around.sample().draws
    around.policy.script = [*around.policy.script, ["\\boxed{9}"], ["\\boxed{1}"]]
    metrics = around.method.sampler.evaluate(first, around.method, around.session, around.meter)
    assert metrics == {
        "second_turn_accuracy": 0.5,
        "second_turn_corrected": 0.5,
        "second_turn_spoiled": 0.5,
    }
    assert around.asked()[4:] == ["0+1=\n", "0+1=\n"]


def test_a_step_charges_each_turn_to_its_phase(surroundings: Any) -> None:
    around = surroundings(SCoRe(pairs=2), PAIRS)
    around.sample()
    usage = around.meter.usage()
    assert (usage["draw"].requests, usage["second_turn"].requests) == (2, 2)


def test_shaped_rewards_and_advantages_of_stage_two_are_the_references(parity: Any) -> None:
    case = parity("score_stage2")
    given = {name: torch.tensor(value) for name, value in case["input"].items()}
    rewards = given["token_level_rewards"].sum(dim=1)
    is_second, first_right = given["is_correction"], given["y1_correct"].float()
    first, second = shaped_rewards(
        2, 10.0, first_right[is_second].tolist(), rewards[is_second].tolist()
    )
    shaped = rewards.clone()  # a first turn has the reward it has
    shaped[is_second] = torch.tensor(second)
    mask = given["response_mask"].bool()
    divergences = mean_k1(given["old_log_probs"], given["ref_log_probs"], mask)
    roles = [SECOND if each else FIRST for each in is_second.tolist()]
    advantages = SCoReLoss().penalised(shaped, divergences, roles)
    assert first == (0.0, 1.0)
    torch.testing.assert_close(
        advantages[:, None] * mask, torch.tensor(case["expected"]["advantages"]), atol=1e-6, rtol=0
    )


def test_held_turns_have_the_strong_penalty() -> None:
    shaped, divergences = torch.tensor([0.0, 1.0, 1.0]), torch.tensor([0.5, 0.5, -0.5])
    advantages = SCoReLoss(kl=0.01, held_kl=0.1).penalised(
        shaped, divergences, (HELD, SECOND, FIRST)
    )
    torch.testing.assert_close(advantages, torch.tensor([-0.05, 0.995, 1.005]))


def test_the_loss_pulls_a_held_turn_back_to_the_initial_policy(surroundings: Any) -> None:
    """Advantage 0, but the drawn tokens are likelier than initially, so they become unlikelier."""
    sampled = surroundings(SCoRe(pairs=2), PAIRS).sample()
    batch = build_batch(sampled.groups, [[0.0, 0.0], [0.0, 0.0]], temperature=0.7)
    batch = dataclasses.replace(batch, reference_logprobs=batch.old_logprobs - 0.5)
    logprobs = batch.old_logprobs.clone().requires_grad_()
    loss, metrics = SCoReLoss().loss(logprobs, batch)
    loss.backward()
    assert logprobs.grad is not None
    # A held row has 0.1 x 0.5, a second turn 0.01 x 0.5, each over the 24 loss tokens of the step.
    assert batch.num_loss_tokens == 24
    assert logprobs.grad[0, 4].item() == pytest.approx(0.1 * 0.5 / 24)
    assert logprobs.grad[2, 5].item() == pytest.approx(0.01 * 0.5 / 24)
    assert metrics["learner/kl_to_initial"] == pytest.approx(0.5)


def test_both_turns_of_a_pair_are_left_out_if_one_cannot_be_judged(surroundings: Any) -> None:
    script = [["?"], RIGHT, RIGHT, RIGHT, WRONG, ["?"], RIGHT, WRONG]
    sampled = without_errors(surroundings(SCoRe(pairs=4, stage_one_steps=0), script).sample())
    first, second = sampled.groups
    assert (first.shaped_rewards, second.shaped_rewards) == ((1, 1), (1, -10))


def test_a_template_that_is_not_there_stops_the_run_before_it_starts(surroundings: Any) -> None:
    around = surroundings(SCoRe(prompt="loud"), [])
    with pytest.raises(ConfigError, match="no second_turn prompt 'loud': choose thoughts, tiny"):
        around.sample(num_prompts=0)


@pytest.mark.parametrize("options", [{"pairs": 0}, {"stage_one_steps": -1}])
def test_options_out_of_range_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="choose at least 1 pair and 0 steps"):
        SCoRe(**options)
