"""From the files of a model to one that is ready to sample and to learn."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resetrl.errors import ModelError
from resetrl.lora import adapt, is_adapter_folder, merge, require_peft
from resetrl.models.checks import check_fit, check_tokens
from resetrl.models.config import ModelConfig
from resetrl.models.place import Place, lasting_name, locate

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class LoadedModel:
    """A causal language model in evaluation mode, without dropout, and its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    @property
    def num_parameters(self) -> int:
        """How many numbers the model is made of, adapters included; what FLOPs are estimated by."""
        return sum(p.numel() for p in self.model.parameters())


def load_model(config: ModelConfig, weights: Path | None = None, rng_seed: int = 0) -> LoadedModel:
    """The model and tokenizer of a configuration, checked for what the method needs.

    `weights` is a checkpoint's folder, whose parameters are taken instead, with its adapters
    merged; without it the model has new adapters if `config.lora` asks for them, drawn from
    `rng_seed`. Raises ModelError with one sentence. The same arguments give the same parameters
    on every call; local folders and packages are read without a look at the network.
    """
    place = locate(config.path)
    device = _device(config)
    if config.lora.rank:
        require_peft(f"model.lora.rank={config.lora.rank}")
    with _quiet():
        tokenizer = _load_tokenizer(config, place)
        # Before the weights are read, because they take long and this does not.
        check_tokens(config, tokenizer)
        if weights is None:
            model = _load_weights(config, place)
        elif is_adapter_folder(weights):
            model = _load_weights(config, replace(place, adapters=(*place.adapters, weights)))
        else:
            model = _load_weights(replace(config, path=str(weights)), Place(weights))
        check_fit(config, model, tokenizer)
        if config.gradient_checkpointing:
            _checkpoint_gradients(config, model)
        if config.lora.rank and weights is None:
            model = adapt(model, config.lora, lasting_name(config.path), rng_seed)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    _without_dropout(model)
    return LoadedModel(model.to(device).eval(), tokenizer)


def read_config(config: ModelConfig) -> PretrainedConfig:
    """The configuration of a model alone, with the dtype it would be loaded in; ModelError."""
    from transformers import AutoConfig

    place = locate(config.path)
    with _quiet(), _in_one_sentence(config, "configuration"):
        read: PretrainedConfig = AutoConfig.from_pretrained(place.folder, **place.options)
    read.dtype = config.dtype
    return read


def _device(config: ModelConfig) -> Any:
    import torch

    try:
        device = torch.device(config.device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        # torch says "no CUDA" by an AssertionError, "no such name" by a RuntimeError.
        count = torch.cuda.device_count()
        choices = ["cpu", *(f"cuda:{index}" for index in range(count))]
        raise ModelError(
            f"model.device is {config.device!r}, which this machine does not have: choose "
            f"{', '.join(choices)}"
        ) from None
    return device


def _load_tokenizer(config: ModelConfig, place: Place) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    with _in_one_sentence(config, "tokenizer"):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            place.folder, **place.options
        )
    return tokenizer


def _load_weights(config: ModelConfig, place: Place) -> PreTrainedModel:
    with _in_one_sentence(config, "model"):
        try:
            model, report = _from_pretrained(config, place, attention="sdpa")
        except ValueError as error:
            if "scaled_dot_product_attention" not in str(error):
                raise
            model, report = _from_pretrained(config, place, attention="eager")
    missing = sorted(report["missing_keys"])
    if missing:
        # transformers would draw them at random and only warn of it.
        raise ModelError(
            f"model.path {config.path!r} lacks {len(missing)} of its weights, such as "
            f"{missing[0]}: save or download the model again"
        )
    if place.gguf_file:
        _take_off_quantization(model)
    for folder in place.adapters:
        with _in_one_sentence(config, "adapter"):
            model = merge(model, folder)
    return model


def _from_pretrained(
    config: ModelConfig, place: Place, attention: str
) -> tuple[PreTrainedModel, dict[str, Any]]:
    import torch
    from transformers import AutoModelForCausalLM

    loaded: Any = AutoModelForCausalLM.from_pretrained(
        place.folder,
        dtype=getattr(torch, config.dtype),
        attn_implementation=attention,
        output_loading_info=True,
        **place.options,
    )
    model, report = loaded
    return model, report


def _take_off_quantization(model: PreTrainedModel) -> None:
    """Remove the marks that make `save_pretrained` refuse a model read from a GGUF file.

    The parameters themselves are ordinary numbers from the moment they are read.
    """
    for mark in ("is_quantized", "quantization_method", "hf_quantizer"):
        if mark in vars(model):
            delattr(model, mark)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config


def _checkpoint_gradients(config: ModelConfig, model: PreTrainedModel) -> None:
    if not model.supports_gradient_checkpointing:
        raise ModelError(
            f"model.path {config.path!r} cannot compute its activations again: set "
            "model.gradient_checkpointing=false"
        )
    # The older way, with reentrant calls, would find no gradient behind frozen embeddings.
    model.gradient_checkpointing_enable({"use_reentrant": False})


def _without_dropout(model: PreTrainedModel) -> None:
    """Set every dropout to 0: old and new log-probabilities must be those of one function."""
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        for name, value in vars(module).items():
            if name.endswith("dropout") and isinstance(value, float):
                setattr(module, name, 0.0)


@contextlib.contextmanager
def _in_one_sentence(config: ModelConfig, part: str) -> Iterator[None]:
    """Turn whatever goes wrong while a third party reads files into one ModelError."""
    try:
        yield
    except Exception as error:  # a damaged file may fail in any way; all are reported alike
        reason = (str(error).strip() or "no message").splitlines()[0].rstrip(".:")
        raise ModelError(
            f"the {part} of model.path {config.path!r} cannot be read ({type(error).__name__}: "
            f"{reason}): save or download it again"
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and no warnings of transformers while a model is read."""
    import transformers

    logging: Any = transformers.utils.logging  # its functions carry no annotations
    verbosity, had_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        # The GGUF reader has a progress bar of its own, which only knows standard error.
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if had_bars:
            logging.enable_progress_bar()
