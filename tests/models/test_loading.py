import shutil

import pytest
import torch

from resetrl import tiny
from resetrl.errors import ModelError
from resetrl.lora import Lora
from resetrl.models import ModelConfig, load_model


def test_the_builtin_model_loads_ready_to_sample():
    loaded = load_model(ModelConfig())
    assert not loaded.model.training
    assert loaded.tokenizer.pad_token_id is not None
    text = "3+4=7</thought>\\boxed{7}</thought>"
    assert loaded.tokenizer.decode(loaded.tokenizer.encode(text)) == text


def test_a_local_folder_gives_the_same_parameters(tmp_path):
    folder = shutil.copytree(tiny.folder(), tmp_path / "model")
    one, other = load_model(ModelConfig()), load_model(ModelConfig(path=str(folder)))
    for mine, theirs in zip(one.model.parameters(), other.model.parameters(), strict=True):
        assert mine.equal(theirs)


def test_damaged_weights_are_one_sentence(tmp_path):
    folder = shutil.copytree(tiny.folder(), tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(ModelError) as caught:
        load_model(ModelConfig(path=str(folder)))
    assert "\n" not in str(caught.value)


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
