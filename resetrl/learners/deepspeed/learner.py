"""The learner of several processes: AdamW under DeepSpeed's ZeRO, on CPUs or GPUs.

Every rank takes the same optimizer steps, each with its own rows of the batch, and reports its
own share of the loss; gradients, and with them parameters, are those of all rows together.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor

from resetrl.batch import take_rows
from resetrl.errors import blaming, list_names
from resetrl.interfaces import Loss
from resetrl.learners.deepspeed.engine import Zero, start_engine, whole
from resetrl.learners.deepspeed.state import ZeroState
from resetrl.learners.torch import step_refused, to_device, token_logprobs, trained_rows
from resetrl.lora import adapters_off, is_adapted, weights
from resetrl.types import TokenBatch, Update

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from resetrl.builtin.learners import DeepSpeed


@dataclasses.dataclass(frozen=True)
class _Passed:
    """A micro-batch that went forward and backward: what is needed to find what broke it."""

    batch: TokenBatch
    logprobs: Tensor


class DeepSpeedLearner:
    """AdamW with a constant learning rate, gradient-norm clipping and micro-batches, under ZeRO.

    Trains the adapters of an adapted model, and every parameter of any other. Up to stage 2 it
    trains the model it was given, in place; stage 3 takes parameters apart, so it trains a copy.
    A bfloat16 model has float32 parameters behind its own.
    """

    def __init__(
        self, model: PreTrainedModel, options: DeepSpeed, keep_reference: bool = False
    ) -> None:
        zero = Zero(options.stage, options.offload_optimizer, options.offload_parameters)
        self.num_parameters = sum(p.numel() for p in model.parameters())
        self.num_trained_parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
        self._options = options
        self._module = copy.deepcopy(model) if zero.stage == 3 else model
        self._keeps_reference = keep_reference
        self._reference: Any = None  # of an adapted model it is that without its adapters
        if keep_reference and not is_adapted(model):
            self._reference = copy.deepcopy(model).eval()
            if zero.stage == 3:
                self._reference = start_engine(self._reference, zero, options.max_grad_norm)
        trained = [p for p in self._module.parameters() if p.requires_grad]
        # The first step, which only makes the moments, must move nothing: its rate is 0.
        betas = (options.beta1, options.beta2)
        optimizer = torch.optim.AdamW(
            trained, lr=0.0, weight_decay=options.weight_decay, betas=betas
        )
        self._engine = start_engine(self._module, zero, options.max_grad_norm, optimizer)
        self._num_ranks = dist.get_world_size()
        if zero.stage == 0 and self._num_ranks == 1:  # it would copy every gradient, for nobody
            self._engine.enable_backward_allreduce = False
        self._state = ZeroState(self._engine, self._module, model)
        self._backward_of_nothing(needs_reference=False, is_last=True)
        self._step()
        self._state.num_steps = 0
        for group in optimizer.param_groups:
            group["lr"] = options.lr

    def update(self, batch: TokenBatch, loss: Loss) -> Update:
        """One optimizer step on all ranks' batches, in micro-batches of rows of similar length.

        Loss, metrics and tokens are this rank's share, the gradient norm is that of all. Each rank
        passes as many micro-batches as the one that has most, because ZeRO waits for it.
        """
        rows = trained_rows(batch, loss)
        parts = rows.split(self._options.micro_batch) if len(rows) else ()
        metrics = {"learner/trained_rollouts": float(len(rows))}
        num_passes = self._largest(len(parts))
        if not num_passes:
            return Update(loss=0.0, grad_norm=0.0, metrics=metrics)
        self._module.train()
        total = 0.0
        passed: list[_Passed] = []
        for place in range(num_passes):
            is_last = place == num_passes - 1
            if place >= len(parts):
                self._backward_of_nothing(loss.needs_reference, is_last)
                continue
            part = self._on_device(take_rows(batch, parts[place]), loss)
            logprobs = token_logprobs(self._engine, part)
            with blaming(loss, "loss", part.uids):
                value, part_metrics = loss.loss(logprobs, part)
            passed.append(_Passed(part, logprobs.detach()))
            total += value.item()
            # A loss that is not finite makes the gradient so, which every rank gets to see.
            factor = self._num_ranks if math.isfinite(value.item()) else math.nan
            self._backward(value * factor, is_last)
            for name, number in part_metrics.items():
                metrics[name] = metrics.get(name, 0.0) + number
        norm = self._step()
        if not math.isfinite(norm):
            self._refuse(passed, loss)
        num_tokens = int(batch.attention_mask[rows].sum())
        return Update(
            loss=total,
            grad_norm=norm,
            metrics=metrics,
            learned_tokens=num_tokens,
            scored_tokens=num_tokens if loss.needs_reference else 0,
        )

    def _on_device(self, batch: TokenBatch, loss: Loss) -> TokenBatch:
        """The micro-batch where the model is, with the reference's log-probabilities if asked."""
        batch = to_device(batch, self._engine.device)
        if not loss.needs_reference or not self._keeps_reference:
            return batch
        with torch.no_grad(), adapters_off(self._module):
            reference = token_logprobs(self._reference or self._engine, batch)
        return dataclasses.replace(batch, reference_logprobs=reference)

    def _backward(self, value: Tensor, is_last: bool) -> None:
        """Add a gradient; DeepSpeed divides sums over ranks by their number, so it is in `value`.

        Without the boundary said before each pass, stages 1 and 2 lose all gradients but the last.
        """
        self._engine.set_gradient_accumulation_boundary(is_last)
        self._engine.backward(value, scale_wrt_gas=False)

    def _backward_of_nothing(self, needs_reference: bool, is_last: bool) -> None:
        """A pass of two tokens with a gradient of 0, for a rank that has nothing left to learn."""
        token_ids = torch.zeros((1, 2), dtype=torch.int64, device=self._engine.device)
        if needs_reference and self._keeps_reference:
            with torch.no_grad(), adapters_off(self._module):
                (self._reference or self._engine)(input_ids=token_ids, use_cache=False)
        logits = self._engine(input_ids=token_ids, use_cache=False).logits
        self._backward(logits.float().sum() * 0.0, is_last)

    def _step(self) -> float:
        """Clip and step; returns the norm before, and takes no step where that is not finite."""
        if self._state.is_plain:  # where DeepSpeed steps whatever the gradient, and tells no norm
            parameters = [p for p in self._module.parameters() if p.requires_grad]
            norm = torch.nn.utils.clip_grad_norm_(parameters, self._options.max_grad_norm).item()
            if not math.isfinite(norm):
                self._engine.zero_grad()
                return norm
        self._engine.step()
        if not self._engine.was_step_applied():
            return math.nan
        return norm if self._state.is_plain else float(self._engine.get_global_grad_norm())

    def _largest(self, count: int) -> int:
        """The largest of the ranks' counts."""
        counts = torch.tensor(count, device=self._engine.device)
        dist.all_reduce(counts, dist.ReduceOp.MAX)
        return int(counts.item())

    def _refuse(self, passed: Sequence[_Passed], loss: Loss) -> NoReturn:
        """On all ranks alike, with the prompts of every rank's rows that are not finite."""
        mine = [uid for each in passed for uid in _not_finite(each, loss)]
        found: list[list[str]] = [[] for _ in range(self._num_ranks)]
        dist.all_gather_object(found, mine)
        culprits = [uid for uids in found for uid in uids]
        remedy = f"look at the rollouts of these prompts: {list_names(culprits)}"
        if not culprits:  # then it is the model's own gradient
            remedy = "look at the rollouts of this step"
        raise step_refused(loss, "it or its gradient is not finite", remedy)

    def trains(self, model: PreTrainedModel) -> bool:
        """Its updates change the model that it was started with, but for stage 3."""
        return model is self._module

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """The parameters, tied ones under each of their names; adapted ones merged.

        In stage 3 they are gathered one by one.
        """
        for weight in weights(self._module):
            with whole(*weight.sources):
                yield weight.name, weight.whole()

    @torch.no_grad()
    def logprobs(self, batch: TokenBatch) -> Tensor:
        """Log-probabilities [R, T] of the batch's tokens under the present parameters."""
        return token_logprobs(self._engine, batch)

    def save(self, folder: Path) -> None:
        """Write a Hugging Face or peft adapter folder and the optimizer's state, from rank 0.

        Both are whole: a run of any stage and number of ranks reads them, and one of
        `learner=torch`.
        """
        self._state.save(folder)

    def load(self, folder: Path) -> None:
        """Restore parameters and optimizer to the last bit."""
        self._state.load(folder)


def _not_finite(passed: _Passed, loss: Loss) -> Iterator[str]:
    """The prompts of rows whose loss, or its gradient by their log-probabilities, is not finite."""
    for row in range(len(passed.batch.uids)):
        part = take_rows(passed.batch, torch.tensor([row], device=passed.logprobs.device))
        leaf = passed.logprobs[row : row + 1, : part.token_ids.shape[1]].clone().requires_grad_()
        value, _ = loss.loss(leaf, part)
        gradient = torch.autograd.grad(value, leaf, allow_unused=True)[0]
        is_finite = value.isfinite() and (gradient is None or gradient.isfinite().all())
        if not is_finite:
            yield passed.batch.uids[row]
