import dataclasses
import math
from typing import get_args

import pytest
import torch
from parity import case, case_ids

from resetrl.batch import take_rows
from resetrl.builtin.losses import Aggregation, Clipped, SuffixMean, TruncatedIS
from resetrl.errors import TrainingError
from resetrl.testing import check_loss
from resetrl.types import TokenBatch


def recorded_batch(given, *, advantages=None, starts=None):
    """A case's tensors as a TokenBatch; its columns are the completion's, without a prompt."""
    mask = torch.tensor(given["response_mask"], dtype=torch.bool)
    columns = torch.arange(mask.shape[1])
    starts = torch.tensor(given["suffix_start_idx"] if starts is None else starts)
    loss_mask = mask & (columns[None, :] >= starts[:, None])
    return TokenBatch(
        token_ids=torch.zeros(mask.shape, dtype=torch.int64),
        attention_mask=mask,
        loss_mask=loss_mask,
        old_logprobs=torch.tensor(given["old_log_prob"]),
        advantages=torch.tensor(given["reset_advantage"] if advantages is None else advantages),
        temperature=1.0,
        num_rollouts=len(mask),
        num_loss_tokens=int(loss_mask.sum()),
        uids=("a", "b", "c"),
        roles=("", "", ""),
    )


def value_and_gradient(loss, given, batch):
    logprobs = torch.tensor(given["log_prob"], requires_grad=True)
    value, metrics = loss.loss(logprobs, batch)
    value.backward()
    return value.item(), logprobs.grad, metrics


def loss_of_case(case_id):
    given = case(case_id)["input"]
    if case_id.startswith("loss_srpo_clip") or "verl" in case_id:
        aggregation = given["loss_agg_mode"].replace("-", "_")
        return Clipped(aggregation=aggregation, fixed_length=5)
    return SuffixMean()


@pytest.mark.parametrize("case_id", case_ids("loss", "parity"))
def test_losses_and_gradients_equal_the_reference(case_id):
    recorded = case(case_id)
    given, expected = recorded["input"], recorded["expected"]
    if "advantages" in given:  # verl's own loss: one advantage a row, no prefix
        rows = [row[0] for row in given["advantages"]]
        batch = recorded_batch(given, advantages=rows, starts=[0, 0, 0])
    else:
        batch = recorded_batch(given)
    value, gradient, metrics = value_and_gradient(loss_of_case(case_id), given, batch)
    assert value == pytest.approx(expected["loss"], abs=1e-6)
    torch.testing.assert_close(gradient, torch.tensor(expected["grad_log_prob"]), atol=1e-6, rtol=0)
    named = expected["metrics"]
    if "actor/ppo_kl" in named:
        assert metrics["learner/kl_to_old"] == pytest.approx(named["actor/ppo_kl"], abs=1e-6)
        assert metrics["learner/clip_fraction"] == pytest.approx(
            named["actor/pg_clipfrac"], abs=1e-6
        )


@pytest.mark.parametrize("case_id", ["loss_srpo_missing_fields", "loss_srpo_clip_missing_fields"])
@pytest.mark.parametrize("field", ["advantages", "loss_mask", "old_logprobs"])
def test_a_batch_that_lacks_a_field_is_an_error_where_the_reference_trains_on(case_id, field):
    given = case(case_id)["input"]
    batch = recorded_batch(given, advantages=[1.0, 1.0, 1.0], starts=[0, 0, 0])
    columns = {f.name: getattr(batch, f.name) for f in dataclasses.fields(batch)}
    del columns[field]
    with pytest.raises(TypeError, match=field):
        TokenBatch(**columns)


def test_token_mean_over_micro_batches_is_token_mean_over_the_batch():
    recorded = case("loss_token_mean_microbatch_dependence")
    given, expected = recorded["input"], recorded["expected"]
    batch = recorded_batch(given)
    logprobs = torch.tensor(given["log_prob"])
    parts = [
        Clipped().loss(logprobs[row : row + 1], trimmed(batch, row))[0].item() for row in range(3)
    ]
    assert sum(parts) == pytest.approx(expected["one_batch_token_mean"], abs=1e-6)
    assert sum(parts) != pytest.approx(expected["micro_batch_1"], abs=1e-2)


def trimmed(batch, row):
    """One row of the batch as a micro-batch, at its full width so that columns still agree."""
    part = take_rows(
        dataclasses.replace(batch, attention_mask=torch.ones_like(batch.loss_mask)),
        torch.tensor([row]),
    )
    assert part.num_loss_tokens == 10
    return part


def test_a_fully_masked_rollout_counts_in_the_mean_of_suffix_mean():
    given = case("loss_srpo_masked")["input"]
    batch = recorded_batch(given, starts=[0, 5, 3])
    value, gradient, _ = value_and_gradient(SuffixMean(), given, batch)
    # Row 0 alone is trained: -(1/3) * 1 * mean(-.1, -.2, -.3, -.4, -.5) = 0.1.
    assert value == pytest.approx(0.1, abs=1e-6)
    assert gradient[1:].abs().sum() == 0


def test_the_dual_clip_caps_the_loss_of_a_negative_advantage():
    given = {
        "response_mask": [[1]],
        "old_log_prob": [[-5.0]],
        "reset_advantage": [-1.0],
        "suffix_start_idx": [0],
        "log_prob": [[-0.1]],
    }
    value, gradient, _ = value_and_gradient(Clipped(), given, recorded_batch(given))
    assert value == pytest.approx(3.0)  # the ratio is e^4.9 = 134
    assert gradient.item() == 0.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clip_low": 1.5}, "clip_low=1.5"),
        ({"clip_high": 0.0}, "clip_high=0.0"),
        ({"dual_clip": 1.0}, "dual_clip is 1.0"),
        ({"fixed_length": 0}, "fixed_length is 0"),
    ],
)
def test_clip_options_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        Clipped(**options)


LITERAL = {
    "response_mask": [[1, 1], [1, 0]],
    "old_log_prob": [[-1.0, -1.0], [-1.0, 0.0]],
    "reset_advantage": [0.0, 0.0],
    "suffix_start_idx": [0, 0],
    "log_prob": [[-1.0, -1.0], [-1.0, -9.0]],
}
LN2 = math.log(2)


def with_reference(batch, reference):
    return dataclasses.replace(batch, reference_logprobs=torch.tensor(reference))


@pytest.mark.parametrize(
    ("loss", "value"),
    [
        # k3 is 2 - ln 2 - 1 on the first token, 0.5 + ln 2 - 1 on the second, 0 on the third.
        (SuffixMean(kl=0.5), 0.5 * (0.5 * ((1 - LN2) + (LN2 - 0.5)) + 0.0) / 2),
        (Clipped(kl=0.5), 0.5 * ((1 - LN2) + (LN2 - 0.5)) / 3),
        (Clipped(kl=0.5, aggregation="seq_mean_token_sum"), 0.5 * 0.5 / 2),
    ],
)
def test_the_penalty_on_leaving_the_initial_policy_in_literal_values(loss, value):
    batch = with_reference(
        recorded_batch(LITERAL, advantages=[0.0, 0.0], starts=[0, 0]),
        [[-1.0 + LN2, -1.0 - LN2], [-1.0, 0.0]],
    )
    penalty, gradient, metrics = value_and_gradient(loss, LITERAL, batch)
    assert penalty == pytest.approx(value, abs=1e-6)
    # d k3 / d logp = 1 - exp(reference - logp): -1, then 1/2, then 0; nothing outside the mask.
    assert gradient[0, 0].item() == pytest.approx(-2 * gradient[0, 1].item())
    assert gradient[0, 0] < 0
    assert gradient[1].tolist() == [0.0, 0.0]
    assert metrics["learner/kl_to_initial"] == pytest.approx(0.5 / 3, abs=1e-6)


@pytest.mark.parametrize("loss", [SuffixMean(kl=0.01), Clipped(kl=0.01)])
def test_a_penalised_loss_trains_every_rollout_and_raises_without_a_reference(loss):
    assert loss.needs_reference
    assert not loss.ignores_zero_advantage
    with pytest.raises(TrainingError, match="keep_reference=True"):
        loss.loss(torch.zeros(2, 2), recorded_batch(LITERAL, starts=[0, 0]))


@pytest.mark.parametrize("loss", [SuffixMean(), Clipped()])
def test_without_penalty_nothing_is_asked_of_the_initial_policy(loss):
    assert not loss.needs_reference
    assert loss.ignores_zero_advantage


@pytest.mark.parametrize("kl", [0.0, 0.1])
@pytest.mark.parametrize("aggregation", get_args(Aggregation))
def test_every_aggregation_keeps_the_contract_with_and_without_penalty(aggregation, kl):
    check_loss(Clipped(aggregation=aggregation, kl=kl))


def test_the_suffix_mean_keeps_the_contract_with_penalty():
    check_loss(SuffixMean(kl=0.1))


@pytest.mark.parametrize("bad", [-0.1, math.nan])
def test_a_negative_penalty_is_refused(bad):
    with pytest.raises(ValueError, match="choose 0"):
        SuffixMean(kl=bad)


def test_truncated_weights_multiply_the_gradient_of_each_token_and_not_the_loss():
    """Learner over engine is 3, 1/2 and 1; at most 2 counts."""
    given = {
        "response_mask": [[1, 1, 1]],
        "old_log_prob": [[-1.0 - math.log(3), -1.0 + LN2, -1.0]],
        "reset_advantage": [3.0],
        "suffix_start_idx": [0],
        "log_prob": [[-1.0, -1.0, -1.0]],
    }
    batch = recorded_batch(given)
    plain, _, _ = value_and_gradient(SuffixMean(), given, batch)
    value, gradient, metrics = value_and_gradient(TruncatedIS(clip=2.0), given, batch)
    assert value == plain == pytest.approx(3.0)
    assert gradient[0].tolist() == pytest.approx([-2.0, -0.5, -1.0])
    assert metrics["learner/truncated_fraction"] == pytest.approx(1 / 3)


def test_at_the_engines_own_probabilities_truncation_changes_nothing():
    batch = recorded_batch(LITERAL, advantages=[1.0, -1.0], starts=[0, 0])
    given = {**LITERAL, "log_prob": LITERAL["old_log_prob"]}
    weighted = value_and_gradient(TruncatedIS(), given, batch)
    plain = value_and_gradient(SuffixMean(), given, batch)
    assert weighted[0] == plain[0]
    assert weighted[1].tolist() == plain[1].tolist()


@pytest.mark.parametrize("kl", [0.0, 0.1])
def test_truncated_importance_sampling_keeps_the_contract_of_losses(kl):
    loss = TruncatedIS(of=SuffixMean(kl=kl), clip=1.2)
    check_loss(loss)
    assert (loss.needs_reference, loss.ignores_zero_advantage) == (kl > 0, kl == 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clip": 0.5}, "clip is 0.5: choose at least 1"),
        ({"of": None}, "of is null: choose a loss"),
        ({"of": Clipped()}, "of is Clipped, which weights tokens by this ratio itself"),
    ],
)
def test_truncation_that_makes_no_sense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TruncatedIS(**options)
