"""The fakes, on literal token ids."""

from __future__ import annotations

import pytest

from resetrl.testing import FakeTask, FakeTokenizer, ScriptedPolicy, make_completion, make_rollout
from resetrl.types import Limits, Prefix, Problem, Request, Sampling

PROMPT = (*b"3+4\n",)
NO_PREFIX = Prefix()
LIMITS = Limits(max_thoughts=4, max_thought_len=8, max_completion_len=64)


def request(limits: Limits = LIMITS, prefix: Prefix = NO_PREFIX) -> Request:
    return Request(PROMPT, 0, Sampling(), limits, prefix)


def test_the_fake_tokenizer_has_a_token_a_character_and_one_a_special_text() -> None:
    tokenizer = FakeTokenizer()
    ids = tokenizer.encode("4*6=4</thought>\\boxed{4}<eos>")
    assert ids == [52, 42, 54, 61, 52, 2, 3, 52, 125, 1]
    assert tokenizer.decode(ids) == "4*6=4</thought>\\boxed{4}<eos>"
    assert tokenizer.encode("é") == [4]


def test_a_scripted_policy_stops_at_the_answer_and_drops_the_rest_of_the_script() -> None:
    policy = ScriptedPolicy([["3+4=7", "\\boxed{7}", "more"]])
    (completion,) = policy.generate([request()])
    assert completion.token_ids == (*b"3+4=7", 2, 3, *b"7}", 2)
    assert completion.thought_ends == (6, 10)
    assert completion.thoughts == ("3+4=7</thought>", "\\boxed{7}</thought>")
    assert (completion.stop, completion.fragments) == ("answer", 0)
    assert completion.logprobs == (-0.5,) * 10


def test_a_scripted_policy_continues_behind_the_prefix_it_is_given() -> None:
    prefix = Prefix((*b"3+4=7", 2), (-0.1,) * 6, (6,))
    policy = ScriptedPolicy([["\\boxed{7}"]])
    (completion,) = policy.generate([request(prefix=prefix)])
    assert completion.token_ids == (*b"3+4=7", 2, 3, *b"7}", 2)
    assert completion.logprobs == (-0.1,) * 6 + (-0.5,) * 4
    assert (completion.prefix_len, completion.num_drawn) == (6, 4)


def test_a_scripted_policy_ends_where_its_script_ends() -> None:
    unfinished, at_eos = ScriptedPolicy([["3+4=7"], ["3+4=7<eos>"]]).generate([request()] * 2)
    assert (unfinished.token_ids, unfinished.stop) == ((*b"3+4=7", 2), "eos")
    assert (at_eos.token_ids, at_eos.thought_ends) == ((*b"3+4=7", 1), (5,))


def test_a_plain_reply_is_the_text_and_eos() -> None:
    (reply,) = ScriptedPolicy([["\\boxed{2}"]]).generate([request(Limits(max_thoughts=0))])
    assert (reply.token_ids, reply.thought_ends) == ((3, *b"2}", 1), ())
    assert (reply.text, reply.stop) == ("\\boxed{2}<eos>", "eos")


def test_a_plain_reply_is_cut_at_its_limit() -> None:
    limits = Limits(max_thoughts=0, max_completion_len=2)
    (reply,) = ScriptedPolicy([["\\boxed{2}"]]).generate([request(limits)])
    assert (reply.token_ids, reply.stop) == ((3, 50), "budget")


def test_a_scripted_policy_counts_and_keeps_its_requests() -> None:
    policy = ScriptedPolicy(lambda _: ["\\boxed{7}"])
    policy.generate([request(), request()])
    assert len(policy.requests) == policy.counters.requests == 2
    assert (policy.counters.prompt_tokens, policy.counters.generated_tokens) == (8, 8)


def test_a_script_that_is_too_short_says_so() -> None:
    with pytest.raises(AssertionError, match="answers 1 requests and this is one more"):
        ScriptedPolicy([["a"]]).generate([request(), request()])


def test_a_made_rollout_has_the_boundaries_of_its_thoughts() -> None:
    rollout = make_rollout(["3+4=7", "\\boxed{7}"], prefix=1)
    assert rollout.prompt.token_ids == (*b"3+4*6\n",)
    assert rollout.completion.token_ids == (*b"3+4=7", 2, 3, *b"7}", 2)
    assert rollout.completion.thought_ends == (6, 10)
    assert (rollout.completion.prefix_len, rollout.completion.stop) == (6, "answer")


def test_a_made_completion_refuses_log_probabilities_of_another_length() -> None:
    with pytest.raises(ValueError, match="4 tokens but 2 log-probabilities"):
        make_completion(["abc"], logprobs=[-1.0, -2.0])


def test_the_fake_task_finds_the_first_thought_with_an_exclamation_mark() -> None:
    problem = Problem("a", "", "")
    assert FakeTask().first_wrong_thought(problem, ["a", "b!", "c!"]) == 2
    assert FakeTask().first_wrong_thought(problem, ["a", "b"]) is None
