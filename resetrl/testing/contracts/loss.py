"""The contract of losses."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from resetrl.batch import build_batch, take_rows
from resetrl.errors import TrainingError
from resetrl.interfaces import Loss
from resetrl.testing.contracts._require import require
from resetrl.testing.fakes import make_rollout
from resetrl.types import Group, ResetState, Selection, TokenBatch, Verdict

_WRONG = Verdict(0.0, False)
_TOLERANCE = 1e-6


def sample_batch(loss: Loss) -> TokenBatch:
    """A base group of 4 and a reset group of 3, its third rollout without a suffix.

    Advantages are 1, -1, 0 and 0.5, then 1.5, -0.5 and -1; prompts have 6 tokens, completions 4
    to 16, and the loss mask leaves the prefix of 6 tokens out. If the loss needs the initial
    policy, its log-probabilities are there, close to the old ones.
    """
    seed = make_rollout(["3+4=7", "7*6=3!", "\\boxed{3}"])
    base = (seed, make_rollout(["3+4=7", "\\boxed{7}"]), make_rollout(["\\boxed{2}"]))
    reset_state = ResetState(seed, _WRONG, Selection(2, "checked"))
    suffixes: tuple[list[str], ...] = (["7*6=2", "\\boxed{2}"], ["\\boxed{9}"], [])
    resets = tuple(make_rollout(["3+4=7", *suffix], prefix=1) for suffix in suffixes)
    groups = (
        Group("base", (*base, seed), (_WRONG,) * 4),
        Group("reset", resets, (_WRONG,) * 3, reset_state),
    )
    batch = build_batch(groups, ((1.0, -1.0, 0.0, 0.5), (1.5, -0.5, -1.0)), temperature=0.7)
    if not getattr(loss, "needs_reference", False):
        return batch
    return dataclasses.replace(batch, reference_logprobs=batch.old_logprobs * 1.02)


def is_a_finite_scalar_with_numbers_as_metrics(loss: Loss) -> None:
    batch = sample_batch(loss)
    value, metrics = loss.loss(_logprobs(batch), batch)
    require(
        isinstance(value, Tensor) and value.shape == () and bool(value.isfinite()),
        f"the loss is {value!r}: return a finite scalar tensor",
    )
    for name, number in metrics.items():
        require(isinstance(number, float | int), f"metric {name!r} is {number!r}: return a number")


def stays_finite_far_from_the_old_policy(loss: Loss) -> None:
    batch = sample_batch(loss)
    for shift in (-60.0, 60.0):
        logprobs = (batch.old_logprobs + shift).requires_grad_()
        value, gradient = _value_and_gradient(loss, logprobs, batch)
        require(
            bool(value.isfinite()) and bool(gradient.isfinite().all()),
            f"log-probabilities {shift:+} from the old ones give the loss {value.item()}: clamp "
            "the ratio's exponent",
        )


def has_no_gradient_outside_the_mask(loss: Loss) -> None:
    batch = sample_batch(loss)
    _, gradient = _value_and_gradient(loss, _logprobs(batch), batch)
    places = ((gradient != 0) & ~batch.loss_mask).nonzero().tolist()
    require(
        not places,
        f"tokens outside the loss mask have a gradient, the first in row and column {places[:1]}: "
        "multiply by batch.loss_mask",
    )
    require(bool((gradient != 0).any()), "no token has a gradient")


def is_the_sum_of_its_micro_batches(loss: Loss) -> None:
    batch = sample_batch(loss)
    whole, metrics = loss.loss(_logprobs(batch), batch)
    for size in (1, 3):
        total, gradient, parts_metrics = _in_parts(loss, batch, size)
        require(
            abs(total - whole.item()) <= _TOLERANCE,
            f"the loss is {whole.item():.8f}, but {total:.8f} in micro-batches of {size}: "
            "normalise by batch.num_rollouts and batch.num_loss_tokens, not by what you are given",
        )
        difference = (gradient - _value_and_gradient(loss, _logprobs(batch), batch)[1]).abs().max()
        require(
            difference.item() <= _TOLERANCE,
            f"micro-batches of {size} change the gradient by {difference.item():.2g}",
        )
        for name, number in metrics.items():
            require(
                abs(parts_metrics.get(name, float("nan")) - number) <= 1e-5,
                f"metric {name!r} is {number}, but its parts add up to {parts_metrics.get(name)}",
            )


def keeps_its_word_on_advantage_0(loss: Loss) -> None:
    ignores = getattr(loss, "ignores_zero_advantage", None)
    require(
        isinstance(ignores, bool),
        f"ignores_zero_advantage is {ignores!r}: say True or False in a ClassVar[bool]",
    )
    batch = sample_batch(loss)
    _, gradient = _value_and_gradient(loss, _logprobs(batch), batch)
    require(
        not ignores or not bool(gradient[batch.advantages == 0].any()),
        "ignores_zero_advantage is True, but a rollout of advantage 0 has a gradient",
    )


def keeps_its_word_on_the_initial_policy(loss: Loss) -> None:
    """Without the log-probabilities it says it needs it raises TrainingError."""
    needs = getattr(loss, "needs_reference", None)
    require(
        isinstance(needs, bool),
        f"needs_reference is {needs!r}: say True or False in a ClassVar[bool]",
    )
    if not needs:
        return
    batch = dataclasses.replace(sample_batch(loss), reference_logprobs=None)
    try:
        loss.loss(_logprobs(batch), batch)
    except TrainingError:
        return
    raise AssertionError(
        "needs_reference is True, but the loss does without: read batch.reference, which raises "
        "where there is none"
    )


def makes_good_rollouts_more_probable(loss: Loss) -> None:
    """At the old policy, the gradient of every rollout of positive advantage adds up below 0."""
    batch = sample_batch(loss)
    logprobs = batch.old_logprobs.clone().requires_grad_()
    _, gradient = _value_and_gradient(loss, logprobs, batch)
    sums = gradient.sum(dim=1)[(batch.advantages > 0) & batch.loss_mask.any(dim=1)]
    require(
        bool((sums < 0).all()),
        "descending the loss makes a rollout of positive advantage less probable: check its sign",
    )


CHECKS = (
    is_a_finite_scalar_with_numbers_as_metrics,
    stays_finite_far_from_the_old_policy,
    has_no_gradient_outside_the_mask,
    is_the_sum_of_its_micro_batches,
    keeps_its_word_on_advantage_0,
    keeps_its_word_on_the_initial_policy,
    makes_good_rollouts_more_probable,
)


def _logprobs(batch: TokenBatch) -> Tensor:
    """Log-probabilities [R, T] near the old ones, some beyond a usual clip range."""
    generator = torch.Generator().manual_seed(0)
    noise = 0.3 * torch.randn(batch.old_logprobs.shape, generator=generator)
    return (batch.old_logprobs + noise).clamp(max=0).requires_grad_()


def _value_and_gradient(loss: Loss, logprobs: Tensor, batch: TokenBatch) -> tuple[Tensor, Tensor]:
    value, _ = loss.loss(logprobs, batch)
    (gradient,) = torch.autograd.grad(value, logprobs)
    return value.detach(), gradient


def _in_parts(loss: Loss, batch: TokenBatch, size: int) -> tuple[float, Tensor, dict[str, float]]:
    """Loss, gradient [R, T] and metrics of micro-batches of `size` rows, added up."""
    logprobs = _logprobs(batch)
    total = torch.zeros(())
    metrics: dict[str, float] = {}
    for rows in torch.split(torch.arange(len(batch.uids)), size):
        part = take_rows(batch, rows)
        value, part_metrics = loss.loss(logprobs[rows, : part.token_ids.shape[1]], part)
        total = total + value
        for name, number in part_metrics.items():
            metrics[name] = metrics.get(name, 0.0) + number
    (gradient,) = torch.autograd.grad(total, logprobs)
    return total.item(), gradient, metrics
