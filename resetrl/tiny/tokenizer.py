"""The tiny policy's tokenizer: one a character, one each for `</thought>` and `\\boxed{`."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

from resetrl.tiny.formats import BOX_OPENING, DELIMITER, EOS, PAD, UNKNOWN

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

CHARACTERS = string.digits + "+*=}\n?#:.!" + string.ascii_letters + " "
CHARACTERS += "".join(sorted(set(string.punctuation) - set(CHARACTERS)))
VOCABULARY = (PAD, EOS, UNKNOWN, DELIMITER, BOX_OPENING, *CHARACTERS)
"""Token ids are places in this tuple: printable ASCII and the line break have a token each."""


def build_tokenizer(context_len: int) -> PreTrainedTokenizerFast:
    """A Hugging Face tokenizer; decoding what it encoded gives ASCII text back exactly."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: token_id for token_id, token in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(
        Regex(r"</thought>|\\boxed\{|[\s\S]"), behavior="isolated"
    )
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNKNOWN,
        clean_up_tokenization_spaces=False,
        model_max_length=context_len,
        padding_side="left",
    )
