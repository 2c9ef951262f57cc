"""Adapters: what is trained, what engines draw from, what is saved and who can load it."""

from __future__ import annotations

import copy
import importlib.util
import json
import shutil

import pytest
import torch

from resetrl import tiny
from resetrl.builtin.engines import Transformers
from resetrl.builtin.learners import Torch
from resetrl.builtin.losses import SuffixMean
from resetrl.errors import CheckpointError, ModelError
from resetrl.learners.torch import token_logprobs
from resetrl.lora import Lora, adapt, is_adapted, weights
from resetrl.method import Session
from resetrl.models import ModelConfig, load_model
from resetrl.sync import probe_gap, synchronise
from resetrl.testing import FakeTask, random_llama
from resetrl.testing.contracts.learner import sample_batch
from resetrl.testing.llama import word_level_tokenizer


def adapted_llama(rank: int = 4, rng_seed: int = 0):
    return adapt(random_llama(), Lora(rank=rank, alpha=8), base="random", rng_seed=rng_seed)


def adapter_parameters(model):
    return {name: p.detach().clone() for name, p in model.named_parameters() if ".lora_" in name}


def session_of(policy_model, learner_model) -> Session:
    task = FakeTask()
    tokenizer = word_level_tokenizer()
    return Session(
        policy=Transformers().start(policy_model, tokenizer, "</thought>"),
        verifier=task.verifier(),
        task=task,
        tokenizer=tokenizer,
        delimiter="</thought>",
        localization_prompt="tiny",
        run_seed=0,
        learner=Torch(lr=0.05).start(learner_model),
    )


def test_new_adapters_change_nothing_and_only_they_are_trained() -> None:
    model, plain = adapted_llama(), random_llama()
    assert torch.equal(token_logprobs(model, sample_batch()), token_logprobs(plain, sample_batch()))
    learner = Torch().start(model)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    # Two layers of seven linear ones, A and B of each.
    assert len(trained) == 2 * 7 * 2
    assert all(".lora_" in name for name in trained)
    # Inputs plus outputs: (32 + 128), (32 + 64), (32 + 64), (128 + 32), three times (32 + 64).
    assert learner.num_trained_parameters == 2 * 4 * (160 + 96 + 96 + 160 + 3 * 96)
    num_plain = sum(p.numel() for p in plain.parameters())
    assert learner.num_parameters == num_plain + learner.num_trained_parameters


def test_training_leaves_the_frozen_parameters_as_they_were() -> None:
    model = adapted_llama()
    Torch(lr=0.05).start(model).update(sample_batch(), SuffixMean())
    plain = random_llama().state_dict()
    assert all(torch.equal(weight.tensor, plain[weight.name]) for weight in weights(model))
    assert not torch.equal(
        token_logprobs(model, sample_batch()), token_logprobs(random_llama(), sample_batch())
    )


def test_the_same_seed_draws_the_same_adapters_whatever_was_drawn_before() -> None:
    one = adapter_parameters(adapted_llama(rng_seed=1))
    torch.rand(7)
    again, other = adapted_llama(rng_seed=1), adapter_parameters(adapted_llama(rng_seed=2))
    assert all(torch.equal(one[name], p) for name, p in adapter_parameters(again).items())
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_the_weights_of_an_adapted_model_are_those_of_the_merged_one() -> None:
    model = adapted_llama()
    learner = Torch(lr=0.05).start(model)
    learner.update(sample_batch(), SuffixMean())
    before = adapter_parameters(model)
    merged = random_llama()
    given = {name: tensor.clone() for name, tensor in learner.weights()}
    assert list(given) == list(merged.state_dict())
    merged.load_state_dict(given)
    ours = learner.logprobs(sample_batch())
    torch.testing.assert_close(token_logprobs(merged, sample_batch()), ours, atol=1e-5, rtol=0)
    assert all(torch.equal(before[name], p) for name, p in adapter_parameters(model).items())


def test_merged_weights_are_rounded_once_to_the_dtype_of_the_model() -> None:
    model = adapt(random_llama().bfloat16(), Lora(rank=4), base="random", rng_seed=0)
    layer = model.get_base_model().model.layers[0].self_attn.q_proj
    torch.nn.init.normal_(layer.lora_B["default"].weight, std=1e-3)
    assert layer.lora_B["default"].weight.dtype == torch.float32
    (q_proj,) = (w for w in weights(model) if w.name == "model.layers.0.self_attn.q_proj.weight")
    change = 64 / 4 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    assert torch.equal(q_proj.whole(), (q_proj.tensor.float() + change).bfloat16())
    assert [source.shape for source in q_proj.sources] == [(128, 32), (4, 32), (128, 4)]


@pytest.mark.parametrize("engine_model", ["plain", "adapted copy"])
def test_a_step_changes_an_engine_with_its_own_copy_as_it_changes_the_learner(engine_model) -> None:
    model = adapted_llama()
    own = random_llama() if engine_model == "plain" else copy.deepcopy(model)
    session = session_of(own, model)
    session.learner.update(sample_batch(), SuffixMean())
    assert probe_gap(session) > 1e-3
    assert synchronise(session)["sync/probe_gap"] < 1e-5
    session.learner.update(sample_batch(1), SuffixMean())
    assert synchronise(session)["sync/probe_gap"] < 1e-5


def test_an_engine_that_reads_the_adapted_model_in_place_draws_with_the_adapters() -> None:
    model = adapted_llama()
    session = session_of(model, model)
    before = session.learner.logprobs(sample_batch())
    session.learner.update(sample_batch(), SuffixMean())
    assert synchronise(session) == {}
    assert (session.learner.logprobs(sample_batch()) - before).abs().max() > 1e-2
    assert probe_gap(session) < 1e-5


def test_the_initial_policy_is_the_model_with_its_adapters_off() -> None:
    model = adapted_llama()
    learner = Torch(lr=0.05).start(model, keep_reference=True)
    first = learner.update(sample_batch(), SuffixMean(kl=0.1))
    assert first.metrics["learner/kl_to_initial"] == pytest.approx(0.0, abs=1e-7)
    second = learner.update(sample_batch(), SuffixMean(kl=0.1))
    copied = Torch(lr=0.05).start(random_llama(), keep_reference=True)
    part = copied._with_reference(sample_batch())
    torch.testing.assert_close(learner._with_reference(sample_batch()).reference, part.reference)
    assert second.metrics["learner/kl_to_initial"] > 1e-3
    assert all(p.requires_grad == (".lora_" in name) for name, p in model.named_parameters())


def test_save_and_load_restore_adapters_and_optimizer_to_the_last_bit(tmp_path) -> None:
    learner = Torch(lr=0.05).start(adapted_llama())
    learner.update(sample_batch(), SuffixMean())
    learner.save(tmp_path)
    went_on = learner.update(sample_batch(1), SuffixMean())
    resumed = Torch(lr=0.05).start(adapted_llama(rng_seed=9))
    resumed.load(tmp_path)
    assert resumed.update(sample_batch(1), SuffixMean()) == went_on
    for (name, one), (_, other) in zip(learner.weights(), resumed.weights(), strict=True):
        assert torch.equal(one, other), name


@pytest.mark.parametrize("rank", [2, 0])
def test_the_checkpoint_of_other_adapters_is_refused(tmp_path, rank) -> None:
    saved = adapted_llama(rank=rank) if rank else random_llama()
    Torch().start(saved).save(tmp_path)
    with pytest.raises(CheckpointError, match="holds other adapters, or none: resume with"):
        Torch().start(adapted_llama(rank=4)).load(tmp_path)


def test_loading_a_checkpoint_of_adapters_into_a_plain_model_is_refused(tmp_path) -> None:
    Torch().start(adapted_llama()).save(tmp_path)
    with pytest.raises(CheckpointError, match="is no whole model: resume with"):
        Torch().start(random_llama()).load(tmp_path)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The tiny policy with trained adapters, its tokenizer and logits, and the exported folder."""
    loaded = load_model(ModelConfig(lora=Lora(rank=4, target=["q_proj", "down_proj"])))
    for name, parameter in loaded.model.named_parameters():
        if ".lora_B." in name:
            generator = torch.Generator().manual_seed(len(name))
            parameter.data.normal_(std=0.02, generator=generator)
    folder = tmp_path_factory.mktemp("exported")
    Torch().start(loaded.model).save(folder)
    loaded.tokenizer.save_pretrained(folder)
    token_ids = torch.tensor([loaded.tokenizer.encode("3+4=7</thought>\\boxed{7}</thought>")])
    with torch.no_grad():
        return folder, token_ids, loaded.model(token_ids).logits


@torch.no_grad()
def test_peft_loads_the_export_with_the_same_logits(exported) -> None:
    from peft import AutoPeftModelForCausalLM

    folder, token_ids, logits = exported
    assert torch.equal(AutoPeftModelForCausalLM.from_pretrained(folder)(token_ids).logits, logits)


@torch.no_grad()
def test_transformers_loads_the_export_with_the_same_logits(exported) -> None:
    from transformers import AutoModelForCausalLM

    folder, token_ids, logits = exported
    assert torch.equal(AutoModelForCausalLM.from_pretrained(folder)(token_ids).logits, logits)


@torch.no_grad()
def test_model_path_loads_the_export_merged(exported) -> None:
    folder, token_ids, logits = exported
    for loaded in (
        load_model(ModelConfig(path=str(folder))),
        load_model(ModelConfig(lora=Lora(rank=4)), weights=folder),
    ):
        assert not is_adapted(loaded.model)
        assert all(parameter.requires_grad for parameter in loaded.model.parameters())
        torch.testing.assert_close(loaded.model(token_ids).logits, logits, atol=1e-4, rtol=0)


@torch.no_grad()
def test_adapters_may_be_named_as_the_hub_names_them(exported, monkeypatch) -> None:
    folder, token_ids, logits = exported
    cache = {"someone/adapters": str(folder)}
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **_: cache[name])
    loaded = load_model(ModelConfig(path="someone/adapters"))
    torch.testing.assert_close(loaded.model(token_ids).logits, logits, atol=1e-4, rtol=0)


@torch.no_grad()
def test_adapters_of_adapters_are_found_through_both_folders(exported, tmp_path) -> None:
    folder, token_ids, logits = exported
    second = load_model(ModelConfig(path=str(folder), lora=Lora(rank=2)), rng_seed=3)
    Torch().start(second.model).save(tmp_path)
    second.tokenizer.save_pretrained(tmp_path)
    again = load_model(ModelConfig(path=str(tmp_path))).model
    torch.testing.assert_close(again(token_ids).logits, logits, atol=1e-4, rtol=0)


def test_adapters_whose_model_is_gone_say_so(exported, tmp_path) -> None:
    folder = shutil.copytree(exported[0], tmp_path / "moved")
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "/nowhere/at/all"
    (folder / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"without their model .*/nowhere/at/all.* correct base_"):
        load_model(ModelConfig(path=str(folder)))


def test_damaged_adapters_are_one_sentence(exported, tmp_path) -> None:
    folder = shutil.copytree(exported[0], tmp_path / "damaged")
    (folder / "adapter_model.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(ModelError, match=r"the adapter of model\.path .* cannot be read") as caught:
        load_model(ModelConfig(path=str(folder)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("target", ["lm_head", ["q_proj", "query"]])
def test_unknown_targets_are_listed_with_the_layers_there_are(target) -> None:
    sentence = (
        r"but (lm_head|query) is none of the model's linear layers: choose all-linear, or some "
        "of down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj$"
    )
    with pytest.raises(ModelError, match=sentence):
        load_model(ModelConfig(lora=Lora(rank=4, target=target)))


@pytest.mark.parametrize("where", ["rank", "path"])
def test_a_missing_peft_is_one_sentence(exported, monkeypatch, where) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "peft" else find_spec(name)
    )
    config = {
        "rank": ModelConfig(lora=Lora(rank=4)),
        "path": ModelConfig(path=str(exported[0])),
    }[where]
    with pytest.raises(ModelError, match=r"needs peft: run `pip install resetrl\[lora\]`$"):
        load_model(config)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": -1}, r"model\.lora\.rank is -1"),
        ({"alpha": 0}, r"model\.lora\.alpha is 0"),
        ({"target": []}, r"model\.lora\.target is \[\]: choose all-linear, or names"),
        ({"target": 3}, r"model\.lora\.target is 3"),
    ],
)
def test_options_out_of_range_are_named(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        Lora(**options)


def test_the_shipped_policy_has_no_adapters() -> None:
    assert not is_adapted(load_model(ModelConfig()).model)
    assert not (tiny.folder() / "adapter_config.json").exists()
