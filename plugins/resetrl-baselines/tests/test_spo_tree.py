"""SPO-Tree: the shape of trees, the values of nodes, and the reference's numbers."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from resetrl_baselines.spo_tree import SPOTree, SPOTreeLoss, node_values, token_weights

from resetrl.advantages import group_advantages
from resetrl.batch import build_batch
from resetrl.errors import ConfigError
from resetrl.metrics import step_metrics
from resetrl.testing import FakeTask
from resetrl.types import Limits

RIGHT, WRONG = ["\\boxed{1}"], ["\\boxed{9}"]

# The prompt 0+1, segments of 10 tokens, thoughts of 5: the first segment has two thoughts, the
# second reaches its answer at once and is a leaf; four leaves go on from the first.
TREE = [["aaaa", "bbbb", "never"], RIGHT, RIGHT, WRONG, WRONG, WRONG]


def test_segments_branch_behind_their_length_and_end_with_a_thought(surroundings: Any) -> None:
    around = surroundings(SPOTree(segment_len=10), TREE)
    sampled = around.sample()
    first, second = sampled.groups
    path = "0+1\n|aaaa</thought>bbbb</thought>"
    assert around.asked() == ["0+1\n"] * 2 + [path] * 4
    assert [rollout.completion.stop for rollout in first.rollouts] == ["unfinished", "answer"]
    assert first.rollouts[0].completion.token_ids == (*b"aaaa", 2, *b"bbbb", 2)
    assert (first.kind, second.kind) == ("level_1", "level_2")


def test_a_node_is_worth_the_mean_of_its_children(surroundings: Any) -> None:
    sampled = surroundings(SPOTree(segment_len=10), TREE).sample()
    first, second = sampled.groups
    assert first.shaped_rewards == (0.25, 1.0)
    assert second.shaped_rewards == (1.0, 0.0, 0.0, 0.0)
    assert first.rewards == (0.25, 1.0)
    assert first.verdicts[0].details == {"why": "mean reward of what goes on from it"}
    assert sampled.metrics == {"draws/accuracy": 0.625, "tree/leaves": 5.0}


def test_a_shared_segment_is_trained_once(surroundings: Any) -> None:
    sampled = surroundings(SPOTree(segment_len=10), TREE).sample()
    advantages = [group_advantages(group.shaped_rewards, "mean_only") for group in sampled.groups]
    batch = build_batch(sampled.groups, advantages, temperature=0.7)
    trained = [int(row.sum()) for row in batch.loss_mask]
    # The prompt has 4 tokens, the segment 10, an answer 4; leaves are trained behind the segment.
    assert trained == [10, 4, 4, 4, 4, 4]
    assert batch.loss_mask[2].long().tolist() == [0] * 14 + [1] * 4
    assert batch.advantages.tolist() == pytest.approx([-0.375, 0.375, 0.75, -0.25, -0.25, -0.25])


def test_segments_count_in_no_mean_over_rollouts(surroundings: Any) -> None:
    sampled = surroundings(SPOTree(segment_len=10), TREE).sample()
    metrics = step_metrics(sampled, [[1.0, -1.0], [0.0] * 4], FakeTask(), "</thought>")
    expected = {
        "rollouts/trained": 5.0,
        "rollouts/drawn": 5.0,
        "reward/mean": 0.4,
        "level_1/accuracy": 1.0,
        "level_2/accuracy": 0.25,
        "stop/answer": 1.0,
    }
    assert {name: metrics[name] for name in expected} == expected


def test_leaves_that_cannot_be_judged_count_in_no_value(surroundings: Any) -> None:
    some = [["aaaa", "bbbb"], ["aaaa", "bbbb"], RIGHT, ["?"], WRONG, ["?"], *[["?"]] * 4]
    around = surroundings(SPOTree(segment_len=10), some)
    first, second, third = around.sample().groups
    assert (first.shaped_rewards, first.rewards) == ((0.5, 0.0), (0.5, 0.0))
    errors = [[bool(verdict.error) for verdict in g.verdicts] for g in (first, second, third)]
    assert errors == [[False, True], [False, True, False, True], [True] * 4]


def test_a_wave_a_level_and_every_node_its_own_random_seed(surroundings: Any) -> None:
    around = surroundings(SPOTree((2, 2, 2), segment_len=10), lambda request: ["aaaa"] * 9)
    sampled = around.sample(num_prompts=2)
    assert len(around.policy.requests) == 2 * (2 + 4 + 8)
    assert len({request.rng_seed for request in around.policy.requests}) == 28
    assert [len(group.rollouts) for group in sampled.groups] == [2] * 14
    usage = around.meter.usage()
    assert (usage["draw"].requests, usage["branch"].requests) == (4, 24)


@pytest.mark.parametrize(
    ("max_completion_len", "max_thought_len", "expected"), [(5120, 256, 600), (192, 16, 24)]
)
def test_segments_are_the_papers_or_an_eighth_of_a_completion(
    max_completion_len: int, max_thought_len: int, expected: int
) -> None:
    limits = Limits(20, max_thought_len, max_completion_len)
    level = SPOTree()._limits(1, limits)
    assert level.max_completion_len == expected + max_thought_len - 1
    assert SPOTree()._limits(2, limits) is limits


def test_segments_that_do_not_fit_are_refused_before_the_run_starts(surroundings: Any) -> None:
    around = surroundings(SPOTree(segment_len=95), [])
    with pytest.raises(ConfigError, match=r"segment_len 95 does not fit .* choose 10 to 90 for 2"):
        around.sample(num_prompts=0)


def test_a_segment_that_ends_at_the_runs_own_limit_is_a_leaf(surroundings: Any) -> None:
    around = surroundings(SPOTree(segment_len=10), [["aaaa", "bbbb"]] * 2)
    around.method = dataclasses.replace(around.method, limits=Limits(2, 10, 100))
    (group,) = around.sample().groups
    assert [rollout.completion.stop for rollout in group.rollouts] == ["max_thoughts"] * 2


def test_a_segment_behind_which_the_context_has_no_room_is_a_leaf(surroundings: Any) -> None:
    # The prompt has 4 tokens and the segment 10: a thought of 10 would need a context of 24.
    around = surroundings(SPOTree(segment_len=10), [["aaaa", "bbbb"]] * 2, context_len=23)
    (group,) = around.sample().groups
    assert [rollout.completion.stop for rollout in group.rollouts] == ["budget"] * 2


def test_values_and_advantages_of_a_full_tree_are_the_references(parity: Any) -> None:
    case = parity("spo_tree_adv")
    paths = [tuple(path) for path in case["input"]["paths"]]
    values = node_values(dict(zip(paths, case["input"]["rewards"], strict=True)))
    assert {str(list(path)): value for path, value in values.items()} == case["expected"]["values"]
    assert [advantages_along(path, values) for path in paths] == case["expected"]["advantages"]


def advantages_along(path: tuple[int, ...], values: dict[tuple[int, ...], float]) -> list[float]:
    """The advantages of the segments of a path, compared with their siblings as a step does it."""
    advantages = []
    for depth in range(1, len(path) + 1):
        siblings = sorted(
            each for each in values if len(each) == depth and each[:-1] == path[: depth - 1]
        )
        compared = group_advantages([values[each] for each in siblings], "mean_only")
        advantages.append(compared[siblings.index(path[:depth])])
    return advantages


def test_the_probability_mask_is_applied_as_the_reference_means_it(parity: Any) -> None:
    """Not as it runs, where a misspelt key drops it: the recorded rows `without_mask`."""
    case = parity("spo_tree_token_adv")
    paths = [tuple(path) for path in case["input"]["paths"]]
    values = node_values(dict(zip(paths, case["input"]["rewards"], strict=True)))
    segment_ids = torch.tensor(case["input"]["segment_token_ids"])
    mask = (segment_ids > 0).expand(len(paths), -1)
    padded = [[0.0, *advantages_along(path, values)] for path in paths]
    advantages = torch.tensor(padded)[:, segment_ids]
    old_logprobs = torch.tensor(case["input"]["token_probs"]).log().expand(len(paths), -1)
    weights = token_weights(old_logprobs, mask, threshold=0.9)
    # The reference scales so that a mean over all tokens comes to a mean over rows of row means.
    scaled = advantages * weights * mask.sum() / len(paths)
    expected = case["expected"]
    for row in (0, 4):
        torch.testing.assert_close(
            scaled[row], torch.tensor(expected[f"with_mask_row{row}"]), atol=1e-6, rtol=0
        )


def test_the_loss_trains_unsure_tokens_only_and_clips_the_ratio(surroundings: Any) -> None:
    sampled = surroundings(SPOTree(segment_len=10), TREE).sample()
    batch = build_batch(sampled.groups, [[1.0, -1.0], [0.0] * 4], temperature=0.7)
    old = batch.old_logprobs.clone()
    old[0, 4:12] = -0.05  # a probability of 0.95, so that 2 of the segment's 10 tokens are left
    batch = dataclasses.replace(batch, old_logprobs=old)
    logprobs = old.clone()
    logprobs[0, 13] += 0.5  # beyond the clip
    logprobs.requires_grad_()
    loss, metrics = SPOTreeLoss().loss(logprobs, batch)
    loss.backward()
    assert logprobs.grad is not None
    assert logprobs.grad[0, 4:14].tolist() == pytest.approx([0] * 8 + [-1 / 2 / 6, 0])
    assert loss.item() == pytest.approx(-((1 + 1.2) / 2 - 1) / 6)
    assert metrics["learner/unsure_tokens"] == pytest.approx(22 / 30)


@pytest.mark.parametrize(
    ("component", "options"),
    [
        (SPOTree, {"branching": ()}),
        (SPOTree, {"branching": (1, 8)}),
        (SPOTree, {"segment_len": -1}),
        (SPOTreeLoss, {"threshold": 0}),
        (SPOTreeLoss, {"clip": 1}),
    ],
)
def test_options_out_of_range_are_refused(component: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"choose|give"):
        component(**options)
