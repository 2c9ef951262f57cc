"""From the options of `engine=vllm` and a model to a running policy."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

from resetrl.engines.transformers import eos_ids
from resetrl.engines.vllm.policy import VllmPolicy
from resetrl.engines.vllm.process import WorkerProcess
from resetrl.engines.vllm.setup import (
    check_model,
    context_len,
    engine_settings,
    environment,
    find_vllm,
    shares_device,
)
from resetrl.engines.vllm.transfer import expected_shapes
from resetrl.lora import weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from resetrl.builtin.engines import Vllm


def start(
    options: Vllm, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, delimiter: str
) -> VllmPolicy:
    """A policy whose vLLM is up, still without the model's parameters.

    vLLM starts from a folder that holds the model's configuration and nothing else, so that any
    model does, wherever its parameters are from. Raises ConfigError or EngineError.
    """
    import torch

    config = model.config
    installation = find_vllm(options.python)
    check_model(options, config, installation)
    on_device = shares_device(options, installation, model.device)
    settings = engine_settings(options, config, installation, on_device)
    variables = environment(options, installation, model.device, torch.get_num_threads())
    process = WorkerProcess(installation.python, variables, options.reply_timeout)
    with tempfile.TemporaryDirectory(prefix="resetrl-model-") as folder:
        config.save_pretrained(folder)
        process.start({**settings, "model": folder}, options.start_timeout)
    return VllmPolicy(
        channel=process,
        tokenizer=tokenizer,
        delimiter=delimiter,
        eos_ids=frozenset(eos_ids(model, tokenizer)),
        context_len=context_len(options, config),
        shapes=expected_shapes(config),
        initial=lambda: ((weight.name, weight.whole()) for weight in weights(model)),
        on_device=on_device,
        sleeps=options.sleep,
    )
