"""What the policy says to vLLM and makes of its tokens.

Token 3 is the delimiter, 4 opens a box, 1 is EOS.
"""

from __future__ import annotations

import pytest
from engines.vllm.faking import FakeChannel, FakeLearner, make_policy, parameters

from resetrl.errors import ModelError, SyncError
from resetrl.interfaces import Sleeper
from resetrl.types import Limits, Prefix, Request, Sampling

LIMITS = Limits(max_thoughts=4, max_thought_len=8, max_completion_len=40)
NO_PREFIX = Prefix()
LOAD = ["start_update", "update", "finish_update", "reset_cache"]


def ask(prompt: tuple[int, ...], prefix: Prefix = NO_PREFIX) -> Request:
    return Request(prompt, 11, Sampling(0.7, 0.9), LIMITS, prefix)


def test_each_request_is_ended_with_the_token_that_completes_it() -> None:
    channel = FakeChannel([8, 3, 4, 9, 3], [1], [7, 7, 3, 7, 1])
    answers = make_policy(channel).generate([ask((7, 8)), ask((9,)), ask((5, 5))])
    assert [answer.token_ids for answer in answers] == [(8, 3, 4, 9, 3), (1,), (7, 7, 3, 7, 1)]
    assert [answer.stop for answer in answers] == ["answer", "eos", "eos"]
    assert channel.ends == [[1], [], [], [], [0, 2]]


def test_vllm_is_given_ids_seed_and_the_room_in_the_context() -> None:
    channel = FakeChannel([1], [1])
    prefix = Prefix((8, 3), (-0.1, -0.2), (2,))
    greedy = Request((7,), 5, Sampling(0.0, 0.9), LIMITS)
    make_policy(channel).generate([ask((7, 8), prefix), greedy])
    assert channel.requests == [
        {"token_ids": [7, 8, 8, 3], "seed": 11, "temperature": 0.7, "top_p": 0.9, "max_tokens": 92},
        {"token_ids": [7], "seed": 5, "temperature": 0.0, "top_p": 1.0, "max_tokens": 95},
    ]


def test_cached_tokens_count_once_a_request() -> None:
    policy = make_policy(FakeChannel([8, 1], [8, 9, 1]))
    policy.generate([ask((7, 8)), ask((9, 9, 9, 9, 9, 9))])
    counted = policy.counters
    assert (counted.requests, counted.generated_tokens) == (2, 5)
    assert (counted.prompt_tokens, counted.cached_tokens) == (2 + 2, 0 + 4)


def test_a_request_without_room_for_a_thought_asks_for_nothing() -> None:
    channel = FakeChannel()
    (answer,) = make_policy(channel).generate([ask((7,) * 90)])
    assert (answer.token_ids, answer.stop, channel.calls) == ((), "budget", [])


def test_a_prompt_beyond_the_context_is_an_error() -> None:
    with pytest.raises(ModelError, match="96 tokens does not fit the engine's context of 96"):
        make_policy(FakeChannel()).generate([ask((7,) * 96)])


def test_the_first_request_brings_the_models_own_parameters() -> None:
    channel = FakeChannel([1])
    policy = make_policy(channel)
    policy.generate([ask((7,))])
    policy.generate([ask((7,))])
    assert channel.calls == [*LOAD, "generate", "generate"]


def test_a_sync_resets_the_cache_and_salts_it_anew() -> None:
    channel = FakeChannel([1])
    policy = make_policy(channel)
    assert policy.sync(FakeLearner(parameters()))
    policy.generate([ask((7,))])
    policy.sync(FakeLearner(parameters()))
    policy.generate([ask((7,))])
    assert channel.calls == [*LOAD, "generate", *LOAD, "generate"]
    assert channel.salts == ["1", "2"]


def test_a_colocated_engine_sleeps_and_wakes_in_the_order_that_memory_asks_for() -> None:
    channel = FakeChannel([1])
    policy = make_policy(channel, sleeps=True)
    assert isinstance(policy, Sleeper)
    policy.generate([ask((7,))])
    policy.sleep()
    policy.sleep()
    policy.sync(FakeLearner(parameters()))
    policy.generate([ask((7,))])
    assert channel.calls == [
        *LOAD,
        "generate",
        "sleep",
        "wake weights",
        *LOAD,
        "wake kv_cache",
        "generate",
    ]


def test_an_engine_that_shares_no_memory_never_sleeps() -> None:
    channel = FakeChannel()
    make_policy(channel).sleep()
    assert channel.calls == []


def test_an_engine_that_sleeps_draws_nothing() -> None:
    policy = make_policy(FakeChannel([1]), sleeps=True)
    policy.generate([ask((7,))])
    policy.sleep()
    with pytest.raises(SyncError, match="it sleeps; sync it first"):
        policy.generate([ask((7,))])


def test_a_cache_that_was_not_cleared_stops_the_run() -> None:
    policy = make_policy(FakeChannel(resets=False))
    with pytest.raises(SyncError, match="did not clear its prefix cache"):
        policy.sync(FakeLearner(parameters()))


def test_parameters_that_vllm_refuses_stop_the_run() -> None:
    policy = make_policy(FakeChannel(refuses="update"))
    with pytest.raises(SyncError, match="did not take the learner's parameters: ValueError: no"):
        policy.sync(FakeLearner(parameters()))


def test_nothing_is_drawn_after_a_partial_sync_until_a_whole_one() -> None:
    channel = FakeChannel([1])
    policy = make_policy(channel)
    with pytest.raises(SyncError, match=r"left out 1 parameters .* such as lm_head\.weight"):
        policy.sync(FakeLearner(parameters(**{"lm_head.weight": None})))
    with pytest.raises(SyncError, match="its last weight sync failed"):
        policy.generate([ask((7,))])
    policy.sync(FakeLearner(parameters()))
    assert policy.generate([ask((7,))])[0].stop == "eos"
