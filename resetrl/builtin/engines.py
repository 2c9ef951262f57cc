"""Built-in engines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from resetrl.interfaces import Policy

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass
class Transformers:
    """Generates in the trainer's process with continuous batching and a KV cache.

    max_batch: completions in flight at once; more is faster until memory or cores run out.
    """

    max_batch: int = 128

    def __post_init__(self) -> None:
        if self.max_batch < 1:
            raise ValueError(f"max_batch is {self.max_batch}: choose at least 1")

    def start(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, delimiter: str
    ) -> Policy:
        from resetrl.engines.transformers import TransformersPolicy

        return TransformersPolicy(model, tokenizer, delimiter, self.max_batch)
