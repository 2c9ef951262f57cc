"""How engine and learner differ, from literal log-probabilities."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch

from resetrl.builtin.learners import Torch
from resetrl.builtin.losses import Clipped, SuffixMean
from resetrl.errors import TrainingError
from resetrl.mismatch import first_update, mismatch_sums, with_mismatch
from resetrl.testing import random_llama
from resetrl.testing.contracts.learner import sample_batch
from resetrl.types import TokenBatch, Update
from resetrl.updates import summed_update


def make_batch(old: list[float], mask: list[bool]) -> TokenBatch:
    """One row."""
    size = len(old)
    return TokenBatch(
        token_ids=torch.zeros(1, size, dtype=torch.int64),
        attention_mask=torch.ones(1, size, dtype=torch.bool),
        loss_mask=torch.tensor([mask]),
        old_logprobs=torch.tensor([old]),
        advantages=torch.ones(1),
        temperature=1.0,
        num_rollouts=1,
        num_loss_tokens=sum(mask),
        uids=("p",),
        roles=("",),
    )


class FixedLearner:
    """Its log-probabilities are given; it takes no step."""

    def __init__(self, *parts: tuple[list[float], TokenBatch]) -> None:
        self.parts = parts

    def update(self, batch: TokenBatch, loss: Any) -> Update:
        metrics: dict[str, float] = {}
        for logprobs, part in self.parts:
            _, reported = loss.loss(torch.tensor([logprobs]), part)
            for name, number in reported.items():
                metrics[name] = metrics.get(name, 0.0) + number
        return Update(1.0, 2.0, metrics)


def test_ratios_of_one_and_two() -> None:
    """Outside of the loss mask a ratio of e^5, which counts for nothing."""
    batch = make_batch([-5.0, -1.0, -1.0], [False, True, True])
    logprobs = torch.tensor([[0.0, -1.0, -1.0 + math.log(2)]])
    sums, largest = mismatch_sums(logprobs, batch)
    assert list(sums.values()) == pytest.approx([2.0, 1 - math.log(2), 3.0, 5.0])
    assert largest == pytest.approx(2.0)


def test_micro_batches_add_up_to_the_metrics_of_the_whole() -> None:
    """(1 + 2 + 0.5)^2 / (3 x (1 + 4 + 0.25)) = 12.25 / 15.75."""
    batch = make_batch([-1.0, -1.0], [True, True])
    other = make_batch([-1.0], [True])
    learner = FixedLearner(([-1.0, -1.0 + math.log(2)], batch), ([-1.0 - math.log(2)], other))
    update = first_update(batch, SuffixMean(), learner)  # type: ignore[arg-type]
    metrics = with_mismatch(update).metrics
    assert metrics["mismatch/ess"] == pytest.approx(12.25 / 15.75)
    assert metrics["mismatch/max_ratio"] == pytest.approx(2.0)
    assert metrics["mismatch/kl"] == pytest.approx(0.5 / 3)
    assert set(metrics) - {"mismatch/ess", "mismatch/max_ratio", "mismatch/kl"} == {
        "learner/kl_to_old"
    }


def test_the_mismatch_of_two_ranks_is_that_of_all_their_tokens() -> None:
    shares = [
        first_update(batch, SuffixMean(), FixedLearner((new, batch)))  # type: ignore[arg-type]
        for new, batch in (
            ([-1.0, -1.0 + math.log(2)], make_batch([-1.0, -1.0], [True, True])),
            ([-1.0 - math.log(2)], make_batch([-1.0], [True])),
        )
    ]
    metrics = with_mismatch(summed_update(shares)).metrics
    assert metrics["mismatch/ess"] == pytest.approx(12.25 / 15.75)
    assert metrics["mismatch/max_ratio"] == pytest.approx(2.0)
    assert metrics["mismatch/kl"] == pytest.approx(0.5 / 3)


def test_the_update_is_that_of_the_loss_itself() -> None:
    watched = first_update(sample_batch(), Clipped(), Torch().start(random_llama()))
    plain = Torch().start(random_llama()).update(sample_batch(), Clipped())
    kept = {k: v for k, v in watched.metrics.items() if not k.startswith("mismatch/")}
    assert dataclasses.replace(watched, metrics=kept) == plain


def test_an_update_without_anything_to_learn_from_reports_nothing() -> None:
    batch = sample_batch()
    batch = dataclasses.replace(batch, advantages=torch.zeros_like(batch.advantages))
    update = first_update(batch, SuffixMean(), Torch().start(random_llama()))
    assert update.metrics == {"learner/trained_rollouts": 0.0}


@dataclasses.dataclass
class Broken(SuffixMean):
    """A loss that is not a number, or that raises."""

    raises: bool = False

    def loss(self, logprobs: Any, batch: TokenBatch) -> Any:
        if self.raises:
            raise KeyError("no")
        return logprobs.sum() * float("nan"), {}


@pytest.mark.parametrize("raises", [False, True])
def test_errors_name_the_loss_and_not_what_watches_it(raises: bool) -> None:
    loss = Broken(raises=raises)
    with pytest.raises(TrainingError, match="loss Broken") as caught:
        first_update(sample_batch(), loss, Torch().start(random_llama()))
    assert caught.value.component is loss
