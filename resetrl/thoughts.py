"""Thoughts: how a stream of tokens becomes a completion with thought boundaries.

Thought boundaries are token boundaries: a token that completes the delimiter ends the thought,
whatever else it carries, and nothing is ever decoded and re-encoded (arXiv 2605.25507, sec. 2).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from resetrl.types import Completion, Limits, Prefix, StopReason

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DELIMITER = "</thought>"
BOX_OPENING = "\\boxed{"

_BRACES = re.compile(r"\\boxed\{|\\(?!\\boxed\{)[\s\S]|[{}]")
"""A box's opening, an escaped character, a brace."""


def last_boxed(text: str) -> str | None:
    """The content of the last closed `\\boxed{...}`, braces balanced, or None.

    Example: `last_boxed(r"\\boxed{1} \\boxed{\\frac{a}{b}}") == r"\\frac{a}{b}"`; an unclosed box
    is no answer. As in TeX, the braces of `\\{` and `\\}` open and close nothing.
    """
    open_braces: list[int | None] = []  # where a box's content starts, None for other braces
    start, end = -1, -1
    for match in _BRACES.finditer(text):
        if match.group() == "}":
            opened = open_braces.pop() if open_braces else None
            if opened is not None and opened > start:
                start, end = opened, match.start()
        elif match.group() in (BOX_OPENING, "{"):
            open_braces.append(match.end() if match.group() == BOX_OPENING else None)
    return text[start:end] if start >= 0 else None


def stripped_thoughts(completion: Completion, delimiter: str) -> list[str]:
    """The thoughts' texts without delimiter and surrounding white space."""
    return [thought.replace(delimiter, "").strip() for thought in completion.thoughts]


class Pieces:
    """The text each token id adds behind other text: `pieces[id]`, computed once per id.

    Decoding an id alone may strip a leading space, so each is decoded behind an anchor token.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._pieces: dict[int, str] = {}
        self._anchor = tokenizer.encode("1", add_special_tokens=False)[-1:]
        self._anchor_len = len(self._decode(self._anchor))

    def _decode(self, token_ids: list[int]) -> str:
        text = self._tokenizer.decode(
            token_ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return str(text)

    def __getitem__(self, token_id: int) -> str:
        piece = self._pieces.get(token_id)
        if piece is None:
            piece = self._decode([*self._anchor, token_id])[self._anchor_len :]
            self._pieces[token_id] = piece
        return piece


@dataclass
class CompletionBuilder:
    """Builds one completion from the tokens a policy draws, and says when it is complete.

    A completion ends when the newest thought holds `\\boxed{` ("answer"), at EOS ("eos"), at
    `limits.max_thoughts`, or when the next full-size thought would not fit the limit on tokens
    or the context ("budget"). A thought that reaches `limits.max_thought_len` without the
    delimiter is cut there, counts as a thought and is a fragment. With `limits.max_thoughts=0`
    it is a plain reply, which ends at EOS or at the limit on tokens.

    `room` is the number of completion tokens that fit the context behind the prompt.
    """

    limits: Limits
    delimiter: str
    eos_ids: frozenset[int]
    room: int
    prefix: Prefix = field(default_factory=Prefix)
    stop: StopReason | None = None
    token_ids: list[int] = field(init=False)
    logprobs: list[float] = field(init=False)
    thought_ends: list[int] = field(init=False)
    fragments: int = field(default=0, init=False)
    _open_text: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self.token_ids = list(self.prefix.token_ids)
        self.logprobs = list(self.prefix.logprobs)
        self.thought_ends = list(self.prefix.thought_ends)
        self._max_len = min(self.limits.max_completion_len, self.room)
        self._check_room()

    def push(self, token_id: int, logprob: float, piece: str) -> bool:
        """Take one drawn token whose text is `piece`; true when the completion is complete."""
        self.token_ids.append(token_id)
        self.logprobs.append(logprob)
        if token_id in self.eos_ids:
            self._end_at_eos()
        elif self.limits.max_thoughts:
            self._open_text += piece
            closed = self.delimiter in self._open_text
            if closed or self._open_len >= self.limits.max_thought_len:
                self._close_thought(fragment=not closed)
        elif len(self.token_ids) >= self._max_len:
            self.stop = "budget"
        return self.stop is not None

    def push_thought(
        self, token_ids: Sequence[int], logprobs: Sequence[float], pieces: Sequence[str]
    ) -> bool:
        """Take a whole thought from an engine that returns one a call; true when complete.

        An empty thought ends the completion. One that overruns the limit on tokens is dropped
        whole, so that the completion still ends at a thought boundary.
        """
        text = "".join(pieces)
        if not token_ids:
            self.stop = "eos"
        elif len(self.token_ids) + len(token_ids) > self._max_len:
            self.stop = "budget"
        else:
            at_eos = token_ids[-1] in self.eos_ids
            self.token_ids += token_ids
            self.logprobs += logprobs
            self._open_text = "".join(pieces[:-1]) if at_eos else text
            if at_eos:
                self._end_at_eos()
            else:
                self._close_thought(fragment=self.delimiter not in text)
        return self.stop is not None

    def completion(self, thoughts_of: Pieces | Sequence[str]) -> Completion:
        """The finished record; `thoughts_of[id]` is the text of a token id."""
        if self.stop is None:
            raise ValueError("the completion has not ended: push tokens until push returns true")
        pieces = [thoughts_of[token_id] for token_id in self.token_ids]
        starts = [0, *self.thought_ends[:-1]]
        return Completion(
            token_ids=tuple(self.token_ids),
            logprobs=tuple(self.logprobs),
            thought_ends=tuple(self.thought_ends),
            thoughts=tuple(
                "".join(pieces[start:end])
                for start, end in zip(starts, self.thought_ends, strict=False)
            ),
            stop=self.stop,
            text="".join(pieces),
            prefix_len=len(self.prefix.token_ids),
            fragments=self.fragments,
        )

    @property
    def _open_len(self) -> int:
        """Tokens since the last thought boundary."""
        return len(self.token_ids) - (self.thought_ends[-1] if self.thought_ends else 0)

    def _end_at_eos(self) -> None:
        """EOS ends the completion; it closes an open thought and belongs to none itself."""
        if self.limits.max_thoughts and self._open_len > 1:
            self.thought_ends.append(len(self.token_ids) - 1)
        self.stop = "answer" if BOX_OPENING in self._open_text else "eos"

    def _close_thought(self, *, fragment: bool) -> None:
        answered = BOX_OPENING in self._open_text
        self.thought_ends.append(len(self.token_ids))
        self.fragments += fragment and not answered
        self._open_text = ""
        if answered:
            self.stop = "answer"
        else:
            self._check_room()

    def _check_room(self) -> None:
        """End the completion if the next thought, or the next token of a reply, may not fit."""
        if self.limits.max_thoughts:
            if len(self.thought_ends) >= self.limits.max_thoughts:
                self.stop = "max_thoughts"
            elif len(self.token_ids) + self.limits.max_thought_len > self._max_len:
                self.stop = "budget"
        elif len(self.token_ids) >= self._max_len:
            self.stop = "budget"
