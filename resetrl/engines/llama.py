"""One decoding step of a Llama without the overhead of its modules.

A decoding step of a small model spends most of its time between the operations: each of some
fifty module calls costs more than the arithmetic inside. This is the same arithmetic on the same
parameters, written out, for the one architecture whose every operation is known here; all others
decode through their own `forward`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM, PreTrainedModel
from transformers.activations import ACT2FN
from transformers.models.llama.modeling_llama import LlamaRMSNorm, LlamaRotaryEmbedding

from resetrl.engines.kv_cache import RowCache


class LlamaDecoder:
    """Computes the logits of one new token a row; sees every change of the parameters at once."""

    def __init__(self, model: PreTrainedModel) -> None:
        if not self.fits(model):
            raise ValueError(f"{type(model).__name__} is no plain Llama: use its own forward")
        self._model: Any = model.model
        self._head: Any = model.lm_head

    @staticmethod
    def fits(model: PreTrainedModel) -> bool:
        """Whether the model is a Llama as transformers builds it: no adapter, no subclass, no hook.

        A module that was put in another's place, as adapters do, has another type.
        """
        if type(model) is not LlamaForCausalLM or model.config._attn_implementation != "sdpa":
            return False
        activation = type(ACT2FN[model.config.hidden_act])
        known = (nn.Linear, nn.Embedding, LlamaRMSNorm, LlamaRotaryEmbedding, activation)
        modules = list(model.modules())
        return all(
            type(module) in known for module in modules if not list(module.children())
        ) and not any(module._forward_hooks or module._forward_pre_hooks for module in modules)

    def __call__(
        self, token_ids: Tensor, positions: Tensor, attention_mask: Tensor, cache: RowCache
    ) -> Tensor:
        """Logits [rows, V] after ids and positions [rows, 1]; the mask is [rows, columns]."""
        mask = attention_mask[:, None, None, :].bool()
        hidden = self._model.embed_tokens(token_ids[:, 0])
        cos, sin = (table[:, :, None, :] for table in self._model.rotary_emb(hidden, positions))
        for index, layer in enumerate(self._model.layers):
            normed = _norm(layer.input_layernorm, hidden)
            attended = _attend(layer.self_attn, normed, cos, sin, mask, cache, index)
            hidden = hidden + attended
            normed = _norm(layer.post_attention_layernorm, hidden)
            mlp = layer.mlp
            gated = mlp.act_fn(_linear(mlp.gate_proj, normed)) * _linear(mlp.up_proj, normed)
            hidden = hidden + _linear(mlp.down_proj, gated)
        return _linear(self._head, _norm(self._model.norm, hidden))


def _attend(
    attention: Any, normed: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, cache: RowCache, at: int
) -> Tensor:
    """Self-attention of one new token a row, [rows, hidden], over the cached ones and itself."""
    rows, head_dim = normed.shape[0], attention.head_dim
    query, key, value = (
        _linear(projection, normed).view(rows, 1, -1, head_dim)
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    keys, values = cache.update(_rotate(key, cos, sin).transpose(1, 2), value.transpose(1, 2), at)
    attended = nn.functional.scaled_dot_product_attention(
        _rotate(query, cos, sin).transpose(1, 2),
        keys,
        values,
        attn_mask=mask,
        scale=attention.scaling,
        enable_gqa=query.shape[2] != key.shape[2],
    )
    return _linear(attention.o_proj, attended.reshape(rows, -1))


def _rotate(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding (arXiv 2104.09864) of [rows, 1, heads, head_dim]."""
    half = states.shape[-1] // 2
    turned = torch.cat((-states[..., half:], states[..., :half]), dim=-1)
    return states * cos + turned * sin


def _linear(module: nn.Linear, inputs: Tensor) -> Tensor:
    return nn.functional.linear(inputs, module.weight, module.bias)


def _norm(module: Any, hidden: Tensor) -> Tensor:
    shape = hidden.shape[-1:]
    return nn.functional.rms_norm(hidden, shape, module.weight, module.variance_epsilon)
