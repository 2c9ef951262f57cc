"""The contract of engines, on a randomly initialised Llama."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from resetrl.builtin.learners import Torch
from resetrl.errors import SyncError
from resetrl.interfaces import Engine, Learner, Policy
from resetrl.ranks import ALONE
from resetrl.testing.contracts._require import require
from resetrl.testing.llama import (
    CONTEXT_LEN,
    VOCABULARY,
    one_thread,
    random_llama,
    word_level_tokenizer,
)
from resetrl.thoughts import BOX_OPENING, DELIMITER
from resetrl.types import Completion, Limits, Prefix, Request, Sampling

_TOLERANCE = 1e-5
_DELIMITER_ID = VOCABULARY.index(DELIMITER)
_BOX_ID = VOCABULARY.index(BOX_OPENING)
_EOS_ID = VOCABULARY.index("<eos>")

_PROMPTS = ((7, 17, 8, 6), (9, 18, 9, 17, 10, 18, 11, 6), (12, 6))
_LIMITS = Limits(max_thoughts=4, max_thought_len=8, max_completion_len=40)
_REPLY = Limits(max_thoughts=0, max_completion_len=16)
_PREFIX = Prefix((8, 17, 9, 3, 10, 3), (-0.1, -0.2, -0.3, -0.4, -0.5, -0.6), (4, 6))
"""Two thoughts, `1+2</thought>` and `3</thought>`."""


def requests() -> list[Request]:
    """15 requests: prompts of 2 to 8 tokens, bare or behind a prefix, thoughts and plain replies,
    drawn and greedy, in an order that mixes them."""
    kinds = (
        (_LIMITS, Sampling(0.7, 0.95), Prefix()),
        (_LIMITS, Sampling(1.0, 1.0), _PREFIX),
        (_LIMITS, Sampling(0.0), Prefix()),
        (_REPLY, Sampling(0.3, 0.95), Prefix()),
        (_LIMITS, Sampling(0.7, 0.95), _PREFIX),
    )
    return [
        Request(prompt, number, sampling, limits, prefix)
        for number, prompt in enumerate(_PROMPTS)
        for limits, sampling, prefix in kinds
    ]


def answers_in_the_order_of_the_requests(engine: Engine) -> None:
    policy = _start(engine)
    _generate(policy, [])
    completions = _generate(policy, requests())
    *others, first = _generate(policy, [*requests()[1:], requests()[0]])
    require(
        [c.token_ids for c in completions] == [c.token_ids for c in (first, *others)],
        "with the first request at the end, requests got other tokens: answer them in their order "
        "and let rng_seed alone decide",
    )


def answers_the_same_in_a_batch_and_alone(engine: Engine) -> None:
    policy = _start(engine)
    for request, together in zip(requests(), _generate(policy, requests()), strict=True):
        (alone,) = _generate(policy, [request])
        require(
            _without_logprobs(together) == _without_logprobs(alone),
            f"{request} gave {together.token_ids} in a batch and {alone.token_ids} alone: padding "
            "or neighbours change its tokens",
        )
        _require_close(together.logprobs, alone.logprobs, f"in a batch and alone ({request})")


def draws_as_the_seed_of_each_request_says(engine: Engine) -> None:
    policy = _start(engine)
    sampling = Sampling(1.0, 1.0)
    reseeded = [Request(_PROMPTS[0], rng_seed, sampling, _LIMITS) for rng_seed in range(4)]
    first, again = _generate(policy, reseeded), _generate(policy, reseeded)
    require(first == again, "the same requests gave other completions the second time")
    require(
        len({completion.token_ids for completion in first}) > 1,
        "4 seeds gave one and the same completion at temperature 1",
    )


def reports_the_log_probabilities_of_the_model(engine: Engine) -> None:
    """Those of the temperature-scaled distribution, before top_p; unscaled for greedy draws."""
    for request, completion in _answers(engine):
        if not completion.num_drawn:
            continue
        logprobs = _model_logprobs(request, completion)
        drawn = torch.tensor(completion.token_ids[completion.prefix_len :])
        expected = logprobs.gather(1, drawn[:, None])[:, 0]
        _require_close(
            completion.logprobs[completion.prefix_len :],
            expected.tolist(),
            f"reported and by a plain forward pass ({request})",
        )
        if request.sampling.temperature == 0:
            best = logprobs.argmax(dim=1).tolist()
            require(best == drawn.tolist(), f"greedy tokens are {drawn.tolist()}, not {best}")


def stops_exactly_at_thoughts_answers_and_limits(engine: Engine) -> None:
    stops = set()
    for request, completion in _answers(engine):
        stops.add(completion.stop)
        if request.limits.max_thoughts:
            _require_thoughts(request, completion)
        else:
            _require_reply(request, completion)
    require({"answer", "eos"} <= stops, f"15 requests ended only by {sorted(stops)}")


def keeps_the_prefix_verbatim(engine: Engine) -> None:
    for request, completion in _answers(engine):
        prefix, size = request.prefix, len(request.prefix.token_ids)
        kept = (
            completion.token_ids[:size],
            completion.logprobs[:size],
            completion.thought_ends[: len(prefix.thought_ends)],
        )
        require(
            kept == (prefix.token_ids, prefix.logprobs, prefix.thought_ends)
            and completion.prefix_len == size,
            f"{prefix} became {kept} with prefix_len {completion.prefix_len}",
        )


def draws_nothing_where_no_thought_fits(engine: Engine) -> None:
    prompt = tuple([7] * (CONTEXT_LEN - _LIMITS.max_thought_len + 1))
    (completion,) = _generate(_start(engine), [Request(prompt, 0, Sampling(), _LIMITS)])
    require(
        (completion.token_ids, completion.stop) == ((), "budget"),
        f"a prompt of {len(prompt)} in a context of {CONTEXT_LEN} leaves no room for a thought of "
        f"{_LIMITS.max_thought_len}, but {completion.token_ids} ({completion.stop}) came of it",
    )


def counts_what_it_does(engine: Engine) -> None:
    policy = _start(engine)
    before = dataclasses.replace(policy.counters)
    completions = _generate(policy, requests())
    counted = policy.counters
    context = sum(len(r.prompt_ids) + len(r.prefix.token_ids) for r in requests())
    for name, expected, number in (
        ("requests", len(completions), counted.requests - before.requests),
        (
            "generated_tokens",
            sum(completion.num_drawn for completion in completions),
            counted.generated_tokens - before.generated_tokens,
        ),
        (
            "prompt_tokens + cached_tokens",
            context,
            counted.prompt_tokens
            + counted.cached_tokens
            - before.prompt_tokens
            - before.cached_tokens,
        ),
    ):
        require(number == expected, f"counters.{name} grew by {number}, not by {expected}")


def draws_from_the_parameters_it_was_last_given(engine: Engine) -> None:
    """After `sync` it answers as an engine started on the learner's model, caches included."""
    policy = _start(engine)
    _generate(policy, requests())
    learner = Torch().start(random_llama(rng_seed=1))
    require(policy.sync(learner), "sync with a learner of another model returned False")
    other = engine.start(random_llama(rng_seed=1), word_level_tokenizer(), DELIMITER, ALONE)
    for request, synced, fresh in zip(
        requests(), _generate(policy, requests()), _generate(other, requests()), strict=True
    ):
        require(
            synced.token_ids == fresh.token_ids,
            f"after a sync {request} gave {synced.token_ids}, the learner's model gives "
            f"{fresh.token_ids}",
        )
        _require_close(synced.logprobs, fresh.logprobs, f"after a sync and afresh ({request})")


def refuses_a_sync_that_leaves_parameters_out(engine: Engine) -> None:
    learner = Torch().start(random_llama(rng_seed=1))
    for wrong in (_Renamed(learner), _Partial(learner)):
        try:
            _start(engine).sync(wrong)
        except SyncError as error:
            require(wrong.name in str(error), f"the error does not name {wrong.name}: {error}")
        else:
            raise AssertionError(f"a sync without the parameter {wrong.name} was accepted")


CHECKS = tuple(
    one_thread()(check)
    for check in (
        answers_in_the_order_of_the_requests,
        answers_the_same_in_a_batch_and_alone,
        draws_as_the_seed_of_each_request_says,
        reports_the_log_probabilities_of_the_model,
        stops_exactly_at_thoughts_answers_and_limits,
        keeps_the_prefix_verbatim,
        draws_nothing_where_no_thought_fits,
        counts_what_it_does,
        draws_from_the_parameters_it_was_last_given,
        refuses_a_sync_that_leaves_parameters_out,
    )
)


@dataclass
class _Renamed:
    """A learner that gives one of its parameters a name that the model does not have."""

    inner: Learner
    name: str = "model.extra.weight"

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        for index, (name, tensor) in enumerate(self.inner.weights()):
            yield (name if index else self.name), tensor

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@dataclass
class _Partial(_Renamed):
    """A learner that leaves one of its parameters out."""

    name: str = "model.norm.weight"

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        return ((name, tensor) for name, tensor in self.inner.weights() if name != self.name)


@functools.cache
def _model() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    return random_llama(), word_level_tokenizer()


def _start(engine: Engine) -> Policy:
    """On a model of its own: a sync changes it."""
    return engine.start(random_llama(), word_level_tokenizer(), DELIMITER, ALONE)


def _generate(policy: Policy, asked: Sequence[Request]) -> list[Completion]:
    completions = policy.generate(asked)
    require(
        len(completions) == len(asked),
        f"{len(asked)} requests gave {len(completions)} completions: return one a request",
    )
    return completions


def _answers(engine: Engine) -> list[tuple[Request, Completion]]:
    return list(zip(requests(), _generate(_start(engine), requests()), strict=True))


def _without_logprobs(completion: Completion) -> Completion:
    return dataclasses.replace(completion, logprobs=())


def _require_close(one: Sequence[float], other: Sequence[float], what: str) -> None:
    difference = max((abs(a - b) for a, b in zip(one, other, strict=True)), default=0.0)
    require(
        difference <= _TOLERANCE,
        f"log-probabilities {what} differ by {difference:.2g}, more than {_TOLERANCE}",
    )


@torch.no_grad()
def _model_logprobs(request: Request, completion: Completion) -> torch.Tensor:
    """[drawn tokens, V] by one plain forward pass over prompt and completion."""
    token_ids = torch.tensor([request.prompt_ids + completion.token_ids])
    logits = _model()[0](input_ids=token_ids).logits[0]
    start = len(request.prompt_ids) + completion.prefix_len
    scaled: torch.Tensor = logits[start - 1 : -1].float() / (request.sampling.temperature or 1.0)
    return scaled.log_softmax(dim=-1)


def _require_thoughts(request: Request, completion: Completion) -> None:
    """The boundaries follow from the token ids, and the end from the rules of `Limits`."""
    ids, ends, limits = completion.token_ids, completion.thought_ends, request.limits
    told = f"{ids} with thought_ends {ends}, stop {completion.stop!r} and {limits}"
    starts = (0, *ends)
    for start, end in zip(starts, ends, strict=False):
        closed = ids[end - 1] == _DELIMITER_ID
        cut = end - start == limits.max_thought_len or (end == len(ids) - 1 and ids[-1] == _EOS_ID)
        require(closed or cut, f"a thought ends at {end} without a reason: {told}")
        require(_DELIMITER_ID not in ids[start : end - 1], f"a thought goes past its end: {told}")
        require(_BOX_ID not in ids[start:end] or end == ends[-1], f"on past an answer: {told}")
    require(_EOS_ID not in ids[:-1], f"on past EOS: {told}")
    rest = ids[starts[-1] :]
    require(rest in ((), (_EOS_ID,)), f"tokens {rest} belong to no thought: {told}")
    answered = bool(ends) and _BOX_ID in ids[starts[-2] : ends[-1]]
    require(answered == (completion.stop == "answer"), f"answer or no answer: {told}")
    within = len(ends) <= limits.max_thoughts and len(ids) <= limits.max_completion_len
    require(within, f"a limit is passed: {told}")


def _require_reply(request: Request, completion: Completion) -> None:
    ids, most = completion.token_ids, request.limits.max_completion_len
    told = f"a plain reply of at most {most} tokens is {ids}, stop {completion.stop!r}"
    require(_EOS_ID not in ids[:-1] and len(ids) <= most, f"{told}: it goes past its end")
    ended = "eos" if _EOS_ID in ids else "budget"
    require(completion.stop in (ended, "answer"), f"{told}: it ended by {ended}")
    require(completion.stop == "answer" or ended == "eos" or len(ids) == most, f"{told}: too short")
