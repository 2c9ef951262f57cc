import dataclasses

import pytest
import torch

from resetrl.engines.transformers import TransformersPolicy
from resetrl.errors import ModelError
from resetrl.testing import random_llama, word_level_tokenizer
from resetrl.types import Limits, Prefix, Request, Sampling

LIMITS = Limits(max_thoughts=4, max_thought_len=6, max_completion_len=20)
PROMPTS = [(8, 17, 9), (7,), (10, 18, 11, 17, 12, 19), (9, 9)]


@pytest.fixture(scope="module")
def model():
    return random_llama()


@pytest.fixture(scope="module")
def tokenizer():
    return word_level_tokenizer()


def policy_of(model, tokenizer, max_batch=64):
    return TransformersPolicy(model, tokenizer, "</thought>", max_batch)


def requests(num=24, temperature=1.0, top_p=0.95, limits=LIMITS):
    sampling = Sampling(temperature, top_p)
    return [Request(PROMPTS[i % len(PROMPTS)], 1000 + i, sampling, limits) for i in range(num)]


def forward_logprobs(model, request, completion):
    """Log-probabilities of the drawn tokens by one plain forward pass."""
    token_ids = torch.tensor([request.prompt_ids + completion.token_ids])
    with torch.no_grad():
        logits = model(token_ids).logits[0, :-1] / (request.sampling.temperature or 1.0)
    chosen = logits.log_softmax(-1).gather(1, token_ids[0, 1:, None])[:, 0]
    return chosen[len(request.prompt_ids) - 1 + completion.prefix_len :]


def test_a_batch_gives_what_one_by_one_gives(model, tokenizer):
    together = policy_of(model, tokenizer).generate(requests())
    alone = [policy_of(model, tokenizer).generate([request])[0] for request in requests()]
    assert [c.token_ids for c in together] == [c.token_ids for c in alone]
    assert [c.thought_ends for c in together] == [c.thought_ends for c in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-5)


@pytest.mark.parametrize("max_batch", [1, 3, 5])
def test_rows_that_come_and_go_change_nothing(model, tokenizer, max_batch):
    wide = policy_of(model, tokenizer).generate(requests())
    narrow = policy_of(model, tokenizer, max_batch).generate(requests())
    assert [c.token_ids for c in wide] == [c.token_ids for c in narrow]
    for one, other in zip(wide, narrow, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-5)


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.3])
def test_logprobs_are_those_of_the_tempered_distribution(model, tokenizer, temperature):
    asked = requests(8, temperature)
    for request, completion in zip(asked, policy_of(model, tokenizer).generate(asked), strict=True):
        expected = forward_logprobs(model, request, completion)
        assert completion.logprobs == pytest.approx(expected.tolist(), abs=1e-5)


def test_greedy_takes_the_most_probable_token_each_time(model, tokenizer):
    request = requests(1, temperature=0.0)[0]
    completion = policy_of(model, tokenizer).generate([request])[0]
    context = list(request.prompt_ids)
    for token in completion.token_ids:
        with torch.no_grad():
            assert int(model(torch.tensor([context])).logits[0, -1].argmax()) == token
        context.append(token)


def test_suffixes_go_on_from_the_stored_prefix_and_share_its_prefill(model, tokenizer):
    policy = policy_of(model, tokenizer)
    prefix = Prefix((8, 17, 3, 9, 3), (-1.0, -2.0, -3.0, -4.0, -5.0), (3, 5))
    asked = [Request((7, 8), 50 + i, Sampling(1.0, 1.0), LIMITS, prefix) for i in range(6)]
    completions = policy.generate(asked)
    assert policy.counters.prompt_tokens == 7  # two of the prompt, five of the prefix, once
    assert policy.counters.cached_tokens == 5 * 7
    assert policy.counters.generated_tokens == sum(c.num_drawn for c in completions)
    assert policy.counters.requests == 6
    for request, completion in zip(asked, completions, strict=True):
        assert completion.token_ids[:5] == prefix.token_ids
        assert completion.logprobs[:5] == prefix.logprobs
        assert completion.thought_ends[:2] == (3, 5)
        assert completion.prefix_len == 5
        expected = forward_logprobs(model, request, completion)
        assert completion.logprobs[5:] == pytest.approx(expected.tolist(), abs=1e-5)
    assert len({c.token_ids for c in completions}) > 1


def test_thoughts_stop_exactly_behind_their_delimiter(model, tokenizer):
    completions = policy_of(model, tokenizer).generate(requests(200))
    closed = 0
    for completion in completions:
        starts = [0, *completion.thought_ends]
        for start, end in zip(starts, completion.thought_ends, strict=False):
            thought = completion.token_ids[start:end]
            assert 3 not in thought[:-1]
            assert 1 not in thought
            closed += thought[-1] == 3
        assert "".join(completion.thoughts) == completion.text.removesuffix("<eos>")
        assert completion.text == tokenizer.decode(completion.token_ids)
    assert closed > 50
    assert {c.stop for c in completions} == {"answer", "eos", "max_thoughts", "budget"}


def test_the_same_seed_draws_the_same_and_another_does_not(model, tokenizer):
    policy = policy_of(model, tokenizer)
    again = [policy.generate(requests(4)) for _ in range(2)]
    assert [c.token_ids for c in again[0]] == [c.token_ids for c in again[1]]
    other = [dataclasses.replace(request, rng_seed=7) for request in requests(4)]
    assert [c.token_ids for c in policy.generate(other)] != [c.token_ids for c in again[0]]


def test_top_p_never_draws_outside_the_nucleus(model, tokenizer):
    asked = requests(60, temperature=1.0, top_p=0.3)
    for request, completion in zip(asked, policy_of(model, tokenizer).generate(asked), strict=True):
        with torch.no_grad():
            token_ids = torch.tensor([request.prompt_ids + completion.token_ids])
            probs = model(token_ids).logits[0].softmax(-1)
        for place, token in enumerate(completion.token_ids):
            row = probs[len(request.prompt_ids) - 1 + place]
            assert row[row > row[token] + 1e-6].sum() < 0.3


def test_a_prefix_that_leaves_no_room_is_complete_without_a_token(model, tokenizer):
    prefix = Prefix((8, 3, 8, 3, 8, 3, 8, 3), (-1.0,) * 8, (2, 4, 6, 8))
    request = Request((7, 8), 1, Sampling(), LIMITS, prefix)
    policy = policy_of(model, tokenizer)
    completion = policy.generate([request, *requests(1)])[0]
    assert (completion.token_ids, completion.stop) == (prefix.token_ids, "max_thoughts")
    assert policy.counters.requests == 2


def test_a_prompt_longer_than_the_context_is_refused(model, tokenizer):
    with pytest.raises(ModelError, match="a prompt of 96 tokens does not fit the model's context"):
        policy_of(model, tokenizer).generate([Request((7,) * 96, 0, Sampling(), LIMITS)])


def test_generation_leaves_the_model_in_the_mode_it_was_in(model, tokenizer):
    model.train()
    policy_of(model, tokenizer).generate(requests(2))
    assert model.training
    model.eval()
