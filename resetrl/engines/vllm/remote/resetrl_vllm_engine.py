"""What resetrl adds to vLLM inside its processes: log-probabilities and the way weights come in.

vLLM imports this module in every one of its processes, as `worker_extension_cls`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory
from vllm.model_executor.model_loader.reload import (
    finalize_layerwise_reload,
    initialize_layerwise_reload,
)
from vllm.v1.outputs import LogprobsTensors
from vllm.v1.sample.metadata import SamplingMetadata
from vllm.v1.sample.sampler import Sampler

FILE_BACKEND = "resetrl_file"
GREEDY = 1e-5
"""Temperatures below are greedy, to vLLM too."""


class ScaledSampler(Sampler):
    """Reports log-probabilities of the temperature-scaled distribution, before top_p.

    vLLM knows those before temperature (raw) and those after top_p (processed). So the logits are
    scaled first, and the raw ones taken of what is then sampled at temperature 1.
    """

    def forward(
        self, logits: Tensor, sampling_metadata: SamplingMetadata, *args: Any, **kwargs: Any
    ) -> Any:
        temperature = sampling_metadata.temperature
        if temperature is not None:  # it is None where all are greedy
            drawn = temperature >= GREEDY
            scales = torch.where(drawn, temperature, 1.0)
            logits = logits.float() / scales[:, None]
            sampling_metadata = dataclasses.replace(sampling_metadata, temperature=drawn.float())
        return super().forward(logits, sampling_metadata, *args, **kwargs)

    @staticmethod
    def gather_logprobs(logprobs: Tensor, num_logprobs: int, token_ids: Tensor) -> LogprobsTensors:
        """Only the sampled token's, without its rank, whose kernel vLLM compiles for 15 seconds."""
        if num_logprobs:
            return Sampler.gather_logprobs(logprobs, num_logprobs, token_ids)
        chosen = token_ids[:, None]
        return LogprobsTensors(
            chosen.to(torch.int32), logprobs.gather(-1, chosen), torch.zeros_like(token_ids)
        )


class Extension:
    """Methods that vLLM's workers gain; the engine calls them by `collective_rpc`."""

    model_runner: Any

    def use_scaled_sampler(self) -> None:
        sampler = self.model_runner.sampler
        if type(sampler) is not Sampler:
            raise RuntimeError(f"this vLLM samples by {type(sampler)}, which resetrl does not know")
        sampler.__class__ = ScaledSampler


@dataclass
class FileInit(WeightTransferInitInfo):
    """Files need no rendezvous."""


@dataclass
class FileUpdate(WeightTransferUpdateInfo):
    """Some of the parameters, under their Hugging Face names, in a safetensors file."""

    path: str


class FileTransfer(WeightTransferEngine[FileInit, FileUpdate]):
    """Weights from safetensors files, loaded layer by layer as vLLM reloads a checkpoint."""

    init_info_cls = FileInit
    update_info_cls = FileUpdate

    def init_transfer_engine(self, init_info: FileInit) -> None:
        """Nothing to prepare."""

    def start_weight_update(self) -> None:
        initialize_layerwise_reload(self.model)

    def receive_weights(self, update_info: FileUpdate) -> None:
        self.model.load_weights(load_file(update_info.path).items())

    def finish_weight_update(self) -> None:
        finalize_layerwise_reload(self.model, self.model_config)

    def shutdown(self) -> None:
        """Nothing to release."""


WeightTransferEngineFactory.register_engine(FILE_BACKEND, FileTransfer)
