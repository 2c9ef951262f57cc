"""A randomly initialised Llama of 40 thousand parameters, for the contracts of engine and learner.

Its vocabulary is so small that thoughts, answers and EOS all come up by chance.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from resetrl.thoughts import BOX_OPENING, DELIMITER

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

VOCABULARY = ("<pad>", "<eos>", "<unk>", DELIMITER, BOX_OPENING, "}", "\n", *"0123456789+*=")
"""Token ids are places in this tuple: the delimiter is 3 and the digit 0 is 7."""

CONTEXT_LEN = 96


def random_llama(rng_seed: int = 0) -> PreTrainedModel:
    """A Hugging Face causal LM in float32 on the CPU, a fixed function of the seed."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,  # the smallest that vLLM's CPU kernels know
        max_position_embeddings=CONTEXT_LEN,
        initializer_range=0.25,
        tie_word_embeddings=False,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng_seed)
        model: PreTrainedModel = LlamaForCausalLM(config)
        model.train(False)
        return model


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread: for so small a model, several mostly wait for one another."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def word_level_tokenizer() -> PreTrainedTokenizerBase:
    """The Hugging Face tokenizer of `random_llama`."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: token_id for token_id, token in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(
        Regex(r"</thought>|\\boxed\{|[\s\S]"), behavior="isolated"
    )
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
        model_max_length=CONTEXT_LEN,
    )
