"""The one-process learner: AdamW on the parameters of a Hugging Face causal LM."""

from __future__ import annotations

import copy
import dataclasses
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import PreTrainedModel

from resetrl.batch import take_rows
from resetrl.errors import CheckpointError, TrainingError, blaming, list_names, unwrapped
from resetrl.interfaces import Loss
from resetrl.lora import adapters_off, is_adapted, load_adapters, save_adapters, weights
from resetrl.types import TokenBatch, Update

if TYPE_CHECKING:
    from resetrl.builtin.learners import Torch


def token_logprobs(model: PreTrainedModel, batch: TokenBatch) -> Tensor:
    """Log-probabilities [R, T] of `batch.token_ids` under the temperature-scaled model.

    Column t speaks of token t; column 0 is 0. Right padding cannot reach earlier columns.
    """
    device = model.device
    token_ids = batch.token_ids.to(device)
    logits = model(
        input_ids=token_ids, attention_mask=batch.attention_mask.to(device).long(), use_cache=False
    ).logits[:, :-1]
    scaled = logits.float() / batch.temperature
    chosen = scaled.gather(-1, token_ids[:, 1:, None])[..., 0]
    return torch.nn.functional.pad(chosen - scaled.logsumexp(dim=-1), (1, 0))


def trained_rows(batch: TokenBatch, loss: Loss) -> Tensor:
    """The rows [K] that an update passes through the model, longest first."""
    rows = torch.arange(len(batch.uids))
    if loss.ignores_zero_advantage:
        rows = rows[batch.advantages != 0]
    lengths = batch.attention_mask[rows].sum(dim=1)
    return rows[lengths.argsort(descending=True, stable=True)]


def step_refused(loss: Loss, why: str, remedy: str) -> TrainingError:
    """What a learner raises when `loss` is to blame for an optimizer step it does not take."""
    return TrainingError(
        f"loss {type(unwrapped(loss)).__name__}: {why}, so this optimizer step was not taken; "
        f"lower learner.lr, or {remedy}",
        loss,
    )


class TorchLearner:
    """AdamW with a constant learning rate, gradient-norm clipping and micro-batches.

    Trains the adapters of an adapted model, and every parameter of any other. With
    `keep_reference` it also holds the model as it is now, which never changes: a copy, or the
    adapted model with its adapters off.
    """

    def __init__(
        self, model: PreTrainedModel, options: Torch, keep_reference: bool = False
    ) -> None:
        self._model = model
        self._reference: PreTrainedModel | None = None
        if keep_reference:
            self._reference = model if is_adapted(model) else copy.deepcopy(model).eval()
        self._options = options
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(
            self._parameters,
            lr=options.lr,
            weight_decay=options.weight_decay,
            betas=(options.beta1, options.beta2),
        )
        self.num_parameters = sum(p.numel() for p in model.parameters())
        self.num_trained_parameters = sum(p.numel() for p in self._parameters)

    def update(self, batch: TokenBatch, loss: Loss) -> Update:
        """One optimizer step on the whole batch, in micro-batches of rows of similar length."""
        rows = trained_rows(batch, loss)
        if not len(rows):
            return Update(loss=0.0, grad_norm=0.0, metrics={"learner/trained_rollouts": 0.0})
        self._model.train()
        self._optimizer.zero_grad(set_to_none=True)
        total = 0.0
        metrics: dict[str, float] = {"learner/trained_rollouts": float(len(rows))}
        for part_rows in rows.split(self._options.micro_batch):
            value, part_metrics = self._loss(batch, part_rows, loss)
            if not math.isfinite(value.item()):
                self._refuse(f"it is {value.item()}", batch, part_rows, loss)
            value.backward()
            total += value.item()
            for name, number in part_metrics.items():
                metrics[name] = metrics.get(name, 0.0) + number
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self._options.max_grad_norm).item()
        if not math.isfinite(norm):
            self._refuse(f"its gradient has the norm {norm}", batch, rows, loss)
        self._optimizer.step()
        num_tokens = int(batch.attention_mask[rows].sum())
        return Update(
            loss=total,
            grad_norm=norm,
            metrics=metrics,
            learned_tokens=num_tokens,
            scored_tokens=num_tokens if loss.needs_reference else 0,
        )

    def _loss(
        self, batch: TokenBatch, rows: Tensor, loss: Loss
    ) -> tuple[Tensor, Mapping[str, float]]:
        """These rows' share of the loss, with gradient, and of its metrics."""
        part = to_device(take_rows(batch, rows), self._model.device)
        if loss.needs_reference:
            part = self._with_reference(part)
        logprobs = token_logprobs(self._model, part)
        with blaming(loss, "loss", part.uids):
            return loss.loss(logprobs, part)

    @torch.no_grad()
    def _with_reference(self, batch: TokenBatch) -> TokenBatch:
        if self._reference is None:  # then reading batch.reference raises
            return batch
        with adapters_off(self._reference):
            logprobs = token_logprobs(self._reference, batch)
        return dataclasses.replace(batch, reference_logprobs=logprobs)

    def _refuse(self, what: str, batch: TokenBatch, rows: Tensor, loss: Loss) -> None:
        culprits = [row for row in rows.split(1) if not self._is_finite(batch, row, loss)]
        self._optimizer.zero_grad(set_to_none=True)
        prompts = list_names([batch.uids[int(row)] for row in culprits or rows])
        raise step_refused(loss, what, f"look at the rollouts of these prompts: {prompts}")

    def _is_finite(self, batch: TokenBatch, row: Tensor, loss: Loss) -> bool:
        """Whether one rollout alone has a finite loss and gradient."""
        self._optimizer.zero_grad(set_to_none=True)
        value, _ = self._loss(batch, row, loss)
        value.backward()
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        return bool(value.isfinite()) and all(bool(g.isfinite().all()) for g in gradients)

    def trains(self, model: PreTrainedModel) -> bool:
        """Its updates change the model that it was started with."""
        return model is self._model

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """The parameters themselves, tied ones under each of their names; adapted ones merged."""
        for weight in weights(self._model):
            yield weight.name, weight.whole()

    @torch.no_grad()
    def logprobs(self, batch: TokenBatch) -> Tensor:
        """Log-probabilities [R, T] of the batch's tokens under the present parameters."""
        return token_logprobs(self._model, batch)

    def save(self, folder: Path) -> None:
        """Write a Hugging Face folder, or a peft adapter folder, and the optimizer's state."""
        from transformers.utils import logging

        logging.disable_progress_bar()
        # Saving imports DeepSpeed where it is installed, which warns unless told of a device.
        os.environ.setdefault("DS_ACCELERATOR", self._model.device.type)
        if is_adapted(self._model):
            save_adapters(self._model, folder)
        else:
            self._model.save_pretrained(folder)
        torch.save(self._optimizer.state_dict(), folder / "optimizer.pt")

    def load(self, folder: Path) -> None:
        """Restore parameters and optimizer to the last bit."""
        if is_adapted(self._model):
            load_adapters(self._model, folder)
        else:
            self._load_model(folder)
        state = torch.load(folder / "optimizer.pt", weights_only=True, map_location="cpu")
        self._optimizer.load_state_dict(state)

    def _load_model(self, folder: Path) -> None:
        from safetensors.torch import load_model

        if not (folder / "model.safetensors").is_file():
            raise CheckpointError(
                f"{folder} is no whole model: resume with the model and model.lora that it was "
                "written by"
            )
        missing, unexpected = load_model(self._model, folder / "model.safetensors", strict=False)
        tied = set(getattr(self._model, "_tied_weights_keys", None) or ())
        if unexpected or set(missing) - tied:
            raise CheckpointError(
                f"{folder} holds another model: it lacks {sorted(set(missing) - tied)} and adds "
                f"{sorted(unexpected)}; resume with the model it was written by"
            )


def to_device(batch: TokenBatch, device: torch.device) -> TokenBatch:
    """The batch with what a loss reads of it on a device."""
    return dataclasses.replace(
        batch,
        token_ids=batch.token_ids.to(device),
        attention_mask=batch.attention_mask.to(device),
        loss_mask=batch.loss_mask.to(device),
        old_logprobs=batch.old_logprobs.to(device),
        advantages=batch.advantages.to(device),
    )
