"""Which model to train, and how it is asked."""

from __future__ import annotations

from dataclasses import dataclass, field

from resetrl.lora import Lora
from resetrl.thoughts import DELIMITER

DTYPES = ("float32", "bfloat16")


@dataclass
class ModelConfig:
    """Which model to train, and how it is asked.

    path: `builtin:tiny`, the folder of a Hugging Face model or of a peft adapter, the name of
        either on the Hugging Face hub, or `package:NAME/FILE.gguf`, a GGUF file inside an
        installed Python package. Adapters are merged into the model they belong to.
    prompt, localization_prompt: presets of `resetrl.prompts`, or paths to templates.
    chat: wrap the completion prompt with the tokenizer's chat template.
    delimiter: the text that closes a thought.
    dtype: of the parameters, float32 or bfloat16.
    device: where the model lives, `cpu`, `cuda` or `cuda:1`.
    gradient_checkpointing: compute a layer's activations again in the backward pass instead of
        keeping them: less memory, more time, the same gradient.
    lora: adapters to train in place of the parameters.
    """

    path: str = "builtin:tiny"
    prompt: str = "tiny"
    localization_prompt: str = "tiny"
    chat: bool = False
    delimiter: str = DELIMITER
    dtype: str = "float32"
    device: str = "cpu"
    gradient_checkpointing: bool = False
    lora: Lora = field(default_factory=Lora)

    def __post_init__(self) -> None:
        for name in ("path", "prompt", "localization_prompt", "delimiter", "device"):
            if not getattr(self, name).strip():
                raise ValueError(f"model.{name} is empty: give a value or leave the key out")
        if self.dtype not in DTYPES:
            raise ValueError(f"model.dtype is {self.dtype!r}: choose {' or '.join(DTYPES)}")
