"""What the policy is asked, from template files: `completion_*.txt`, `localization_*.txt` and
`verification_*.txt`.

A preset is a file name of this folder without its ending, or a path to a template of your own.
Templates are Jinja2 and see `question`, `thoughts` (delimiters stripped) and `reference` (or
none). With a chat template in the tokenizer, localizations and verifications are wrapped as a
user's message.

Plugins keep templates of their own: `find_template` looks in their folder, `prompt_ids` renders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from resetrl.errors import ConfigError

if TYPE_CHECKING:
    from jinja2 import Template
    from transformers import PreTrainedTokenizerBase

SHIPPED = Path(__file__).parent


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

    source = find_template("localization", preset).read_text(encoding="utf-8")
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


def prompt_ids(
    template: Path,
    tokenizer: PreTrainedTokenizerBase,
    values: Mapping[str, object],
    *,
    chat: bool,
) -> tuple[int, ...]:
    """A template rendered with the values, as token ids; with `chat` as a user's message."""
    return _encode(tokenizer, _compiled(template).render(values), chat=chat)


def find_template(kind: str, preset: str, folder: Path = SHIPPED) -> Path:
    """The file `<kind>_<preset>.txt` of a folder, or else the one that the preset is a path to.

    Raises ConfigError with the presets of the folder listed.
    """
    shipped = folder / f"{kind}_{preset}.txt"
    path = shipped if shipped.is_file() else Path(preset)
    if not path.is_file():
        names = sorted(file.stem.removeprefix(f"{kind}_") for file in folder.glob(f"{kind}_*.txt"))
        raise ConfigError(
            f"no {kind} prompt {preset!r}: choose {', '.join(names)}, or give a template's path"
        )
    return path


def _template(kind: str, preset: str) -> Template:
    return _compiled(find_template(kind, preset))


@lru_cache
def _compiled(path: Path) -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True, autoescape=False
    )
    return environment.from_string(path.read_text(encoding="utf-8"))
