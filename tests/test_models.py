import json
import shutil

import pytest
import torch

from resetrl import tiny
from resetrl.errors import ModelError
from resetrl.lora import Lora
from resetrl.models import ModelConfig, load_model


def copy_of_tiny(folder):
    return shutil.copytree(tiny.folder(), folder)


def test_the_builtin_model_loads_ready_to_sample():
    loaded = load_model(ModelConfig())
    assert not loaded.model.training
    assert loaded.tokenizer.pad_token_id is not None
    text = "3+4=7</thought>\\boxed{7}</thought>"
    assert loaded.tokenizer.decode(loaded.tokenizer.encode(text)) == text


def test_a_local_folder_gives_the_same_parameters(tmp_path):
    folder = copy_of_tiny(tmp_path / "model")
    one, other = load_model(ModelConfig()), load_model(ModelConfig(path=str(folder)))
    for mine, theirs in zip(one.model.parameters(), other.model.parameters(), strict=True):
        assert mine.equal(theirs)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("./nowhere", "does not exist: give the folder of a Hugging Face model"),
        ("builtin:large", "names no built-in model: use builtin:tiny"),
        ("package:absent_package/file.gguf", "absent_package is not installed"),
        ("package:json", "is not of the form package:NAME/FILE.gguf"),
    ],
)
def test_a_model_that_is_not_there_is_named_with_the_remedy(path, message):
    with pytest.raises(ModelError, match=message):
        load_model(ModelConfig(path=path))


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.json", r"holds no config\.json"),
        ("model.safetensors", "holds no weights"),
    ],
)
def test_a_folder_that_lacks_a_file_says_which(tmp_path, missing, message):
    folder = copy_of_tiny(tmp_path / "model")
    (folder / missing).unlink()
    with pytest.raises(ModelError, match=message):
        load_model(ModelConfig(path=str(folder)))


def test_a_model_that_cannot_write_the_delimiter_is_refused(tmp_path):
    folder = copy_of_tiny(tmp_path / "model")
    with pytest.raises(ModelError) as caught:
        load_model(ModelConfig(path=str(folder), delimiter="§stop§"))
    assert "§stop§" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_weights_are_one_sentence(tmp_path):
    folder = copy_of_tiny(tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(ModelError) as caught:
        load_model(ModelConfig(path=str(folder)))
    assert "\n" not in str(caught.value)


def test_a_configuration_out_of_range_is_named():
    with pytest.raises(ValueError, match=r"model\.dtype is 'float8': choose float32 or bfloat16"):
        ModelConfig(dtype="float8")
    with pytest.raises(ValueError, match=r"model\.path is empty"):
        ModelConfig(path="")


@pytest.mark.parametrize("rank", [0, 4])
def test_gradient_checkpointing_changes_no_gradient_and_no_sampling(rank):
    gradients, calls = [], []
    for checkpointing in (False, True):
        config = ModelConfig(gradient_checkpointing=checkpointing, lora=Lora(rank=rank))
        loaded = load_model(config)
        token_ids = torch.tensor([loaded.tokenizer.encode("3+4=7</thought>")])
        norm = loaded.model.get_decoder().layers[0].input_layernorm
        norm.register_forward_hook(lambda *_: calls.append(1))
        loaded.model(token_ids)
        loaded.model.train()
        loaded.model(token_ids, labels=token_ids).loss.backward()
        trained = [p.grad for p in loaded.model.parameters() if p.grad is not None]
        gradients.append(torch.cat([gradient.flatten() for gradient in trained]))
    assert len(calls) == 2 + 3  # the third is the backward pass's own
    assert gradients[0].norm() > 0
    torch.testing.assert_close(gradients[1], gradients[0])


def test_the_recipe_of_the_shipped_weights_is_the_one_in_the_package():
    assert tiny.stored_recipe_hash(tiny.folder()) == tiny.recipe_hash()
    config = json.loads((tiny.folder() / "config.json").read_text())
    assert config["head_dim"] == 32
