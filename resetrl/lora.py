"""LoRA through peft: small adapters are trained beside parameters that stay as they are.

An adapted model is a `peft.PeftModel` around the Hugging Face model: a linear layer computes
W x + (alpha / rank) B A x and only A and B have a gradient (Hu et al., arXiv 2106.09685). In this
process it samples and learns as any model does. Whoever keeps parameters of its own gets them
merged, W + (alpha / rank) B A, under the names that they have without adapters: `weights`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resetrl.errors import CheckpointError, ModelError, list_names

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

ALL_LINEAR = "all-linear"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"

_ADAPTER = "default"
"""The name under which peft keeps the one adapter of a layer."""


@dataclass
class Lora:
    """Adapters that are trained instead of the model's own parameters.

    rank: rows of A and columns of B; 0 trains the model itself.
    alpha: what a layer adds is scaled by alpha / rank.
    target: `all-linear`, all linear layers but the output, or names such as [q_proj,v_proj].
    """

    rank: int = 0
    alpha: int = 64
    target: Any = ALL_LINEAR

    def __post_init__(self) -> None:
        if self.rank < 0:
            raise ValueError(f"model.lora.rank is {self.rank}: choose 0 for none, or more")
        if self.alpha < 1:
            raise ValueError(f"model.lora.alpha is {self.alpha}: choose at least 1")
        if not self.targets or not all(name and isinstance(name, str) for name in self.targets):
            raise ValueError(
                f"model.lora.target is {self.target!r}: choose {ALL_LINEAR}, or names of linear "
                "layers such as [q_proj,v_proj]"
            )

    @property
    def targets(self) -> list[str]:
        """The names as a list, empty where `target` is nothing of the kind."""
        if isinstance(self.target, str):
            return [self.target]
        return list(self.target) if isinstance(self.target, list) else []


@dataclass(frozen=True)
class Weight:
    """A parameter or buffer by its name in the Hugging Face state dict, adapters merged on demand.

    `tensor` is the frozen one, `layer` the `peft` layer around it, None where nothing is adapted.
    """

    name: str
    tensor: Tensor
    layer: Any = None

    @property
    def sources(self) -> list[Tensor]:
        """The tensors that `whole` reads: gather these first where each rank holds a part."""
        if self.layer is None:
            return [self.tensor]
        return [
            self.tensor,
            self.layer.lora_A[_ADAPTER].weight,
            self.layer.lora_B[_ADAPTER].weight,
        ]

    def whole(self) -> Tensor:
        """The tensor itself, or a new one with the adapters in it, rounded once to its dtype."""
        if self.layer is None:
            return self.tensor
        change: Tensor = self.layer.get_delta_weight(_ADAPTER)
        return (self.tensor.detach().float() + change.detach().float()).to(self.tensor.dtype)


def require_peft(why: str) -> None:
    """Raise ModelError with what to install if peft is missing; `why` opens the sentence."""
    if not importlib.util.find_spec("peft"):
        raise ModelError(f"{why} needs peft: run `pip install resetrl[lora]`")


def is_adapted(model: PreTrainedModel) -> bool:
    """Whether the model is one of peft's, told without the seconds that importing peft takes."""
    return hasattr(model, "peft_config")


def adapt(model: PreTrainedModel, lora: Lora, base: str, rng_seed: int) -> PreTrainedModel:
    """The model with adapters that change nothing yet, its own parameters frozen.

    `base` is the name by which an exported adapter refers to this model, `rng_seed` that of A;
    B is 0. The adapters are float32, also beside bfloat16 parameters. Raises ModelError for a
    target that the model does not have.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    _check_targets(model, lora)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        target_modules=ALL_LINEAR if lora.targets == [ALL_LINEAR] else lora.targets,
        lora_dropout=0.0,  # old and new log-probabilities must be those of one function
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng_seed)
        adapted = get_peft_model(model, config)
    adapted.peft_config[_ADAPTER].base_model_name_or_path = base
    return adapted


def _check_targets(model: PreTrainedModel, lora: Lora) -> None:
    """Embeddings and output layer are no targets: some models have one parameter for both."""
    import torch
    from transformers.pytorch_utils import Conv1D

    output: Any = model.get_output_embeddings()
    names = {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D) and module is not output
    }
    unknown = [name for name in lora.targets if name != ALL_LINEAR and name not in names]
    if unknown or (ALL_LINEAR in lora.targets and len(lora.targets) > 1):
        raise ModelError(
            f"model.lora.target is {lora.target!r}, but {list_names(unknown or [ALL_LINEAR])} is "
            f"none of the model's linear layers: choose {ALL_LINEAR}, or some of "
            f"{list_names(sorted(names), 30)}"
        )


def weights(model: PreTrainedModel) -> Iterator[Weight]:
    """Every parameter and buffer in the order and under the names of the model without adapters.

    Works for any model; tied parameters come under each of their names.
    """
    if not is_adapted(model):
        for name, tensor in model.state_dict(keep_vars=True).items():
            yield Weight(name, tensor)
        return
    inner: Any = model.get_base_model()
    for name, tensor in inner.state_dict(keep_vars=True).items():
        path, wrapper, leaf = name.partition(".base_layer.")
        if wrapper:
            layer = inner.get_submodule(path)
            yield Weight(f"{path}.{leaf}", tensor, layer if leaf == "weight" else None)
        elif ".lora_" not in name:
            yield Weight(name, tensor)


def adapters_off(model: PreTrainedModel) -> AbstractContextManager[None]:
    """Within it an adapted model is what it was before any training; any other stays as it is."""
    if not is_adapted(model):
        return contextlib.nullcontext()
    off: AbstractContextManager[None] = model.disable_adapter()
    return off


def save_adapters(
    model: PreTrainedModel, folder: Path, state: dict[str, Tensor] | None = None
) -> None:
    """Write a peft adapter folder: the adapters and the name of the model that they belong to.

    `state` holds the adapters where the model's own are not the ones to be written.
    """
    # "auto" would look the base model up on the Hugging Face hub.
    model.save_pretrained(folder, save_embedding_layers=False, state_dict=state)


def saved_name(name: str) -> str:
    """What `save_adapters` calls an adapter's parameter."""
    return name.replace(f".{_ADAPTER}.", ".")


def load_adapters(model: PreTrainedModel, folder: Path) -> None:
    """Restore what `save_adapters` wrote into an adapted model, to the last bit."""
    from peft import get_peft_model_state_dict, set_peft_model_state_dict
    from safetensors.torch import load_file

    file = folder / ADAPTER_WEIGHTS
    saved = load_file(file) if file.is_file() else {}
    own = get_peft_model_state_dict(model, save_embedding_layers=False)
    if {name: t.shape for name, t in saved.items()} != {name: t.shape for name, t in own.items()}:
        raise CheckpointError(
            f"{folder} holds other adapters, or none: resume with the model and model.lora that "
            "it was written by"
        )
    set_peft_model_state_dict(model, saved)


def is_adapter_folder(folder: Path) -> bool:
    return (folder / ADAPTER_CONFIG).is_file()


def base_of(folder: Path) -> str:
    """The name of the model that the adapters in a folder belong to; raises ModelError."""
    file = folder / ADAPTER_CONFIG
    try:
        base = json.loads(file.read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"{file} is not readable ({type(error).__name__}): export the adapters again"
        ) from error
    if not base:
        raise ModelError(f"{file} names no base_model_name_or_path: write the model's path there")
    return str(base)


def merge(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """The plain model with a folder's adapters in its parameters."""
    import torch
    from peft import PeftModel

    adapted: Any = PeftModel.from_pretrained(model, str(folder))
    with torch.no_grad():
        for weight in weights(adapted):
            if weight.layer is not None:
                weight.tensor.copy_(weight.whole())
    plain: PreTrainedModel = adapted.unload()
    return plain.requires_grad_(True)
