"""What the policy is asked, from template files: `completion_*.txt`, `localization_*.txt` and
`verification_*.txt`.

A preset is a file name of this folder without its ending, or a path to a template of your own.
Templates are Jinja2 and see `question`, `thoughts` (delimiters stripped) and `reference` (or
none). With a chat template in the tokenizer, localizations and verifications are wrapped as a
user's message.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from resetrl.errors import ConfigError

if TYPE_CHECKING:
    from jinja2 import Template
    from transformers import PreTrainedTokenizerBase


def completion_ids(
    preset: str, tokenizer: PreTrainedTokenizerBase, question: str, *, chat: bool
) -> tuple[int, ...]:
    """The prompt that asks for one thought at a time, as token ids."""
    text = _template("completion", preset).render(question=question)
    return _encode(tokenizer, text, chat=chat)


def localization_ids(
    preset: str,
    tokenizer: PreTrainedTokenizerBase,
    *,
    question: str,
    thoughts: Sequence[str],
    reference: str | None,
) -> tuple[int, ...]:
    """The prompt that asks for the first wrong thought, as token ids."""
    text = _template("localization", preset).render(
        question=question, thoughts=thoughts, reference=reference
    )
    return _encode(tokenizer, text, chat=bool(tokenizer.chat_template))


def shows_reference(preset: str) -> bool:
    """Whether a localization prompt has a place for the reference answer."""
    from jinja2 import Environment, meta

    source = _path("localization", preset).read_text(encoding="utf-8")
    return "reference" in meta.find_undeclared_variables(Environment().parse(source))


def verification_ids(
    preset: str, tokenizer: PreTrainedTokenizerBase, *, question: str, thoughts: Sequence[str]
) -> tuple[int, ...]:
    """The prompt that asks whether the final answer of these thoughts is right, as token ids."""
    text = _template("verification", preset).render(question=question, thoughts=thoughts)
    return _encode(tokenizer, text, chat=bool(tokenizer.chat_template))


def _encode(tokenizer: PreTrainedTokenizerBase, text: str, *, chat: bool) -> tuple[int, ...]:
    if chat:
        if not tokenizer.chat_template:
            raise ConfigError(
                "model.chat=true, but the tokenizer has no chat template: set it false"
            )
        message = [{"role": "user", "content": text}]
        text = str(
            tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        )
        return tuple(tokenizer.encode(text, add_special_tokens=False, verbose=False))
    return tuple(tokenizer.encode(text, verbose=False))  # who asks sees to what is too long


@lru_cache
def _template(kind: str, preset: str) -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True, autoescape=False
    )
    return environment.from_string(_path(kind, preset).read_text(encoding="utf-8"))


def _path(kind: str, preset: str) -> Path:
    """The template's file; raises ConfigError if the preset is neither shipped nor a file."""
    folder = Path(__file__).parent
    shipped = folder / f"{kind}_{preset}.txt"
    path = shipped if shipped.is_file() else Path(preset)
    if not path.is_file():
        names = sorted(p.stem.removeprefix(f"{kind}_") for p in folder.glob(f"{kind}_*.txt"))
        raise ConfigError(
            f"no {kind} prompt {preset!r}: choose {', '.join(names)}, or give a template's path"
        )
    return path
