"""DeepSpeed's engine around a model: its configuration, and the group of processes it needs.

Nothing is compiled here: the optimizer is torch's own also where it works on the CPU, and the one
op that DeepSpeed builds at every start on a CPU is not asked for.
"""

from __future__ import annotations

import logging
import os
import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_SHARED_MEMORY_OP = "deepspeed_shm_comm"
"""Compiled for minutes if it can be, for an inference call that training never makes."""


_BUCKET = 500_000_000
"""Numbers that DeepSpeed sends at once, its default, for which it allocates buffers: gigabytes also
beside a small model, unless that has fewer."""


@dataclass(frozen=True)
class Zero:
    """What is split over the ranks, and kept in CPU memory.

    stage: 0 nothing, 1 the optimizer's state, 2 gradients too, 3 parameters too.
    """

    stage: int
    offload_optimizer: bool = False
    offload_parameters: bool = False

    def config(
        self, dtype: torch.dtype, num_parameters: int, max_grad_norm: float
    ) -> dict[str, Any]:
        """DeepSpeed's configuration; bfloat16 gradients are added up in float32 but in stage 0."""
        bucket = min(num_parameters, _BUCKET)
        zero: dict[str, Any] = {
            "stage": self.stage,
            "reduce_bucket_size": bucket,
            "allgather_bucket_size": bucket,
        }
        if self.offload_optimizer:
            zero["offload_optimizer"] = {"device": "cpu"}
        if self.offload_parameters:
            zero["offload_param"] = {"device": "cpu"}
        is_half = dtype == torch.bfloat16
        data_types = {"grad_accum_dtype": "fp32"} if is_half and self.stage else {}
        return {
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": 1,
            "steps_per_print": None,
            "gradient_clipping": max_grad_norm if self.stage or is_half else 0.0,
            "zero_optimization": zero,
            "zero_force_ds_cpu_optimizer": False,
            "zero_allow_untested_optimizer": True,
            "bf16": {"enabled": is_half},
            "data_types": data_types,
        }


def start_engine(
    model: PreTrainedModel,
    zero: Zero,
    max_grad_norm: float,
    optimizer: torch.optim.Optimizer | None = None,
) -> Any:
    """A DeepSpeed engine that trains the model in place, or only runs it without an optimizer."""
    deepspeed = _deepspeed(model.device)
    _join_alone(model.device)
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    config = zero.config(model.dtype, num_parameters, max_grad_norm)
    engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=config)
    return engine


def _deepspeed(device: torch.device) -> Any:
    """The library, told which kind of device the model is on: it would take a GPU if it saw one."""
    os.environ["DS_ACCELERATOR"] = device.type
    import deepspeed
    import deepspeed.ops

    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    # Of DeepSpeed's calls into torch, which work.
    warnings.filterwarnings("ignore", "`torch.distributed.*is deprecated", FutureWarning)
    deepspeed.ops.__compatible_ops__[_SHARED_MEMORY_OP] = False
    return deepspeed


def _join_alone(device: torch.device) -> None:
    """A process group of this process alone, unless it is one of several that have theirs."""
    if not dist.is_initialized():
        os.environ["LOCAL_RANK"] = str(device.index or 0)  # DeepSpeed insists on it
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        store = dist.HashStore()  # type: ignore[attr-defined]  # which torch does export
        dist.init_process_group(backend, store=store, rank=0, world_size=1)


def is_split(tensor: Tensor) -> bool:
    """Whether a parameter lies in parts on the ranks, as in stage 3."""
    return hasattr(tensor, "ds_id")


def whole(*tensors: Tensor, changed: bool = False) -> AbstractContextManager[Any]:
    """Within it parameters are whole on every rank, and where `changed`, taken from rank 0."""
    parts = [tensor for tensor in tensors if is_split(tensor)]
    if not parts:
        return nullcontext()
    import deepspeed

    context: AbstractContextManager[Any] = deepspeed.zero.GatheredParameters(
        parts, modifier_rank=0 if changed else None
    )
    return context
