"""Built-in learners."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from resetrl.interfaces import Learner

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass
class Torch:
    """AdamW with a constant learning rate in one process.

    micro_batch: rollouts in one forward and backward pass; it changes speed and memory, never
        the gradient.
    """

    lr: float = 2e-4
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    max_grad_norm: float = 1.0
    micro_batch: int = 32

    def __post_init__(self) -> None:
        if not self.lr > 0:
            raise ValueError(f"lr is {self.lr}: choose a positive learning rate")
        if not self.max_grad_norm > 0:
            raise ValueError(f"max_grad_norm is {self.max_grad_norm}: choose a positive norm")
        if self.weight_decay < 0 or not (0 <= self.beta1 < 1 and 0 <= self.beta2 < 1):
            raise ValueError(
                f"weight_decay={self.weight_decay}, beta1={self.beta1}, beta2={self.beta2}: "
                "choose a decay of 0 or more and betas in [0, 1)"
            )
        if self.micro_batch < 1:
            raise ValueError(f"micro_batch is {self.micro_batch}: choose at least 1")

    def start(self, model: PreTrainedModel, keep_reference: bool = False) -> Learner:
        from resetrl.learners.torch import TorchLearner

        return TorchLearner(
            model,
            lr=self.lr,
            weight_decay=self.weight_decay,
            betas=(self.beta1, self.beta2),
            max_grad_norm=self.max_grad_norm,
            micro_batch=self.micro_batch,
            keep_reference=keep_reference,
        )
