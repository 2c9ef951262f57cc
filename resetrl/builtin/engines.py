"""Built-in engines."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from resetrl.interfaces import Policy
from resetrl.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


@dataclass
class Transformers:
    """Generates in the trainer's process with continuous batching and a KV cache.

    max_batch: completions in flight at once; more is faster until memory or cores run out.
    """

    max_batch: int = 128

    def __post_init__(self) -> None:
        if self.max_batch < 1:
            raise ValueError(f"max_batch is {self.max_batch}: choose at least 1")

    def start(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        delimiter: str,
        ranks: Ranks = ALONE,
    ) -> Policy:
        from resetrl.engines.transformers import TransformersPolicy

        return TransformersPolicy(model, tokenizer, delimiter, self.max_batch)


@dataclass
class Vllm:
    """Generates with vLLM in a process of its own, to which every step sends the new parameters.

    In a run of several processes each has a vLLM, unless one has several GPUs or GPUs of its own.

    python: the interpreter of an environment that has vLLM; empty is this one.
    dtype: what vLLM computes in; auto is the model's own.
    max_batch: completions in flight at once.
    max_model_len: tokens of prompt and completion; 0 is the model's whole context.
    block_size: tokens in a block of the KV cache, the least that requests share; 0 is 32 on the
        CPU and vLLM's own choice elsewhere.
    kv_cache_megabytes: size of the KV cache; 0 is what `gpu_memory_utilization` leaves, and on the
        CPU at most 1024.
    gpu_memory_utilization: share of a GPU's memory for weights and KV cache together.
    tensor_parallel: GPUs that share one copy of the model, and so processes that share one vLLM.
    devices: GPUs for vLLM alone, as in `1` or `2,3`; empty are the GPUs of the learners.
    enforce_eager: no compilation and no CUDA graphs: a faster start and slower tokens.
    sleep: give the GPU's memory to the learner while that works, on a GPU they share.
    start_timeout, reply_timeout: seconds without an answer after which vLLM counts as hanging.
    """

    python: str = ""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    max_batch: int = 256
    max_model_len: int = 0
    block_size: int = 0
    kv_cache_megabytes: int = 0
    gpu_memory_utilization: float = 0.9
    tensor_parallel: int = 1
    devices: str = ""
    enforce_eager: bool = False
    sleep: bool = False
    start_timeout: float = 600.0
    reply_timeout: float = 600.0

    def __post_init__(self) -> None:
        for name in ("max_batch", "tensor_parallel"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: choose at least 1")
        for name in ("max_model_len", "block_size", "kv_cache_megabytes"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}: choose 0 or more")
        if not 0 < self.gpu_memory_utilization <= 1:
            raise ValueError(
                f"gpu_memory_utilization is {self.gpu_memory_utilization}: choose a share above 0 "
                "and at most 1"
            )
        if not (self.start_timeout > 0 and self.reply_timeout > 0):
            raise ValueError(
                f"start_timeout={self.start_timeout}, reply_timeout={self.reply_timeout}: choose "
                "seconds above 0"
            )
        if not re.fullmatch(r"(\d+(,\d+)*)?", self.devices):
            raise ValueError(f"devices is {self.devices!r}: choose numbers of GPUs, as in '2,3'")
        if len(set(self.gpus)) < len(self.gpus):
            raise ValueError(f"devices={self.devices} names a GPU twice")
        if self.sleep and self.devices:
            raise ValueError(
                f"sleep=true and devices={self.devices!r}: an engine on GPUs of its own has no "
                "memory to give to the learner; leave one of the two out"
            )

    @property
    def gpus(self) -> tuple[int, ...]:
        """The numbers in `devices`."""
        return tuple(int(number) for number in self.devices.split(",") if number)

    def check(self, config: PretrainedConfig, device: str, ranks: Ranks = ALONE) -> None:
        """Refuse the model, or a machine without vLLM, before any parameter is read."""
        from resetrl.engines.vllm.placement import place
        from resetrl.engines.vllm.setup import check_model, find_vllm

        installation = find_vllm(self.python)
        place(self, installation, ranks, device)
        check_model(self, config, installation)

    def start(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        delimiter: str,
        ranks: Ranks = ALONE,
    ) -> Policy:
        from resetrl.engines.vllm.start import start

        return start(self, model, tokenizer, delimiter, ranks)
