"""Built-in learners."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resetrl.errors import ConfigError
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

        return TorchLearner(model, self, keep_reference)


@dataclass
class DeepSpeed(Torch):
    """AdamW under DeepSpeed's ZeRO, in one process or several (`launch.nproc`, torchrun, SLURM).

    The same options train the same parameters as `torch` does; a bfloat16 model has float32
    parameters behind its own.

    stage: what is split over the processes: 0 nothing, 1 the optimizer's state, 2 gradients too,
        3 parameters too; whatever the stage, the numbers are the same.
    micro_batch: rollouts in one forward and backward pass of each process.
    offload_optimizer: keep its state and float32 parameters in CPU memory (stages 1 to 3).
    offload_parameters: keep the parameters there too, between their uses (stage 3).
    """

    stage: int = 0
    offload_optimizer: bool = False
    offload_parameters: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stage not in (0, 1, 2, 3):
            raise ValueError(f"stage is {self.stage}: choose 0, 1, 2 or 3")
        if self.offload_optimizer and self.stage == 0:
            raise ValueError(
                "offload_optimizer needs a stage that has the optimizer's state apart: choose "
                "stage=1, 2 or 3"
            )
        if self.offload_parameters and not (self.stage == 3 and self.offload_optimizer):
            raise ValueError("offload_parameters needs stage=3, and offload_optimizer=true as well")

    def check_installed(self) -> None:
        """Raise ConfigError without the package, before anything is loaded."""
        if importlib.util.find_spec("deepspeed") is None:
            raise ConfigError(
                "learner=deepspeed needs the package deepspeed: run `pip install "
                "'resetrl[deepspeed]'`, or choose learner=torch"
            )

    def start(self, model: PreTrainedModel, keep_reference: bool = False) -> Learner:
        self.check_installed()
        from resetrl.learners.deepspeed.learner import DeepSpeedLearner

        return DeepSpeedLearner(model, self, keep_reference)
