import dataclasses
import functools

import pytest
from parity import case

from resetrl.ask import judge
from resetrl.builtin.losses import SuffixMean
from resetrl.builtin.selectors import Oracle, SelfLocalization, Uniform
from resetrl.errors import TrainingError
from resetrl.method import Method, Session
from resetrl.splits import GroupSplit, SeedPolicy
from resetrl.step import Resets, train_step
from resetrl.testing import (
    FakeTask,
    RecordingLearner,
    ScriptedPolicy,
    make_problems,
)
from resetrl.testing.fakes import FakeTokenizer
from resetrl.types import (
    Group,
    Limits,
    Prefix,
    Prompt,
    Sampled,
    Sampling,
    Selection,
    Update,
    Verdict,
)
from resetrl.waves import generate_wave, sample_wave

ONE_BY_FOUR = GroupSplit(4, (4,))


def make_method(split=ONE_BY_FOUR, selector=None, **options):
    method = Method(
        sampler=Resets(split, SeedPolicy(), selector),
        loss=SuffixMean(),
        advantage="population_std",
        binarise_rewards=False,
        mask_prefix=True,
        sampling=Sampling(),
        limits=Limits(max_thoughts=6, max_thought_len=40, max_completion_len=200),
    )
    return dataclasses.replace(method, **options)


def make_session(policy):
    task = FakeTask()
    return Session(
        policy=policy,
        learner=RecordingLearner(),
        verifier=task.verifier(),
        task=task,
        tokenizer=FakeTokenizer(),
        delimiter="</thought>",
        localization_prompt="tiny",
        run_seed=0,
    )


def make_prompts(num):
    return [
        Prompt(problem, tuple(FakeTokenizer().encode(problem.question)))
        for problem in make_problems(num)
    ]


def boxed(answer):
    return f"\\boxed{{{answer}}}"


# One prompt, 0+1 = 1: the second of four draws fails at its second thought.
DRAWS = [["a", boxed(1)], ["a", "b!", boxed(9)], ["c", boxed(1)], ["d", boxed(1)]]
SUFFIXES = [["e", boxed(1)], ["f", boxed(2)], ["g", boxed(2)], ["h", boxed(1)]]


def test_srpo_goes_back_to_the_thought_the_policy_names_and_trains_the_suffix_only():
    policy = ScriptedPolicy([*DRAWS, [boxed(2)], *SUFFIXES])
    session = make_session(policy)
    record = train_step(1, make_prompts(1), make_method(selector=SelfLocalization()), session)

    base, reset = record.groups
    assert (base.kind, base.rewards) == ("base", (1.0, 0.0, 1.0, 1.0))
    assert (reset.kind, reset.rewards) == ("reset", (1.0, 0.0, 0.0, 1.0))
    assert record.advantages[0] == pytest.approx([0.57735, -1.73205, 0.57735, 0.57735], abs=1e-4)
    assert record.advantages[1] == [1.0, -1.0, -1.0, 1.0]
    assert reset.reset_state.seed is base.rollouts[1]
    assert reset.reset_state.selection.thought == 2
    assert [r.completion.thoughts[0] for r in reset.rollouts] == ["a</thought>"] * 4
    assert [r.completion.thoughts[1] for r in reset.rollouts] == [
        f"{letter}</thought>" for letter in "efgh"
    ]

    batch = session.learner.batches[0]
    # The prompt has 3 tokens and the prefix "a</thought>" 2: suffix rows are trained from token 5.
    assert batch.loss_mask[4:].long().tolist() == [[0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 0]] * 4
    assert batch.loss_mask[0].long().tolist() == [0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0]


def test_a_step_is_three_waves_and_its_ledger_is_the_engines_counters():
    policy = ScriptedPolicy([*DRAWS, [boxed(2)], *SUFFIXES])
    session = make_session(policy)
    record = train_step(1, make_prompts(1), make_method(selector=SelfLocalization()), session)
    phases = record.phases
    assert list(phases) == ["draw", "verify", "localize", "suffix", "learn", "sync", "other"]
    assert [phases[name].requests for name in ("draw", "localize", "suffix")] == [4, 1, 4]
    for column in ("requests", "prompt_tokens", "cached_tokens", "generated_tokens"):
        total = sum(getattr(usage, column) for usage in phases.values())
        assert total == getattr(policy.counters, column)
    assert phases["learn"].flops == 6 * 1000 * session.learner.batches[0].attention_mask.sum()


def test_the_oracle_and_uniform_run_the_same_step_without_asking_the_policy():
    for selector in (Oracle(), Uniform()):
        session = make_session(ScriptedPolicy([*DRAWS, *SUFFIXES]))
        record = train_step(1, make_prompts(1), make_method(selector=selector), session)
        assert [group.kind for group in record.groups] == ["base", "reset"]
    assert record.metrics["localization/drawn"] == 1.0


class Colocated(ScriptedPolicy):
    """A policy on the learner's device; `order` notes what happens when."""

    order: list

    def generate(self, requests):
        self.order.append("generate")
        return super().generate(requests)

    def sleep(self):
        self.order.append("sleep")

    def sync(self, learner):
        self.order.append("sync")
        return False


def test_a_colocated_policy_sleeps_while_the_learner_works():
    policy = Colocated([*DRAWS, *DRAWS])
    policy.order = []
    session = make_session(policy)
    session.learner.update = lambda batch, loss: policy.order.append("update") or Update(0.0, 0.0)
    train_step(1, make_prompts(1), make_method(split=GroupSplit(8)), session)
    assert policy.order == ["generate", "sleep", "update", "sync"]


def test_grpo_is_one_group_of_fresh_rollouts():
    session = make_session(ScriptedPolicy([*DRAWS, *DRAWS]))
    record = train_step(1, make_prompts(1), make_method(split=GroupSplit(8)), session)
    assert [group.kind for group in record.groups] == ["base"]
    assert record.groups[0].rewards == (1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0)
    assert "localize" not in record.phases
    assert not any(name.startswith(("reset/", "localization/")) for name in record.metrics)


def test_prompts_without_a_failure_draw_on_together_and_end_as_one_group():
    right = ["a", boxed(1)]
    script = [right] * 12
    session = make_session(ScriptedPolicy(script))
    record = train_step(1, make_prompts(1), make_method(selector=Uniform()), session)
    assert [len(group.rollouts) for group in record.groups] == [8]
    assert record.metrics["rollouts/drawn"] == 12
    assert record.metrics["rollouts/discarded"] == 4
    assert record.metrics["groups/with_variance"] == 0.0


def test_graded_rewards_can_be_binarised_for_every_group_alike():
    class Graded:
        def verify(self, rollouts):
            task = FakeTask().verifier()
            return [
                dataclasses.replace(v, reward=0.5 if not v.correct else 1.0)
                for v in task.verify(rollouts)
            ]

    policy = ScriptedPolicy([*DRAWS, *SUFFIXES])
    session = dataclasses.replace(make_session(policy), verifier=Graded())
    method = make_method(selector=Oracle(), advantage="mean_only", binarise_rewards=True)
    record = train_step(1, make_prompts(1), method, session)
    assert record.advantages == [[0.25, -0.75, 0.25, 0.25], [0.5, -0.5, -0.5, 0.5]]


def test_two_prompts_with_the_same_first_200_characters_keep_their_own_rollouts():
    given = case("buffer_key_collision")["input"]
    assert (given["prompt_a"], given["prompt_b"]) == ("'A'*200+'one'", "'A'*200+'two'")
    questions = ["A" * 200 + "one", "A" * 200 + "two"]
    prompts = [
        Prompt(problem, tuple(FakeTokenizer().encode(question)))
        for problem, question in zip(make_problems(2), questions, strict=True)
    ]
    script = [[boxed(1)]] * 8 + [[boxed(9)], [boxed(2)]] * 4
    record = train_step(
        1, prompts, make_method(split=GroupSplit(8)), make_session(ScriptedPolicy(script))
    )
    assert [group.prompt.uid for group in record.groups] == ["train-0", "train-1"]
    assert [group.rewards for group in record.groups] == [(1.0,) * 8, (0.0, 1.0) * 4]
    assert record.advantages[1] == [-1.0, 1.0] * 4  # the reference: 0 for all of the second prompt


def test_every_request_of_a_step_has_its_own_seed():
    policy = ScriptedPolicy(lambda request: ["a", boxed(9)])
    train_step(
        1, make_prompts(2), make_method(GroupSplit(0, (4, 4)), Uniform()), make_session(policy)
    )
    seeds = [request.rng_seed for request in policy.requests]
    assert len(seeds) == len(set(seeds)) == 2 * (4 + 8)


def test_the_same_step_draws_the_same_whatever_prompts_are_beside_it():
    policies = [ScriptedPolicy(lambda request: ["a", boxed(9)]) for _ in range(2)]
    method = make_method(selector=Uniform())
    train_step(3, make_prompts(1), method, make_session(policies[0]))
    train_step(3, make_prompts(2), method, make_session(policies[1]))
    alone = {request.rng_seed for request in policies[0].requests}
    assert alone < {request.rng_seed for request in policies[1].requests}


@pytest.mark.parametrize(
    ("selections", "message"),
    [
        ([Selection(4, "x")], r"chose thought 4 of a seed of 3 thoughts \(prompt train-0\)"),
        ([Selection(0, "x")], "chose thought 0 of a seed of 3 thoughts"),
        ([], r"returned 0 selections for 1 seeds \(of prompt train-0\)"),
        (
            KeyError("depth"),
            r"selector Broken failed \(.*test_step.py:\d+\): KeyError: 'depth'; .* prompt train-0$",
        ),
    ],
)
def test_a_selector_that_fails_or_leaves_the_seed_stops_the_run(selections, message):
    class Broken:
        def select(self, seeds, context):
            if isinstance(selections, Exception):
                raise selections
            return selections

    session, selector = make_session(ScriptedPolicy([*DRAWS])), Broken()
    with pytest.raises(TrainingError, match=message) as caught:
        train_step(1, make_prompts(1), make_method(selector=selector), session)
    assert caught.value.component is selector
    assert session.learner.batches == []


def test_a_policy_that_draws_no_token_stops_the_run():
    session = make_session(ScriptedPolicy([*DRAWS[:3], []]))
    with pytest.raises(TrainingError, match=r"1 empty completions \(of prompt train-0\)"):
        train_step(1, make_prompts(1), make_method(selector=Oracle()), session)


def test_a_rollout_that_crashes_stops_the_step_and_becomes_no_sample():
    def crash(request):
        if len(policy.requests) == 2:
            raise RuntimeError("the server is gone")
        return ["a", boxed(9)]

    policy = ScriptedPolicy(crash)
    session = make_session(policy)
    with pytest.raises(RuntimeError, match="the server is gone"):
        train_step(1, make_prompts(1), make_method(selector=Uniform()), session)
    assert session.learner.batches == []


def test_a_verifier_that_loses_a_verdict_stops_the_run():
    class Broken:
        def verify(self, rollouts):
            return []

    session = dataclasses.replace(make_session(ScriptedPolicy([*DRAWS])), verifier=Broken())
    with pytest.raises(TrainingError, match="verifier Broken returned 0 verdicts for 4 rollouts"):
        train_step(1, make_prompts(1), make_method(selector=Oracle()), session)


def test_metrics_of_resets_in_literal_values():
    policy = ScriptedPolicy([*DRAWS, [boxed(3)], *SUFFIXES])
    record = train_step(
        1, make_prompts(1), make_method(selector=SelfLocalization()), make_session(policy)
    )
    expected = {
        "draws/accuracy": 0.75,
        "reward/mean": 0.625,
        "base/accuracy": 0.75,
        "reset/accuracy": 0.5,
        "reset/with_variance": 1.0,
        "reset/corrected": 1.0,
        "reset/thought": 3.0,
        "reset/relative_depth": 1.0,
        "reset/depth_tenth_9": 1.0,
        "reset/depth_tenth_0": 0.0,
        "localization/boxed": 1.0,
        "localization/exact": 0.0,
        "localization/late": 1.0,
        "localization/clean_prefix": 0.0,
        "rollouts/trained": 8.0,
        "rollouts/drawn": 8.0,
        "stop/answer": 1.0,
    }
    assert {name: record.metrics[name] for name in expected} == expected


def test_parts_of_rollouts_are_trained_but_count_in_no_mean_over_rollouts():
    class Tree:
        budget = 2

        def sample(self, step, prompts, method, session, meter):
            origins = [(prompts[0], Prefix(), index) for index in range(2)]
            first = generate_wave("draw", step, origins, method, session, meter)
            part = dataclasses.replace(
                first[0], completion=dataclasses.replace(first[0].completion, stop="unfinished")
            )
            prefix = part.completion.first_thoughts(1)
            suffix = sample_wave("branch", step, [(prompts[0], prefix, 2)], method, session, meter)
            judged = [(part, Verdict(1.0, False)), *judge(first[1:], session, meter)]
            groups = [
                Group("level_1", *zip(*judged, strict=True), shaped_rewards=(3.0, 1.0)),
                Group("level_2", *zip(*suffix, strict=True)),
            ]
            return Sampled(groups, [judged[1], *suffix], {"tree/leaves": 2.0})

    policy = ScriptedPolicy([["a"], ["b", boxed(9)], ["c", boxed(1)]])
    session = make_session(policy)
    method = dataclasses.replace(make_method(), sampler=Tree(), advantage="mean_only")
    record = train_step(1, make_prompts(1), method, session)
    assert record.advantages == [[1.0, -1.0], [0.0]]
    assert record.metrics["tree/leaves"] == 2.0
    assert {name: record.metrics[name] for name in ("rollouts/trained", "rollouts/drawn")} == {
        "rollouts/trained": 2.0,
        "rollouts/drawn": 2.0,
    }
    assert record.metrics["reward/mean"] == 0.5
    assert record.metrics["level_1/accuracy"] == 0.0
    assert list(record.phases)[:3] == ["draw", "branch", "verify"]
    assert session.learner.batches[0].loss_mask[2].long().tolist() == [0] * 5 + [1] * 6


def test_recorded_prefixes_keep_their_ids_through_the_step():
    decode = functools.partial(FakeTokenizer().decode)
    policy = ScriptedPolicy([*DRAWS, [boxed(3)], *SUFFIXES])
    train_step(1, make_prompts(1), make_method(selector=SelfLocalization()), make_session(policy))
    prefixes = {decode(request.prefix.token_ids) for request in policy.requests[5:]}
    assert prefixes == {"a</thought>b!</thought>"}


def test_the_accuracy_of_draws_leaves_out_the_draws_made_because_others_were_right():
    right, wrong = ["a", boxed(1)], ["a", boxed(9)]
    script = [*[right] * 4, *[right] * 7, wrong, *SUFFIXES]
    record = train_step(
        1, make_prompts(1), make_method(selector=Oracle()), make_session(ScriptedPolicy(script))
    )
    assert record.metrics["rollouts/drawn"] == 16
    assert record.metrics["draws/accuracy"] == 1.0
