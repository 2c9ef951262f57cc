"""The policy of `engine=vllm`: asks vLLM for tokens and makes completions of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from resetrl.engines.vllm.process import Channel
from resetrl.engines.vllm.transfer import FILES, Transfer, Weights, chunks
from resetrl.errors import EngineError, ModelError, SyncError
from resetrl.interfaces import EngineCounters, Learner
from resetrl.thoughts import CompletionBuilder, Pieces
from resetrl.types import Completion, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from transformers import PreTrainedTokenizerBase


@dataclass
class VllmPolicy:
    """Generates in a vLLM process that has parameters of its own, and maybe serves other ranks.

    Every token goes to the request's `CompletionBuilder`, and a request that this completes is
    ended in vLLM, so that completions end exactly as in other engines.
    The first parameters come from `initial`, at the first request unless a sync came before.

    shapes: the parameters of the model and their shapes, as the learner names them.
    context_len: tokens of prompt and completion.
    transfer: how new parameters get there, of which each of several ranks brings its part.
    sleeps: vLLM gives its memory up while the learner works.
    """

    channel: Channel
    tokenizer: PreTrainedTokenizerBase
    delimiter: str
    eos_ids: frozenset[int]
    context_len: int
    shapes: Mapping[str, list[int]]
    initial: Callable[[], Weights]
    transfer: Transfer = FILES
    sleeps: bool = False
    counters: EngineCounters = field(default_factory=EngineCounters)

    def __post_init__(self) -> None:
        self._pieces = Pieces(self.tokenizer)
        self._version = 0
        self._is_current = False
        self._is_asleep = False

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """The completions of all requests, in their order, generated together."""
        builders = [self._builder(request) for request in requests]
        going = [index for index, builder in enumerate(builders) if builder.stop is None]
        if going:
            self._be_current()
            self._draw([requests[i] for i in going], [builders[i] for i in going])
        self.counters.requests += len(requests)
        return [builder.completion(self._pieces) for builder in builders]

    def sync(self, learner: Learner) -> bool:
        """Hand the learner's parameters to vLLM and have it forget what it cached before.

        A colocated engine that is asleep wakes on the way: first its room for weights, and only
        when they are there that for the KV cache.
        """
        self._load(learner.weights())
        return True

    def sleep(self) -> None:
        """Give weights and KV cache up until the next sync, if the engine is colocated."""
        if self.sleeps and not self._is_asleep:
            self.channel.call({"op": "sleep"})
            self._is_asleep, self._is_current = True, False

    def _builder(self, request: Request) -> CompletionBuilder:
        room = self.context_len - len(request.prompt_ids)
        if room < 1:
            raise ModelError(
                f"a prompt of {len(request.prompt_ids)} tokens does not fit the engine's context "
                f"of {self.context_len}: shorten it, choose another model, or raise "
                "engine.max_model_len if that is set"
            )
        return CompletionBuilder(request.limits, self.delimiter, self.eos_ids, room, request.prefix)

    def _draw(self, requests: Sequence[Request], builders: Sequence[CompletionBuilder]) -> None:
        """Draw tokens until every builder is complete."""
        self.channel.send(
            {
                "op": "generate",
                "salt": str(self._version),
                "requests": [_for_vllm(*pair) for pair in zip(requests, builders, strict=True)],
            }
        )
        started: set[int] = set()
        while step := self.channel.receive():
            ended = []
            for index, token, logprob in zip(
                step["indices"], step["tokens"], step["logprobs"], strict=True
            ):
                builder = builders[index]
                if builder.stop is not None:
                    continue  # vllm was one step ahead
                self.counters.generated_tokens += 1
                if builder.push(token, logprob, self._pieces[token]):
                    ended.append(index)
            self.channel.send({"end": ended})
            for index, cached in zip(step["indices"], step["cached"], strict=True):
                if index not in started:
                    started.add(index)
                    request = requests[index]
                    context = len(request.prompt_ids) + len(request.prefix.token_ids)
                    self.counters.cached_tokens += cached
                    self.counters.prompt_tokens += context - cached

    def _be_current(self) -> None:
        """Bring the first parameters; refuse to draw from none or from half-replaced ones."""
        if self._version == 0:
            self._load(self.initial())
        if not self._is_current:
            raise SyncError(
                "the vLLM engine has no parameters to draw from: its last weight sync failed, or "
                "it sleeps; sync it first"
            )

    def _load(self, weights: Weights) -> None:
        self._is_current = False
        self._version += 1
        if self._is_asleep:
            self.channel.call({"op": "wake", "tags": ["weights"]})
        self.channel.call({"op": "start_update"})
        try:
            for chunk in chunks(weights, self.shapes, self.transfer.copy):
                with self.transfer.pack(chunk) as update:
                    self._update({"op": "update", **update})
        except SyncError:
            self.channel.call({"op": "finish_update"})  # so that another one can start
            raise
        self.channel.call({"op": "finish_update"})
        if not self.channel.call({"op": "reset_cache"})["reset"]:
            raise SyncError(
                "vLLM did not clear its prefix cache after a weight sync: requests are still under "
                "way, so let generate return before sync"
            )
        if self._is_asleep:
            self.channel.call({"op": "wake", "tags": ["kv_cache"]})
            self._is_asleep = False
        self._is_current = True

    def _update(self, message: Mapping[str, object]) -> None:
        try:
            self.channel.call(message)
        except EngineError as error:
            raise SyncError(f"vLLM did not take the learner's parameters: {error}") from error


def _for_vllm(request: Request, builder: CompletionBuilder) -> dict[str, object]:
    """A request as the worker takes it; the builder may end it before `max_tokens`."""
    return {
        "token_ids": [*request.prompt_ids, *request.prefix.token_ids],
        "seed": request.rng_seed,
        "temperature": request.sampling.temperature,
        "top_p": request.sampling.top_p if request.sampling.temperature else 1.0,
        "max_tokens": builder.room - len(request.prefix.token_ids),
    }
