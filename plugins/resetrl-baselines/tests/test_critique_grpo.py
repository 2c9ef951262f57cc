"""Critique-GRPO: what is refined, what is trained, and the reference's loss."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from resetrl_baselines.critique_grpo import REFINEMENT, CritiqueGRPO, CritiqueLoss, shaped

from resetrl.advantages import group_advantages
from resetrl.types import TokenBatch

RIGHT, WRONG = ["a", "\\boxed{1}"], ["a", "\\boxed{9}"]


def test_the_best_refinement_takes_the_place_of_the_last_attempt(surroundings: Any) -> None:
    refinements = [["b", "\\boxed{9}"], ["c", "\\boxed{1}"], ["d", "\\boxed{1}"]]
    around = surroundings(CritiqueGRPO(attempts=3), [RIGHT, WRONG, WRONG, *refinements])
    sampled = around.sample()
    (group,) = sampled.groups
    assert [rollout.completion.thoughts[0][0] for rollout in group.rollouts] == ["c", "a", "a"]
    assert [rollout.role for rollout in group.rollouts] == [REFINEMENT, "", ""]
    assert group.rewards == (1, 1, 0)
    assert group_advantages(group.rewards, "mean_only") == pytest.approx([1 / 3, 1 / 3, -2 / 3])
    assert sampled.metrics == {
        "draws/accuracy": pytest.approx(1 / 3),
        "refinement/accuracy": pytest.approx(2 / 3),
        "refinement/best_accuracy": 1.0,
    }


def test_a_refinement_is_drawn_under_its_critique_and_trained_under_the_plain_prompt(
    surroundings: Any,
) -> None:
    around = surroundings(CritiqueGRPO(attempts=2), [RIGHT, WRONG, RIGHT, WRONG])
    (group,) = around.sample().groups
    assert around.asked() == ["0+1\n", "0+1\n", "0+1\n", "0+1=\n"]
    assert {rollout.prompt.token_ids for rollout in group.rollouts} == {tuple(b"0+1\n")}


def test_the_prompt_of_a_large_model_shows_attempt_and_critique(surroundings: Any) -> None:
    around = surroundings(
        CritiqueGRPO(attempts=2), [RIGHT, WRONG, RIGHT, WRONG], localization_prompt="thoughts"
    )
    around.sample()
    right, wrong = around.asked()[2:]
    assert "a</thought>\\boxed{1}</thought>\n\nCritique: the previous solution is correct." in right
    assert "a</thought>\\boxed{9}</thought>\n\nCritique: the previous solution is incorr" in wrong


def test_a_refinement_that_cannot_be_judged_is_never_the_best(surroundings: Any) -> None:
    around = surroundings(CritiqueGRPO(attempts=2), [RIGHT, WRONG, ["?"], ["b", *WRONG]])
    (group,) = around.sample().groups
    assert group.rollouts[0].completion.thoughts[0] == "b</thought>"


def test_all_that_is_not_trained_is_accounted_for(surroundings: Any) -> None:
    around = surroundings(CritiqueGRPO(attempts=2), [RIGHT, WRONG, RIGHT, WRONG] * 2)
    sampled = around.sample(num_prompts=1)
    trained = {id(rollout) for group in sampled.groups for rollout in group.rollouts}
    drawn = {id(rollout) for rollout, _ in sampled.draws}
    assert len(drawn) == 4 and len(trained) == 2 and trained < drawn
    usage = around.meter.usage()
    assert (usage["draw"].requests, usage["refine"].requests) == (2, 2)


def batch_of(given: dict[str, torch.Tensor], roles: tuple[str, ...]) -> TokenBatch:
    mask = given["response_mask"].bool()
    return TokenBatch(
        token_ids=torch.zeros(mask.shape, dtype=torch.int64),
        attention_mask=torch.ones_like(mask),
        loss_mask=mask,
        old_logprobs=given["old_log_prob"],
        advantages=given["advantages"][:, 0],
        temperature=1.0,
        num_rollouts=len(roles),
        num_loss_tokens=int(mask.sum()),
        uids=("p",) * len(roles),
        roles=roles,
    )


@pytest.mark.parametrize(
    ("roles", "loss_name", "grad_name"),
    [
        ((REFINEMENT, ""), "loss", "grad_log_prob"),
        (("", ""), "loss_without_prefix_mask", "grad_without_prefix_mask"),
    ],
)
def test_loss_and_gradient_are_the_references(
    parity: Any, roles: tuple[str, ...], loss_name: str, grad_name: str
) -> None:
    case = parity("critique_loss")
    given = {
        name: torch.tensor(value)
        for name, value in case["input"].items()
        if isinstance(value, list)
    }
    expected = case["expected"]
    logprobs = given["log_prob"].requires_grad_()
    loss, metrics = CritiqueLoss(gamma=case["input"]["gamma"], response_len=3).loss(
        logprobs, batch_of(given, roles)
    )
    loss.backward()
    assert loss.item() == pytest.approx(expected[loss_name], abs=1e-6)
    torch.testing.assert_close(logprobs.grad, torch.tensor(expected[grad_name]), atol=1e-6, rtol=0)
    recorded = expected["metrics"]
    assert metrics["learner/kl_to_old"] == pytest.approx(recorded["actor/ppo_kl"], abs=1e-6)
    assert metrics["learner/ratio"] == pytest.approx(recorded["actor/on_ratio_mean"], abs=1e-6)
    share = recorded["actor/refinement_token_frac"] if REFINEMENT in roles else 0.0
    assert metrics["learner/refinement_tokens"] == pytest.approx(share)
    refined = shaped(given["log_prob"][0], 0.1)
    assert refined.mean().item() == pytest.approx(recorded["actor/off_ratio_mean"], abs=1e-6)


@pytest.mark.parametrize(
    ("component", "options"),
    [(CritiqueGRPO, {"attempts": 1}), (CritiqueLoss, {"gamma": 0}), (CritiqueLoss, {"gamma": -1})],
)
def test_options_out_of_range_are_refused(component: Any, options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="choose"):
        component(**options)
