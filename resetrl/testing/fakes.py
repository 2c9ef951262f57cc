"""Fakes that make real code testable in milliseconds: a tokenizer, a policy, a task, records.

They are small implementations of the interfaces, not mocks: what they return has passed through
the same records as a real run, and nothing here imports torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from resetrl.interfaces import (
    EngineCounters,
    Learner,
    Loss,
    Policy,
    SelectorContext,
    Task,
    Verifier,
)
from resetrl.rng import derive_seed
from resetrl.thoughts import BOX_OPENING, DELIMITER, CompletionBuilder, Pieces
from resetrl.types import (
    Completion,
    Problem,
    Prompt,
    Purpose,
    Request,
    Rollout,
    StopReason,
    TokenBatch,
    Update,
)

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PAD, EOS, UNKNOWN = "<pad>", "<eos>", "<unk>"
SPECIAL_TOKENS = (PAD, EOS, DELIMITER, BOX_OPENING, UNKNOWN)
"""Token ids 0 to 4; every ASCII character is a token whose id is its code."""

_TOKENS = re.compile("|".join(map(re.escape, SPECIAL_TOKENS)) + r"|[\s\S]")


class FakeTokenizer:
    """One token a character, and one for each of `</thought>`, `\\boxed{`, `<eos>` and `<pad>`.

    Ids can be written by hand: `FakeTokenizer().encode("4*6=4</thought>")` is
    `[*b"4*6=4", 2]`, and decoding gives ASCII text back exactly.
    """

    vocab_size = 128
    pad_token, eos_token = PAD, EOS
    pad_token_id, eos_token_id, delimiter_id, box_id, unknown_id = range(5)
    chat_template: str | None = None

    def encode(
        self, text: str, add_special_tokens: bool = False, verbose: bool = False
    ) -> list[int]:
        """The token ids of a text; nothing is ever added to them and nothing said."""
        return [self._id(token) for token in _TOKENS.findall(text)]

    def decode(
        self,
        token_ids: Sequence[int],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool = False,
    ) -> str:
        """The text of token ids."""
        return "".join(self._token(token_id) for token_id in token_ids)

    def _id(self, token: str) -> int:
        if token in SPECIAL_TOKENS:
            return SPECIAL_TOKENS.index(token)
        code = ord(token)
        return code if len(SPECIAL_TOKENS) <= code < self.vocab_size else self.unknown_id

    def _token(self, token_id: int) -> str:
        return SPECIAL_TOKENS[token_id] if token_id < len(SPECIAL_TOKENS) else chr(token_id)


def as_tokenizer(tokenizer: FakeTokenizer) -> PreTrainedTokenizerBase:
    """The fake, for type checkers, as what the interfaces ask for."""
    return cast("PreTrainedTokenizerBase", tokenizer)


Script = Sequence[Sequence[str]] | Callable[[Request], Sequence[str]]


@dataclass
class ScriptedPolicy:
    """A policy whose thoughts are written down: `ScriptedPolicy([["3+4=7", "\\\\boxed{7}"]])`.

    `script` holds the thoughts of each request in the order of the requests, or computes them
    from the request (then the same request gives the same answer in any batch). Thoughts lack
    their delimiter; behind a prefix the script goes on with the next thought. A script that runs
    out ends the completion, as an engine does that returns no further thought; one that goes on
    after the end is cut. A plain reply (`max_thoughts=0`) is its strings joined, and EOS.
    Every token has the log-probability `logprob`. `requests` keeps what was asked.
    """

    script: Script
    logprob: float = -0.5
    context_len: int = 4096
    tokenizer: FakeTokenizer = field(default_factory=FakeTokenizer)
    counters: EngineCounters = field(default_factory=EngineCounters, init=False)
    requests: list[Request] = field(default_factory=list, init=False)

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """The scripted completions of all requests, in their order."""
        return [self._answer(request) for request in requests]

    def sync(self, learner: Learner) -> bool:
        """A script has no parameters to go stale."""
        return False

    def _answer(self, request: Request) -> Completion:
        strings = self._strings(request)
        builder = CompletionBuilder(
            request.limits,
            DELIMITER,
            frozenset({self.tokenizer.eos_token_id}),
            self.context_len - len(request.prompt_ids),
            request.prefix,
        )
        if request.limits.max_thoughts:
            self._push_thoughts(builder, strings)
        else:
            self._push_reply(builder, "".join(strings))
        completion = builder.completion(Pieces(as_tokenizer(self.tokenizer)))
        self.requests.append(request)
        self.counters.requests += 1
        self.counters.prompt_tokens += len(request.prompt_ids) + len(request.prefix.token_ids)
        self.counters.generated_tokens += completion.num_drawn
        return completion

    def _strings(self, request: Request) -> Sequence[str]:
        if callable(self.script):
            return self.script(request)
        if len(self.requests) >= len(self.script):
            raise AssertionError(
                f"the script answers {len(self.script)} requests and this is one more: lengthen it "
                "or ask for less"
            )
        return self.script[len(self.requests)]

    def _push_thoughts(self, builder: CompletionBuilder, thoughts: Sequence[str]) -> None:
        for thought in thoughts:
            if builder.stop is not None:
                return
            token_ids = self.tokenizer.encode(with_delimiter(thought))
            logprobs = [self.logprob] * len(token_ids)
            pieces = [self.tokenizer.decode([token_id]) for token_id in token_ids]
            builder.push_thought(token_ids, logprobs, pieces)
        if builder.stop is None:
            builder.push_thought([], [], [])

    def _push_reply(self, builder: CompletionBuilder, reply: str) -> None:
        for token_id in [*self.tokenizer.encode(reply), self.tokenizer.eos_token_id]:
            if builder.stop is not None:
                return
            builder.push(token_id, self.logprob, self.tokenizer.decode([token_id]))


def with_delimiter(thought: str) -> str:
    """The thought closed by the delimiter, unless it is closed already or ends at EOS."""
    return thought if thought.endswith((DELIMITER, EOS)) else thought + DELIMITER


def make_prompt(question: str = "3+4*6", reference: str = "2", uid: str = "problem-0") -> Prompt:
    """A prompt whose token ids are the question and a line break."""
    token_ids = FakeTokenizer().encode(f"{question}\n")
    return Prompt(Problem(uid, question, reference), tuple(token_ids))


def make_completion(
    thoughts: Sequence[str],
    *,
    prefix: int = 0,
    logprobs: Sequence[float] | None = None,
    stop: StopReason | None = None,
) -> Completion:
    """A completion of literal thoughts (delimiters are added), one token a character.

    The first `prefix` thoughts were re-entered. `logprobs` are those of all tokens, -0.5 each if
    left out. It stopped at an answer if the last thought holds a box, else at EOS (no EOS token),
    unless `stop` says otherwise. Example: `make_completion(["4*6=4"])` has 6 tokens.
    """
    tokenizer = FakeTokenizer()
    closed = [with_delimiter(thought) for thought in thoughts]
    token_ids: list[int] = []
    ends: list[int] = []
    for thought in closed:
        token_ids += tokenizer.encode(thought)
        ends.append(len(token_ids))
    if logprobs is None:
        logprobs = [-0.5] * len(token_ids)
    if len(logprobs) != len(token_ids):
        raise ValueError(f"{len(token_ids)} tokens but {len(logprobs)} log-probabilities")
    answered = bool(closed) and BOX_OPENING in closed[-1]
    return Completion(
        token_ids=tuple(token_ids),
        logprobs=tuple(logprobs),
        thought_ends=tuple(ends),
        thoughts=tuple(closed),
        stop=stop or ("answer" if answered else "eos"),
        text="".join(closed),
        prefix_len=ends[prefix - 1] if prefix else 0,
    )


def make_rollout(
    thoughts: Sequence[str],
    *,
    prefix: int = 0,
    logprobs: Sequence[float] | None = None,
    stop: StopReason | None = None,
    prompt: Prompt | None = None,
) -> Rollout:
    """A rollout of literal thoughts, see `make_completion`; its prompt is `make_prompt()`'s.

    Example: `make_rollout(["3+4=7", "7*6=3", "\\\\boxed{3}"])` is a failure with 3 thoughts.
    """
    completion = make_completion(thoughts, prefix=prefix, logprobs=logprobs, stop=stop)
    return Rollout(prompt or make_prompt(), completion)


def make_problems(num: int = 4, purpose: Purpose = "train") -> tuple[Problem, ...]:
    """So many sums: `Problem("train-2", "2+1", "3")`, or for evaluation `2+2`."""
    term = 1 if purpose == "train" else 2
    return tuple(Problem(f"{purpose}-{i}", f"{i}+{term}", str(i + term)) for i in range(num))


@dataclass
class FakeTask:
    """Literal problems; exact comparison of the box; a thought that holds `!` is a wrong one."""

    train: tuple[Problem, ...] = field(default_factory=make_problems)
    evaluation: tuple[Problem, ...] = field(default_factory=lambda: make_problems(4, "eval"))

    def problems(self, purpose: Purpose) -> Sequence[Problem]:
        return self.train if purpose == "train" else self.evaluation

    def verifier(self) -> Verifier:
        from resetrl.builtin.verifiers import Exact

        return Exact()

    def first_wrong_thought(self, problem: Problem, thoughts: Sequence[str]) -> int | None:
        wrong = (number for number, thought in enumerate(thoughts, start=1) if "!" in thought)
        return next(wrong, None)


@dataclass
class FakeLoss:
    """The advantage-weighted sum of log-probabilities over the loss mask, a mean over rollouts."""

    ignores_zero_advantage: ClassVar[bool] = True
    needs_reference: ClassVar[bool] = False

    def loss(self, logprobs: Tensor, batch: TokenBatch) -> tuple[Tensor, Mapping[str, float]]:
        weighted = batch.advantages[:, None] * logprobs * batch.loss_mask
        return -weighted.sum() / batch.num_rollouts, {}


@dataclass
class RecordingLearner:
    """A learner without parameters: it keeps the batches it is given and changes nothing."""

    num_parameters: int = 1000
    num_trained_parameters: int = 1000
    batches: list[TokenBatch] = field(default_factory=list, init=False)

    def update(self, batch: TokenBatch, loss: Loss) -> Update:
        self.batches.append(batch)
        return Update(0.0, 0.0, learned_tokens=int(batch.attention_mask.sum()))

    def trains(self, model: PreTrainedModel) -> bool:
        return False

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        return iter(())

    def logprobs(self, batch: TokenBatch) -> Tensor:
        return batch.old_logprobs

    def save(self, folder: Path) -> None:
        (folder / "updates").write_text(str(len(self.batches)), encoding="utf-8")

    def load(self, folder: Path) -> None:
        self.batches.clear()


def make_context(
    policy: Policy | None = None, *, task: Task | None = None, rng_seed: int = 0
) -> SelectorContext:
    """What a reset selector is given; the default policy names thought 1 in every reply."""
    return SelectorContext(
        policy=policy or ScriptedPolicy(lambda _: ["\\boxed{1}"]),
        tokenizer=as_tokenizer(FakeTokenizer()),
        task=task or FakeTask(),
        delimiter=DELIMITER,
        localization_prompt="tiny",
        rng_seed=lambda seed, purpose: derive_seed(
            rng_seed, seed.prompt.uid, repr(seed.completion.token_ids), purpose
        ),
    )
