import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from resetrl.engines.kv_cache import RowCache
from resetrl.engines.llama import LlamaDecoder
from resetrl.testing import random_llama

MASK = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1], [0, 1, 1, 1, 1]])


def biased_llama():
    """Grouped heads of an unusual size, biases, scaled rotary frequencies, tied embeddings."""
    config = LlamaConfig(
        vocab_size=20,
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=8,
        attention_bias=True,
        mlp_bias=True,
        hidden_act="gelu",
        tie_word_embeddings=True,
        rms_norm_eps=1e-3,
        rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 5e5},
        initializer_range=0.3,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
    )
    torch.manual_seed(1)
    model = LlamaForCausalLM(config)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    return model.eval()


@pytest.mark.parametrize("build", [random_llama, biased_llama])
@torch.inference_mode()
def test_a_decoding_step_is_the_models_own_forward(build):
    model = build()
    token_ids = torch.randint(2, 18, (3, 7), generator=torch.Generator().manual_seed(0))
    logits = []
    for decode in (LlamaDecoder(model), own_forward(model)):
        cache, mask = RowCache(), MASK
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        model(token_ids[:, :5], mask, positions, cache, use_cache=True)
        for column in (5, 6):
            positions = mask.sum(dim=1, keepdim=True)
            mask = torch.cat([mask, torch.ones(3, 1, dtype=torch.long)], dim=1)
            logits.append(decode(token_ids[:, column, None], positions, mask, cache))
    torch.testing.assert_close(logits[0], logits[2], atol=1e-5, rtol=0)
    torch.testing.assert_close(logits[1], logits[3], atol=1e-5, rtol=0)


def own_forward(model):
    def decode(token_ids, positions, mask, cache):
        return model(token_ids, mask, positions, cache, use_cache=True).logits[:, -1]

    return decode


def test_it_sees_a_change_of_the_parameters_at_once():
    model = random_llama()
    decode = LlamaDecoder(model)
    one = torch.ones(1, 1, dtype=torch.long)
    with torch.no_grad():
        before = decode(one, one - 1, one, RowCache())
        model.lm_head.weight.mul_(2)
        torch.testing.assert_close(decode(one, one - 1, one, RowCache()), 2 * before)


class AdaptedLinear(torch.nn.Linear):
    """What an adapter puts in a layer's place."""


def test_only_a_llama_without_adapters_and_hooks_is_one_it_knows():
    assert LlamaDecoder.fits(random_llama())
    adapted = random_llama()
    adapted.model.layers[1].self_attn.q_proj = AdaptedLinear(32, 32)
    assert not LlamaDecoder.fits(adapted)
    hooked = random_llama()
    hooked.model.layers[0].register_forward_hook(lambda *_: None)
    assert not LlamaDecoder.fits(hooked)
    subclassed = random_llama()
    subclassed.__class__ = type("Other", (LlamaForCausalLM,), {})
    assert not LlamaDecoder.fits(subclassed)
    with pytest.raises(ValueError, match="no plain Llama"):
        LlamaDecoder(subclassed)
