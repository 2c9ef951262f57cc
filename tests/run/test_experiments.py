"""The experiments of the paper as they ship: complete, typed, and on as many GPUs as they say."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from resetrl.builtin.losses import Clipped, SuffixMean
from resetrl.plugins import Registry, load_plugins
from resetrl.run.build import build_component, build_method
from resetrl.run.compose import compose, to_run_config
from resetrl.run.config import config_dir

SCALING = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text(encoding="utf-8")
MODELS = {
    # path, GPUs, rollouts in one pass
    "olmo7b": ("allenai/OLMo-3-7B-Instruct", 2, 2),
    "qwen14b": ("Qwen/Qwen2.5-14B-Instruct", 4, 1),
}
METHODS = {
    # loss, advantage, base group, reset groups, reset selector
    "srpo": (SuffixMean, "population_std", 4, (4,), "SelfLocalization"),
    "rrpo": (SuffixMean, "population_std", 4, (4,), "Uniform"),
    "grpo": (Clipped, "sample_std", 8, (), "NoneType"),
}
NAMES = [f"paper_{method}_{model}" for method, model in itertools.product(METHODS, MODELS)]


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_plugins()


def test_every_experiment_is_tested_here() -> None:
    assert sorted(path.stem for path in (config_dir() / "experiment").glob("*.yaml")) == sorted(
        NAMES
    )


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_of_the_paper_is_complete(name: str, registry: Registry) -> None:
    _, method_name, model_name = name.split("_")
    config = to_run_config(compose([f"experiment={name}"], registry))
    path, num_gpus, micro_batch = MODELS[model_name]
    model, lora = config.model, config.model.lora
    assert (model.path, model.dtype, model.device) == (path, "bfloat16", "cuda")
    assert (lora.rank, lora.alpha, lora.target) == (64, 64, "all-linear")
    assert (config.method, config.launch.nproc) == (f"paper_{method_name}", num_gpus)
    assert config.prompts_per_step % num_gpus == 0

    task = build_component(registry, "task", config.task)
    assert task.manifest == "numina_olympiads"
    engine = build_component(registry, "engine", config.engine)
    assert (engine.max_model_len, engine.tensor_parallel, engine.sleep) == (8192, 1, True)
    learner = build_component(registry, "learner", config.learner)
    assert (learner.stage, learner.micro_batch, learner.lr) == (2, micro_batch, 5e-5)

    method = build_method(config, registry)
    loss, advantage, base, resets, selector = METHODS[method_name]
    assert (type(method.loss), method.advantage) == (loss, advantage)
    assert (method.sampler.split.base, method.sampler.split.resets) == (base, resets)
    assert type(method.sampler.selector).__name__ == selector
    assert (method.sampling.temperature, method.sampling.top_p) == (0.7, 0.95)
    limits = method.limits
    assert (limits.max_thoughts, limits.max_thought_len) == (20, 256)
    assert limits.max_completion_len == 5120


def test_the_command_line_beats_an_experiment(registry: Registry) -> None:
    overrides = ["experiment=paper_srpo_olmo7b", "learner.stage=1", "split=2x4", "task=chain"]
    config = to_run_config(compose(overrides, registry))
    assert (config.learner.stage, list(config.split.resets)) == (1, [4, 4])
    assert config.task.name == "chain"


def test_the_suite_they_are_evaluated_on_ships() -> None:
    assert (config_dir() / "suite" / "paper10.yaml").is_file()
    assert "suite=paper10" in SCALING


def test_the_page_on_scaling_has_the_commands_and_the_gpus() -> None:
    for name in NAMES:
        (num_gpus,) = re.findall(rf"^\| `{name}` \| (\d) \|", SCALING, re.MULTILINE)
        assert int(num_gpus) == MODELS[name.rpartition("_")[2]][1]
