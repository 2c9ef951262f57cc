"""The tokenizer, the shipped weights, and that a recipe rebuilds them to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import resetrl.tiny as tiny
from resetrl.tiny.tokenizer import VOCABULARY, build_tokenizer
from resetrl.tiny.warm_start import lr_factor

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

SMALL = tiny.Recipe(steps=3, late_steps=1, examples_per_step=8, buckets=2)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny.folder(), local_files_only=True)


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny.folder(), local_files_only=True)


def test_delimiter_and_box_opening_are_single_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    token_ids = tokenizer.encode("7*6=2</thought>\\boxed{2}</thought><eos>")
    assert token_ids == [12, 16, 11, 17, 7, 3, 4, 7, 18, 3, 1]
    assert [VOCABULARY[token_id] for token_id in token_ids[5:9]] == [
        "</thought>", "\\boxed{", "2", "}",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "?3+4*6\n1:3+4=7\n2:7*6=3\n3:\\boxed{3}\n#",
        " a  b , c . don 't </though \\boxed \\boxed{\\boxed{}}\n\n",
        "".join(chr(code) for code in range(32, 127)),
    ],
)
def test_decoding_gives_the_text_back(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.decode(tokenizer.encode(text), skip_special_tokens=True) == text


def test_the_shipped_tokenizer_is_the_built_one(tokenizer: PreTrainedTokenizerFast) -> None:
    built = build_tokenizer(tiny.Recipe().context_len)
    assert tokenizer.get_vocab() == built.get_vocab()
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id) == (0, 1, None)
    assert tokenizer.model_max_length == 640


def test_the_shipped_model_is_a_small_llama(model: PreTrainedModel) -> None:
    assert type(model).__name__ == "LlamaForCausalLM"
    assert 150_000 <= sum(weight.numel() for weight in model.parameters()) <= 400_000
    assert model.config.head_dim == 32
    assert model.config.max_position_embeddings == 640
    assert model.generation_config.eos_token_id == 1


def test_the_shipped_weights_are_of_the_current_recipe() -> None:
    assert tiny.stored_recipe_hash(tiny.folder()) == tiny.recipe_hash()


def test_the_hash_of_a_recipe_depends_on_its_numbers() -> None:
    assert tiny.recipe_hash(SMALL) != tiny.recipe_hash()
    assert tiny.recipe_hash(SMALL) == tiny.recipe_hash(SMALL)


def test_the_policy_solves_an_easy_chain_and_finds_a_first_error(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    from resetrl.tiny import formats

    def reply_to(prompt: str) -> str:
        inputs = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
        token_ids = model.generate(**inputs, max_new_tokens=60, do_sample=False)[0]
        return str(tokenizer.decode(token_ids[inputs["input_ids"].shape[1] :]))

    thoughts = ["2+2=4", "4*2=9", "9+0=9", "\\boxed{9}"]
    assert reply_to(formats.completion_prompt("2+2*2+0")) == (
        "2+2=4</thought>4*2=8</thought>8+0=8</thought>\\boxed{8}</thought><eos>"
    )
    assert reply_to(formats.localization_prompt("2+2*2+0", thoughts)) == (
        "1:2+2=4.\n2:4*2=9!\n\\boxed{2}<eos>"
    )


def test_a_recipe_gives_the_same_weights_to_the_last_bit(tmp_path: Path) -> None:
    import torch

    threads = torch.get_num_threads()
    seen: list[tuple[int, int]] = []
    tiny.build(tmp_path / "a", lambda step, steps, loss: seen.append((step, steps)), SMALL)
    torch.manual_seed(1)
    random_state = torch.get_rng_state()
    tiny.build(tmp_path / "b", lambda step, steps, loss: None, SMALL)
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert tiny.weights_hash(tmp_path / "a") == tiny.weights_hash(tmp_path / "b")
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert tiny.weights_hash(tmp_path / "a") != tiny.weights_hash(tiny.folder())
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), random_state)


def test_the_learning_rate_rises_stays_and_falls() -> None:
    recipe = tiny.Recipe(steps=10, late_steps=4, warmup_steps=2)
    factors = [lr_factor(step, recipe) for step in range(10)]
    assert factors == [0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25]


def test_importing_the_package_imports_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys, resetrl.tiny, resetrl.builtin.chain; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
