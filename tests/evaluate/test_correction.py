import dataclasses

import pytest
from asking import LIMITS, CountingPolicy, boxed, make_inference, make_maker, question_of

from resetrl.builtin.selectors import Oracle, SelfLocalization, Uniform
from resetrl.evaluate.acceptance import BySelf, ByVerifier
from resetrl.evaluate.config import CorrectConfig, SelfVerificationConfig
from resetrl.evaluate.correction import Corrector
from resetrl.evaluate.correction_report import (
    phase_usage,
    results,
    round_figures,
    round_metrics,
    rounds_used,
)
from resetrl.testing import make_problems
from resetrl.types import Sampling

PROMPTS = [make_maker().prompt(problem) for problem in make_problems(3, "eval")]  # 0+2, 1+2, 2+2


def rounds_of(policy, *, selector=None, acceptor=None, num_rounds=2, run_seed=0, prompts=PROMPTS):
    corrector = Corrector(
        inference=make_inference(policy, run_seed),
        selector=selector or Oracle(),
        acceptor=acceptor or ByVerifier(),
        first=Sampling(0.0, 1.0),
        sampling=Sampling(),
        limits=LIMITS,
        num_rounds=num_rounds,
        num_parameters=1,
    )
    return list(corrector.rounds(prompts))


def right(rounds):
    return [[verdict.correct for _, verdict in each.answers] for each in rounds]


# First answers: right, wrong from its second thought on, wrong at once. `!` marks wrong thoughts.
FIRST = [["a", boxed(2)], ["b", "c!", boxed(9)], ["d!", boxed(9)]]


def test_answers_that_are_wrong_are_gone_back_into_until_they_are_right():
    policy = CountingPolicy(
        [*FIRST, ["e", boxed(3)], ["f", boxed(8)], ["g", boxed(4)]]  # two suffixes, then one
    )
    rounds = rounds_of(policy, num_rounds=3)
    assert right(rounds) == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
        [True, True, True],
    ]
    assert [each.resampled for each in rounds] == [(0, 1, 2), (1, 2), (2,), ()]
    assert rounds_used(rounds) == [0, 1, 2]


def test_the_prefix_of_the_seed_stays_and_the_rest_is_new():
    policy = CountingPolicy([*FIRST, ["e", boxed(3)], ["f", boxed(4)]])
    rounds = rounds_of(policy)
    second, third = (rounds[1].answers[place][0].completion for place in (1, 2))
    assert [selection.thought for selection in rounds[1].selections] == [2, 1]
    assert second.thoughts[:2] == ("b</thought>", "e</thought>")
    assert third.thoughts[0] == "f</thought>"
    assert (second.prefix_len, third.prefix_len) == (2, 0)
    assert policy.requests[3].prefix.token_ids == rounds[0].answers[1][0].completion.token_ids[:2]
    assert {request.sampling for request in policy.requests[:3]} == {Sampling(0.0, 1.0)}
    assert {request.sampling for request in policy.requests[3:]} == {Sampling()}


def test_a_round_is_one_call_of_the_engine_for_each_phase():
    def script(request):
        if request.limits.max_thoughts:
            return ["a", boxed(9)]  # always wrong
        return [boxed("no") if "right?" in question_of(request) else boxed(1)]

    policy = CountingPolicy(script)
    rounds_of(policy, selector=SelfLocalization(), acceptor=BySelf(SelfVerificationConfig()))
    # Answer and ask; localize, resample, ask; localize, resample, with nobody left to be asked.
    assert policy.calls == [3, 3, 3, 3, 3, 3, 3]


def by_word(request):
    """Every answer is wrong at first; the policy believes all but the third, which it mends."""
    text = question_of(request)
    if not request.limits.max_thoughts:
        believed = "Step 1: d" not in text
        return [boxed("yes" if believed else "no") if "right?" in text else boxed(1)]
    if request.sampling.temperature == 0:
        return ["d" if text == "2+2" else "a", boxed(9)]
    return ["mended", boxed(eval(text))]


def test_the_policys_own_word_decides_who_is_gone_back_into():
    policy = CountingPolicy(by_word)
    acceptor = BySelf(SelfVerificationConfig())
    rounds = rounds_of(policy, selector=SelfLocalization(), acceptor=acceptor)
    assert right(rounds) == [[False, False, False], [False, False, True], [False, False, True]]
    assert [said.accepted for said in rounds[0].acceptances] == [True, True, False]
    assert [said and said.accepted for said in rounds[1].acceptances] == [None, None, True]
    last = round_figures(rounds)[-1]
    assert (last.accepted, last.accepted_wrong) == pytest.approx((1, 2 / 3))
    assert rounds_used(rounds) == [0, 0, 1]


def test_a_right_answer_the_policy_does_not_believe_can_be_broken():
    def doubting(request):
        if not request.limits.max_thoughts:
            return ["I cannot tell"]
        return ["a", boxed(eval(question_of(request)) + (request.sampling.temperature > 0))]

    rounds = rounds_of(
        CountingPolicy(doubting),
        selector=Uniform(),
        acceptor=BySelf(SelfVerificationConfig()),
        num_rounds=1,
    )
    first, last = round_figures(rounds)
    assert (first.accuracy.value, last.accuracy.value) == (1.0, 0.0)
    assert (last.corrected, last.broken, last.resampled) == (0.0, 1.0, 1.0)
    assert first.statuses == {"verification/unreadable": 1.0}
    assert last.statuses == {"localization/drawn": 1.0}


def test_an_answer_without_a_thought_starts_over_and_is_not_localized():
    policy = CountingPolicy([[], [boxed(2)]])
    rounds = rounds_of(policy, num_rounds=1, prompts=PROMPTS[:1])
    assert right(rounds) == [[False], [True]]
    assert rounds[1].selections == (None,)
    assert round_figures(rounds)[1].statuses == {}


def test_the_tokens_of_the_phases_are_all_that_the_engine_drew():
    policy = CountingPolicy(by_word)
    rounds = rounds_of(
        policy, selector=SelfLocalization(), acceptor=BySelf(SelfVerificationConfig())
    )
    usage = phase_usage(rounds)
    for column in ("requests", "prompt_tokens", "generated_tokens"):
        total = sum(getattr(each, column) for each in usage.values())
        assert total == getattr(policy.counters, column)
    assert {name for name, each in usage.items() if each.requests} == {
        "answer",
        "self_verify",
        "localize",
        "suffix",
    }
    assert sum(sum(each.tokens.values()) for each in round_figures(rounds)) == (
        policy.counters.generated_tokens
    )


def drawn(request):
    """A completion that its seed alone decides."""
    return [f"a{request.rng_seed % 7}", boxed(request.rng_seed % 5)]


def test_the_same_run_seed_draws_the_same_alone_and_together():
    def texts(rounds):
        return [[rollout.completion.text for rollout, _ in each.answers] for each in rounds]

    whole = texts(rounds_of(CountingPolicy(drawn), selector=Uniform()))
    assert texts(rounds_of(CountingPolicy(drawn), selector=Uniform())) == whole
    alone = texts(rounds_of(CountingPolicy(drawn), selector=Uniform(), prompts=PROMPTS[1:2]))
    assert alone == [[each[1]] for each in whole]
    assert texts(rounds_of(CountingPolicy(drawn), selector=Uniform(), run_seed=1)) != whole


def test_results_tell_each_round_and_each_problem():
    policy = CountingPolicy([*FIRST, ["e", boxed(3)], ["f", boxed(8)], ["g", boxed(8)]])
    rounds = rounds_of(policy)
    config = CorrectConfig(task={"name": "sums"}, reset_selector={"name": "oracle"}, rounds=2)
    made = results(config, rounds)
    assert [row["accuracy"] for row in made.rows] == pytest.approx([1 / 3, 2 / 3, 2 / 3])
    assert [row["corrected"] for row in made.rows] == pytest.approx([0, 1 / 3, 0])
    assert made.rows[0]["low"] == pytest.approx(0.0615, abs=1e-3)
    assert made.summary["rounds_used"] == {"0": 1, "1": 1, "2": 1}
    assert made.summary["upper_bound"] is True
    history = {row["uid"]: row["right_after_rounds"] for row in made.table}
    assert history == {"eval-0": "111", "eval-1": "011", "eval-2": "000"}
    assert made.table[1]["first_completion"] == "b</thought>c!</thought>\\boxed{9}</thought>"


def test_metrics_of_a_round():
    policy = CountingPolicy([*FIRST, ["e", boxed(3)], ["f", boxed(8)]])
    figures = round_figures(rounds_of(policy, num_rounds=1))[1]
    metrics = round_metrics(figures)
    assert metrics["correct/accuracy"] == pytest.approx(2 / 3)
    assert metrics["correct/corrected"] == pytest.approx(1 / 3)
    assert metrics["correct/localization/checked"] == 1.0
    assert metrics["correct/tokens/total"] == metrics["correct/tokens/suffix"] > 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"rounds": 0}, "rounds is 0: choose at least 1"),
        ({"stop": "oracle"}, "stop is 'oracle': choose verifier or self"),
        ({"stop": "self"}, "tiny policy never learned to say"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, sentence):
    with pytest.raises(Exception, match=sentence):
        CorrectConfig(**options)


def test_a_model_that_is_not_the_tiny_one_may_be_asked_about_itself():
    config = CorrectConfig()
    other = dataclasses.replace(config.model, prompt="thoughts")
    assert CorrectConfig(stop="self", model=other).stop == "self"
    own = SelfVerificationConfig(prompt="my_template.txt")
    assert CorrectConfig(stop="self", self_verification=own).stop == "self"
