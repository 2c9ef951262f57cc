import dataclasses

import pytest
import torch

from resetrl.batch import build_batch, take_rows
from resetrl.testing import make_prompt
from resetrl.types import Completion, Group, Prefix, ResetState, Rollout, Selection, Verdict

PROMPT = dataclasses.replace(make_prompt(), token_ids=(11, 12))
RIGHT, WRONG = Verdict(1.0, True), Verdict(0.0, False)


def rollout(token_ids, logprobs, prefix_len=0, ends=()):
    completion = Completion(token_ids, logprobs, ends, ("t",) * len(ends), "answer", "", prefix_len)
    return Rollout(PROMPT, completion)


def two_groups():
    seed = rollout((21, 22, 23, 24), (-1.0, -2.0, -3.0, -4.0), ends=(3, 4))
    base = Group("base", (seed, rollout((31,), (-5.0,))), (WRONG, RIGHT))
    state = ResetState(seed, WRONG, Selection(2, "drawn"))
    suffixes = (
        rollout((21, 22, 23, 41, 42), (-1.0, -2.0, -3.0, -0.5, -0.25), 3),
        rollout((21, 22, 23, 51), (-1.0, -2.0, -3.0, -0.75), 3),
    )
    return [base, Group("reset", suffixes, (RIGHT, WRONG), state)]


def test_a_batch_in_literal_values():
    batch = build_batch(two_groups(), [[-1.0, 1.0], [0.5, -0.5]], temperature=0.7, pad_id=99)
    assert batch.token_ids.tolist() == [
        [11, 12, 21, 22, 23, 24, 99],
        [11, 12, 31, 99, 99, 99, 99],
        [11, 12, 21, 22, 23, 41, 42],
        [11, 12, 21, 22, 23, 51, 99],
    ]
    assert batch.attention_mask.long().tolist() == [
        [1, 1, 1, 1, 1, 1, 0],
        [1, 1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 1, 0],
    ]
    assert batch.loss_mask.long().tolist() == [
        [0, 0, 1, 1, 1, 1, 0],
        [0, 0, 1, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 1, 1],
        [0, 0, 0, 0, 0, 1, 0],
    ]
    assert batch.old_logprobs.tolist() == [
        [0, 0, -1.0, -2.0, -3.0, -4.0, 0],
        [0, 0, -5.0, 0, 0, 0, 0],
        [0, 0, -1.0, -2.0, -3.0, -0.5, -0.25],
        [0, 0, -1.0, -2.0, -3.0, -0.75, 0],
    ]
    assert batch.advantages.tolist() == [-1.0, 1.0, 0.5, -0.5]
    assert (batch.num_rollouts, batch.num_loss_tokens, batch.temperature) == (4, 8, 0.7)
    assert batch.uids == ("problem-0",) * 4


def test_without_the_prefix_mask_the_prefix_is_trained_too():
    batch = build_batch(
        two_groups(), [[-1.0, 1.0], [0.5, -0.5]], temperature=0.7, mask_prefix=False
    )
    assert batch.loss_mask[2:].long().tolist() == [[0, 0, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1, 0]]
    assert batch.num_loss_tokens == 14


def test_rows_taken_are_trimmed_and_keep_the_counts_of_the_step():
    batch = build_batch(two_groups(), [[-1.0, 1.0], [0.5, -0.5]], temperature=0.7)
    part = take_rows(batch, torch.tensor([3, 1]))
    assert part.token_ids.tolist() == [[11, 12, 21, 22, 23, 51], [11, 12, 31, 0, 0, 0]]
    assert part.advantages.tolist() == [-0.5, 1.0]
    assert (part.num_rollouts, part.num_loss_tokens) == (4, 8)


def test_a_missing_advantage_is_an_error():
    with pytest.raises(ValueError, match="4 rollouts but 3 advantages"):
        build_batch(two_groups(), [[-1.0, 1.0], [0.5]], temperature=0.7)


def test_the_prefix_of_a_reset_state_is_the_stored_ids_up_to_the_thought():
    seed = rollout((21, 22, 23, 24, 25), (-1.0, -2.0, -3.0, -4.0, -5.0), ends=(2, 3, 5))
    prefixes = [ResetState(seed, WRONG, Selection(h, "drawn")).prefix for h in (1, 2, 3)]
    assert prefixes == [
        Prefix((), (), ()),
        Prefix((21, 22), (-1.0, -2.0), (2,)),
        Prefix((21, 22, 23), (-1.0, -2.0, -3.0), (2, 3)),
    ]


def test_a_group_whose_parts_do_not_fit_cannot_exist():
    one = rollout((21,), (-1.0,))
    with pytest.raises(ValueError, match="1 rollouts but 2 verdicts"):
        Group("base", (one,), (RIGHT, WRONG))
    with pytest.raises(ValueError, match="a reset group with reset_state=None"):
        Group("reset", (one,), (RIGHT,))
