import pytest
import torch

from resetrl.builtin.learners import Torch
from resetrl.builtin.losses import Clipped, SuffixMean
from resetrl.errors import CheckpointError, TrainingError
from resetrl.learners.torch import token_logprobs
from resetrl.testing import random_llama
from resetrl.types import TokenBatch


def make_batch(rows=6, width=12, advantages=(1.0, -1.0, 0.0, 0.5, -0.5, 2.0)):
    generator = torch.Generator().manual_seed(3)
    token_ids = torch.randint(3, 18, (rows, width), generator=generator)
    lengths = torch.tensor([12, 5, 9, 7, 12, 4][:rows])
    columns = torch.arange(width)
    attention_mask = columns[None, :] < lengths[:, None]
    loss_mask = attention_mask & (columns >= 2)
    return TokenBatch(
        token_ids=token_ids * attention_mask,
        attention_mask=attention_mask,
        loss_mask=loss_mask,
        old_logprobs=-torch.ones(rows, width) * loss_mask,
        advantages=torch.tensor(advantages),
        temperature=0.7,
        num_rollouts=rows,
        num_loss_tokens=int(loss_mask.sum()),
        uids=tuple(f"problem-{row}" for row in range(rows)),
        roles=("",) * rows,
    )


def update_and_gradient(batch, loss=None, micro_batch=32):
    """What one update returns, and the clipped gradient it leaves behind."""
    model = random_llama()
    update = Torch(micro_batch=micro_batch).start(model).update(batch, loss or SuffixMean())
    return update, torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def test_padding_to_the_right_never_changes_a_log_probability():
    model, batch = random_llama(), make_batch()
    together = token_logprobs(model, batch)
    for row, length in enumerate(batch.attention_mask.sum(dim=1).tolist()):
        alone = model(batch.token_ids[row : row + 1, :length]).logits[0, :-1] / 0.7
        expected = alone.log_softmax(-1).gather(1, batch.token_ids[row, 1:length, None])[:, 0]
        torch.testing.assert_close(together[row, 1:length], expected, atol=1e-5, rtol=0)
    assert together[:, 0].tolist() == [0.0] * 6


@pytest.mark.parametrize("loss", [SuffixMean(), Clipped()])
@pytest.mark.parametrize("micro_batch", [1, 2, 5])
def test_micro_batches_never_change_the_gradient(loss, micro_batch):
    whole, whole_gradient = update_and_gradient(make_batch(), loss)
    parts, part_gradient = update_and_gradient(make_batch(), loss, micro_batch)
    assert parts.loss == pytest.approx(whole.loss, abs=1e-6)
    assert parts.grad_norm == pytest.approx(whole.grad_norm, rel=1e-5)
    assert parts.metrics == pytest.approx(whole.metrics, abs=1e-6)
    torch.testing.assert_close(part_gradient, whole_gradient, atol=1e-6, rtol=1e-4)


def test_leaving_out_rollouts_of_zero_advantage_changes_no_gradient():
    class Everything(SuffixMean):
        ignores_zero_advantage = False

    lean, lean_gradient = update_and_gradient(make_batch())
    full, full_gradient = update_and_gradient(make_batch(), Everything())
    assert lean.metrics["learner/trained_rollouts"] == 5
    assert full.metrics["learner/trained_rollouts"] == 6
    torch.testing.assert_close(lean_gradient, full_gradient, atol=1e-6, rtol=1e-4)


def test_a_batch_without_any_advantage_changes_nothing():
    model = random_llama()
    update = Torch().start(model).update(make_batch(advantages=(0.0,) * 6), SuffixMean())
    assert (update.loss, update.grad_norm) == (0.0, 0.0)
    for one, other in zip(model.parameters(), random_llama().parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_before_the_weights_change(bad):
    model = random_llama()
    learner = Torch().start(model)
    batch = make_batch(advantages=(1.0, bad, 0.0, 0.5, -0.5, 2.0))
    with pytest.raises(TrainingError, match=r"the loss is .*problem-0, problem-1, problem-2"):
        learner.update(batch, SuffixMean())
    for name, parameter in random_llama().named_parameters():
        assert torch.equal(dict(model.named_parameters())[name], parameter)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_gradient_that_is_not_finite_stops_before_the_weights_change():
    class Steep(SuffixMean):
        def loss(self, logprobs, batch):
            value, metrics = super().loss(logprobs, batch)
            return value + (logprobs * 0).sum().sqrt(), metrics  # sqrt'(0) is infinite

    learner = Torch().start(random_llama())
    with pytest.raises(TrainingError, match="the gradient norm is nan"):
        learner.update(make_batch(), Steep())


def test_save_and_load_restore_parameters_and_optimizer_to_the_last_bit(tmp_path):
    model = random_llama()
    learner = Torch(lr=1e-2).start(model)
    learner.update(make_batch(), SuffixMean())
    learner.save(tmp_path)
    went_on = learner.update(make_batch(), SuffixMean())

    resumed_model = random_llama(rng_seed=5)
    resumed = Torch(lr=1e-2).start(resumed_model)
    resumed.load(tmp_path)
    assert resumed.update(make_batch(), SuffixMean()) == went_on
    for one, other in zip(model.parameters(), resumed_model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_checkpoint_of_another_model_is_refused(tmp_path):
    from transformers import LlamaForCausalLM

    Torch().start(random_llama()).save(tmp_path)
    config = random_llama().config
    config.num_hidden_layers = 3
    with pytest.raises(CheckpointError, match="holds another model: it lacks"):
        Torch().start(LlamaForCausalLM(config)).load(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": 0.0}, "lr is 0.0"),
        ({"max_grad_norm": -1.0}, "max_grad_norm is -1.0"),
        ({"beta1": 1.0}, "beta1=1.0"),
        ({"micro_batch": 0}, "micro_batch is 0"),
    ],
)
def test_options_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        Torch(**options)


def test_the_initial_policy_is_the_one_before_the_checkpoint_that_is_loaded(tmp_path):
    first = Torch(lr=1e-2).start(random_llama(), keep_reference=True)
    first.update(make_batch(), SuffixMean(kl=0.1))
    first.save(tmp_path)
    went_on = first.update(make_batch(), SuffixMean(kl=0.1))
    resumed = Torch(lr=1e-2).start(random_llama(), keep_reference=True)
    resumed.load(tmp_path)
    again = resumed.update(make_batch(), SuffixMean(kl=0.1))
    assert again == went_on
    assert went_on.metrics["learner/kl_to_initial"] > 1e-4


def test_at_the_initial_policy_the_penalty_is_zero():
    learner = Torch().start(random_llama(), keep_reference=True)
    update = learner.update(make_batch(), SuffixMean(kl=0.1))
    assert update.metrics["learner/kl_to_initial"] == pytest.approx(0.0, abs=1e-7)
