"""The contract of learners, on a randomly initialised Llama."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel

from resetrl.batch import take_rows
from resetrl.builtin.losses import SuffixMean
from resetrl.errors import TrainingError
from resetrl.interfaces import Learner, LearnerSpec
from resetrl.testing.contracts._require import require
from resetrl.testing.llama import VOCABULARY, one_thread, random_llama
from resetrl.types import TokenBatch

_LOSS = SuffixMean()


def sample_batch(rng_seed: int = 0) -> TokenBatch:
    """Eight rollouts of 6 to 20 tokens, one of them of advantage 0."""
    generator = torch.Generator().manual_seed(rng_seed)
    lengths = torch.tensor([6, 20, 9, 12, 15, 7, 18, 11])
    columns = torch.arange(20)
    attention_mask = columns < lengths[:, None]
    token_ids = torch.randint(2, len(VOCABULARY), (8, 20), generator=generator) * attention_mask
    loss_mask = attention_mask & (columns >= 4)
    return TokenBatch(
        token_ids=token_ids,
        attention_mask=attention_mask,
        loss_mask=loss_mask,
        old_logprobs=torch.full((8, 20), -1.0) * loss_mask,
        advantages=torch.tensor([1.0, -1.0, 0.5, -0.5, 2.0, 0.0, -1.5, 0.25]),
        temperature=0.7,
        num_rollouts=8,
        num_loss_tokens=int(loss_mask.sum()),
        uids=tuple(f"problem-{number}" for number in range(8)),
        roles=("",) * 8,
    )


def knows_how_many_parameters_it_has(spec: LearnerSpec) -> None:
    model = random_llama()
    expected = sum(parameter.numel() for parameter in model.parameters())
    learner = spec.start(model)
    number, trained = learner.num_parameters, learner.num_trained_parameters
    require(number == expected, f"num_parameters is {number} for a model of {expected}")
    require(0 < trained <= number, f"num_trained_parameters is {trained} of {number}")


def changes_the_parameters_and_says_by_what(spec: LearnerSpec) -> None:
    learner = spec.start(random_llama())
    before = _parameters(learner)
    update = learner.update(sample_batch(), _LOSS)
    require(
        math.isfinite(update.loss) and math.isfinite(update.grad_norm) and update.grad_norm > 0,
        f"the update reports loss {update.loss} and gradient norm {update.grad_norm}",
    )
    require(not _equal(before, _parameters(learner)), "an update left every parameter as it was")


def yields_every_parameter_under_its_name(spec: LearnerSpec) -> None:
    """Before and after an update; a model that the learner says it trains holds the same."""
    model = random_llama()
    expected = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    learner = spec.start(model)
    initial = _parameters(learner)
    require(
        list(initial) == list(expected),
        f"weights() yields the names {sorted(initial)} for the state dict {sorted(expected)}",
    )
    require(_equal(initial, expected), "weights() differ from the model's before any update")
    learner.update(sample_batch(), _LOSS)
    updated = random_llama()
    updated.load_state_dict(_parameters(learner))
    require(
        torch.allclose(learner.logprobs(sample_batch()), _logprobs(updated), atol=1e-5),
        "logprobs() after an update are not those of weights()",
    )
    if learner.trains(model):
        require(
            _equal(_parameters(learner), dict(model.state_dict())),
            "the learner says that it trains the model in place, which holds other parameters",
        )
    require(not learner.trains(random_llama()), "the learner says that it trains any model")


def learns_the_same_in_any_micro_batches_and_order(spec: LearnerSpec) -> None:
    """Also with the rows in another order, and of each option `micro_batch` the spec may have."""
    whole, changed = _trained(spec, sample_batch())
    shuffled = take_rows(sample_batch(), torch.tensor([3, 7, 0, 5, 2, 6, 1, 4]))
    others = {"the rows in another order": _trained(spec, shuffled)}
    if any(option.name == "micro_batch" for option in dataclasses.fields(cast(Any, spec))):
        for size in (1, 3):
            smaller = dataclasses.replace(cast(Any, spec), micro_batch=size)
            others[f"micro_batch={size}"] = _trained(smaller, sample_batch())
    for what, (other, other_changed) in others.items():
        for name in ("loss", "grad_norm"):
            one, two = getattr(whole, name), getattr(other, name)
            require(
                math.isclose(one, two, rel_tol=1e-4, abs_tol=1e-6),
                f"{name} is {one:.8f}, and {two:.8f} with {what}",
            )
        # Adam divides by the gradient's size, so single parameters may differ, their sum may not.
        share = (changed - other_changed).abs().sum() / changed.abs().sum()
        require(share.item() < 0.01, f"{what} changes the update by {100 * share.item():.2g} %")


def restores_what_it_saved_to_the_last_bit(spec: LearnerSpec) -> None:
    learner = spec.start(random_llama())
    learner.update(sample_batch(0), _LOSS)
    other = spec.start(random_llama(rng_seed=1))
    with tempfile.TemporaryDirectory() as folder:
        learner.save(Path(folder))
        saved = _parameters(learner)
        learner.update(sample_batch(1), _LOSS)
        other.load(Path(folder))
    require(_equal(saved, _parameters(other)), "loaded parameters differ from saved ones")
    other.update(sample_batch(1), _LOSS)
    require(
        _equal(_parameters(learner), _parameters(other)),
        "the same update after loading gives other parameters: save the optimizer's state too",
    )


def refuses_what_is_not_finite_and_changes_nothing(spec: LearnerSpec) -> None:
    learner = spec.start(random_llama())
    before = _parameters(learner)
    for broken in (_Broken("nan"), _Broken("inf"), _Broken("gradient"), _Broken("one row")):
        try:
            learner.update(sample_batch(), broken)
        except TrainingError as error:
            require(
                "problem-2" in str(error),
                f"the error for {broken.what} does not name the prompts of the batch: {error}",
            )
        else:
            raise AssertionError(f"{broken.what}: no TrainingError was raised")
        require(_equal(before, _parameters(learner)), f"{broken.what}: the parameters changed")
    learner.update(sample_batch(), _LOSS)
    untroubled = spec.start(random_llama())
    untroubled.update(sample_batch(), _LOSS)
    require(
        _equal(_parameters(learner), _parameters(untroubled)),
        "the update after a refused one differs from a first one: drop gradients that were refused",
    )


def compares_with_the_initial_policy_where_a_loss_needs_it(spec: LearnerSpec) -> None:
    """Also after updates and after loading a checkpoint; without a copy it refuses the loss."""
    learner = spec.start(random_llama(), keep_reference=True)
    seen = _References()
    learner.update(sample_batch(), seen)
    expected = dict(seen.logprobs)
    learner.update(sample_batch(), seen)
    other = spec.start(random_llama(), keep_reference=True)
    with tempfile.TemporaryDirectory() as folder:
        learner.save(Path(folder))
        other.load(Path(folder))
    other.update(sample_batch(), seen)
    require(not _close(seen.logprobs, expected), "updates and checkpoint changed no probability")
    for reference in seen.references:
        require(
            _close(reference, expected),
            "batch.reference_logprobs are not those of the parameters the learner was started "
            "with: copy them in start, and leave the copy alone in update and load",
        )
    try:
        spec.start(random_llama()).update(sample_batch(), seen)
    except TrainingError:
        return
    raise AssertionError("a loss that needs the initial policy was accepted without a copy of it")


CHECKS = tuple(
    one_thread()(check)
    for check in (
        knows_how_many_parameters_it_has,
        changes_the_parameters_and_says_by_what,
        yields_every_parameter_under_its_name,
        learns_the_same_in_any_micro_batches_and_order,
        restores_what_it_saved_to_the_last_bit,
        refuses_what_is_not_finite_and_changes_nothing,
        compares_with_the_initial_policy_where_a_loss_needs_it,
    )
)


@dataclass
class _Broken:
    """A loss that is not finite, as a whole, in its gradient or for one row only."""

    what: str
    ignores_zero_advantage: ClassVar[bool] = False
    needs_reference: ClassVar[bool] = False

    def loss(self, logprobs: Tensor, batch: TokenBatch) -> tuple[Tensor, Mapping[str, float]]:
        total = logprobs.sum()
        if self.what == "gradient":  # sqrt has no derivative at 0
            return (total - total.detach()).sqrt(), {}
        if self.what == "one row" and "problem-2" not in batch.uids:
            return total, {}
        return total * float("inf" if self.what == "inf" else "nan"), {}


@dataclass
class _References:
    """A loss that keeps each update's reference log-probabilities, and the last one's own.

    Both by problem and trimmed to the loss mask, because micro-batches and their order are free.
    """

    ignores_zero_advantage: ClassVar[bool] = False
    needs_reference: ClassVar[bool] = True
    references: list[dict[str, Tensor]] = field(default_factory=list)
    logprobs: dict[str, Tensor] = field(default_factory=dict)

    def loss(self, logprobs: Tensor, batch: TokenBatch) -> tuple[Tensor, Mapping[str, float]]:
        if not self.references or batch.uids[0] in self.references[-1]:
            self.references.append({})
        for row, uid in enumerate(batch.uids):
            mask = batch.loss_mask[row]
            self.references[-1][uid] = batch.reference[row][mask].detach().clone()
            self.logprobs[uid] = logprobs[row][mask].detach().clone()
        return _LOSS.loss(logprobs, batch)


def _close(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return all(torch.allclose(tensor, other[uid], atol=1e-5) for uid, tensor in one.items())


def _parameters(learner: Learner) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in learner.weights()}


@torch.no_grad()
def _logprobs(model: PreTrainedModel) -> Tensor:
    """Log-probabilities [R, T] of the sample batch by a plain forward pass."""
    batch = sample_batch()
    mask = batch.attention_mask.long()
    logits = model(input_ids=batch.token_ids, attention_mask=mask).logits[:, :-1]
    every = (logits.float() / batch.temperature).log_softmax(dim=-1)
    chosen = every.gather(-1, batch.token_ids[:, 1:, None])[..., 0]
    return torch.nn.functional.pad(chosen, (1, 0))


def _equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def _trained(spec: LearnerSpec, batch: TokenBatch) -> tuple[Any, Tensor]:
    """The update on a fresh model and the change of all its parameters, as one vector."""
    learner = spec.start(random_llama())
    before = _parameters(learner)
    update = learner.update(batch, _LOSS)
    after = _parameters(learner)
    return update, torch.cat([(after[name] - before[name]).flatten() for name in before])
