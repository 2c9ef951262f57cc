import dataclasses

import pytest
from asking import make_inference

from resetrl.ask import Asked, answer, choose_resets
from resetrl.errors import TrainingError
from resetrl.meter import Meter
from resetrl.rng import derive_seed
from resetrl.testing import ScriptedPolicy, make_context, make_prompt, make_rollout
from resetrl.types import Limits, Sampling, Selection

LIMITS = Limits(max_thoughts=6, max_thought_len=40, max_completion_len=200)
PROMPTS = [make_prompt("3+4", "7", "a"), make_prompt("1+1", "2", "b")]


def asked(sample=None):
    return [Asked.held_out(prompt, Sampling(), LIMITS, 5, sample) for prompt in PROMPTS]


def test_answers_come_judged_in_the_order_of_the_questions():
    policy = ScriptedPolicy([["\\boxed{7}"], ["1+1=3", "\\boxed{3}"]])
    meter = Meter(policy.counters, 0)
    judged = answer(asked(), make_inference(policy), meter)
    assert [rollout.prompt.uid for rollout, _ in judged] == ["a", "b"]
    assert [verdict.correct for _, verdict in judged] == [True, False]
    assert meter.usage()["answer"].requests == 2
    assert meter.usage()["answer"].generated_tokens == policy.counters.generated_tokens


def test_asking_nothing_asks_nobody():
    policy = ScriptedPolicy([])
    assert answer([], make_inference(policy), Meter(policy.counters, 0)) == []


def test_seeds_depend_on_run_seed_problem_and_sample_alone():
    assert [each.request.rng_seed for each in asked()] == [
        derive_seed(5, "evaluation", "a"),
        derive_seed(5, "evaluation", "b"),
    ]
    assert asked(sample=1)[0].request.rng_seed == derive_seed(5, "evaluation", "a", 1)
    assert asked(sample=1)[0].index == 1


class Forgetful:
    def verify(self, rollouts):
        return []

    def select(self, seeds, context):
        return []


@dataclasses.dataclass
class Always:
    thought: int

    def select(self, seeds, context):
        return [Selection(self.thought, "given") for _ in seeds]


def test_a_verifier_that_returns_too_few_verdicts_is_named():
    policy = ScriptedPolicy([["a"], ["b"]])
    inference = dataclasses.replace(make_inference(policy), verifier=Forgetful())
    with pytest.raises(TrainingError, match="verifier Forgetful returned 0 verdicts for 2"):
        answer(asked(), inference, Meter(policy.counters, 0))


def test_a_selector_that_breaks_its_contract_is_named_with_the_problem():
    seeds = [make_rollout(["a", "b"])]
    assert choose_resets(Always(2), seeds, make_context()) == [Selection(2, "given")]
    with pytest.raises(TrainingError, match="Forgetful returned 0 selections for 1 seeds"):
        choose_resets(Forgetful(), seeds, make_context())
    for thought in (0, 3):
        with pytest.raises(TrainingError, match=rf"chose thought {thought} of .* problem-0"):
            choose_resets(Always(thought), seeds, make_context())
