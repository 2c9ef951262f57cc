"""From the options of `engine=vllm` and a model to a running policy."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from resetrl.engines.transformers import eos_ids
from resetrl.engines.vllm.placement import Placement, place
from resetrl.engines.vllm.policy import VllmPolicy
from resetrl.engines.vllm.process import WorkerChannel, WorkerProcess, join
from resetrl.engines.vllm.setup import (
    Installation,
    check_model,
    context_len,
    engine_settings,
    environment,
    find_vllm,
)
from resetrl.engines.vllm.transfer import FILES, GPU_HANDLES, NOTHING, Transfer, expected_shapes
from resetrl.lora import weights

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from resetrl.builtin.engines import Vllm
    from resetrl.ranks import Ranks


def start(
    options: Vllm,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    delimiter: str,
    ranks: Ranks,
) -> VllmPolicy:
    """A policy whose vLLM is up, still without the model's parameters.

    The first of the ranks that share a vLLM starts it, and the others join. Raises ConfigError or
    EngineError.
    """
    config = model.config
    installation = find_vllm(options.python)
    check_model(options, config, installation)
    placement = place(options, installation, ranks, str(model.device))
    leads = ranks.rank == placement.ranks[0]
    channel: WorkerChannel | None = None
    if leads:
        channel = _start_worker(options, config, installation, placement)
    folders = ranks.gather(str(channel.folder) if channel else "")
    return VllmPolicy(
        channel=channel or join(Path(folders[placement.ranks[0]]), options.reply_timeout),
        tokenizer=tokenizer,
        delimiter=delimiter,
        eos_ids=frozenset(eos_ids(model, tokenizer)),
        context_len=context_len(options, config),
        shapes=expected_shapes(config),
        initial=lambda: ((weight.name, weight.whole()) for weight in weights(model)),
        transfer=_transfer(placement, leads),
        sleeps=options.sleep,
    )


def _start_worker(
    options: Vllm, config: PretrainedConfig, installation: Installation, placement: Placement
) -> WorkerProcess:
    """vLLM, started from a folder that holds the model's configuration and nothing else.

    So any model does, wherever its parameters are from.
    """
    import torch

    settings = engine_settings(options, config, installation, placement.on_learner)
    # On a CPU threads beyond the cores would wait for one another, in every layer.
    num_threads = max(1, torch.get_num_threads() // options.tensor_parallel)
    variables = environment(installation, placement, num_threads)
    process = WorkerProcess(installation.python, variables, options.reply_timeout)
    with tempfile.TemporaryDirectory(prefix="resetrl-model-") as folder:
        config.save_pretrained(folder)
        settings["model"] = folder
        process.start(settings, options.start_timeout, num_others=len(placement.ranks) - 1)
    return process


def _transfer(placement: Placement, leads: bool) -> Transfer:
    """Each GPU gets its parameters from the rank on it; one file is enough for all."""
    if placement.on_learner:
        return GPU_HANDLES
    return FILES if leads else NOTHING
