"""What the method asks of a model: a tokenizer that can write a thought, a context that holds one.

Every check raises ModelError with one sentence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resetrl.errors import ModelError
from resetrl.models.config import ModelConfig
from resetrl.thoughts import BOX_OPENING

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MIN_CONTEXT = 64
"""Tokens below which a context holds no prompt and thought worth training on."""


def check_tokens(config: ModelConfig, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a tokenizer without an end of sequence, or that cannot write thoughts and answers."""
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"the tokenizer of model.path {config.path!r} has no end-of-sequence token: set "
            "`tokenizer.eos_token` and save it again"
        )
    for needed in (config.delimiter, BOX_OPENING):
        text = f"1 {needed}"
        token_ids = tokenizer.encode(text, add_special_tokens=False)
        decoded = tokenizer.decode(
            token_ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        if needed not in decoded:
            raise ModelError(
                f"the tokenizer of model.path {config.path!r} cannot write {needed!r} (it comes "
                f"back as {decoded!r}): add the tokens, choose another model, or for a thought's "
                "end another model.delimiter"
            )


def check_fit(
    config: ModelConfig, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    """Refuse a context too short for a prompt and a thought, and another model's tokenizer."""
    context = int(getattr(model.config, "max_position_embeddings", 0) or 0)
    if context < MIN_CONTEXT:
        raise ModelError(
            f"model.path {config.path!r} has a context of {context} tokens: choose a model with "
            f"max_position_embeddings of at least {MIN_CONTEXT}"
        )
    embeddings: Any = model.get_input_embeddings()
    num_embeddings = int(embeddings.weight.shape[0])
    if len(tokenizer) > num_embeddings:
        raise ModelError(
            f"model.path {config.path!r} has {num_embeddings} embeddings for a tokenizer of "
            f"{len(tokenizer)} tokens: the two do not belong together, save them to one folder"
        )
