"""The contract of samplers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple

from resetrl.interfaces import EngineCounters, Sampler, SelfEvaluation
from resetrl.meter import Meter
from resetrl.method import Method, Session
from resetrl.testing.contracts._require import require
from resetrl.testing.fakes import (
    FakeLoss,
    FakeTask,
    FakeTokenizer,
    RecordingLearner,
    ScriptedPolicy,
    as_tokenizer,
    make_problems,
    make_prompt,
)
from resetrl.types import Limits, PhaseUsage, Prompt, Request, Sampled, Sampling

_PROMPTS = tuple(
    make_prompt(problem.question, problem.reference, problem.uid) for problem in make_problems(3)
)


def gathers_nothing_from_no_prompts(sampler: Sampler) -> None:
    policy = _policy()
    sampled = _sample(sampler, (), policy)
    require(
        not sampled.groups and not sampled.draws and not policy.counters.generated_tokens,
        f"no prompts gave {len(sampled.groups)} groups and {len(sampled.draws)} draws, with "
        f"{policy.counters.generated_tokens} tokens generated: a run calls it so to check it",
    )


def trains_rollouts_of_every_prompt_it_is_given(sampler: Sampler) -> None:
    groups = _sample(sampler, _PROMPTS).groups
    trained = {rollout.prompt.uid for group in groups for rollout in group.rollouts}
    given = {prompt.uid for prompt in _PROMPTS}
    require(trained == given, f"prompts {sorted(given)} gave rollouts of {sorted(trained)}")
    for group in groups:
        uids = {rollout.prompt.uid for rollout in group.rollouts}
        require(len(uids) == 1, f"a group compares rollouts of {sorted(uids)}: one prompt a group")


def has_a_budget_of_at_least_two(sampler: Sampler) -> None:
    require(
        type(sampler.budget) is int and sampler.budget >= 2,
        f"budget is {sampler.budget!r}: it is the number of rollouts trained a prompt",
    )


def gives_some_rollouts_an_unequal_reward(sampler: Sampler) -> None:
    groups = _sample(sampler, _PROMPTS).groups
    rewards = [group.shaped_rewards or group.rewards for group in groups]
    require(
        any(len(set(row)) > 1 for row in rewards) or len({r for row in rewards for r in row}) > 1,
        "a policy that is right every other time gave equal rewards only: nothing to learn from",
    )


def samples_the_same_again_and_for_each_prompt_alone(sampler: Sampler) -> None:
    together = _sample(sampler, _PROMPTS)
    again = _sample(sampler, _PROMPTS)
    require(
        together.groups == again.groups,
        "two calls gave other groups: seed every request with derive_seed(session.run_seed, step, "
        "prompt.uid, purpose, index) and keep no state",
    )
    alone = [group for prompt in _PROMPTS for group in _sample(sampler, [prompt]).groups]
    by_prompt = sorted(together.groups, key=lambda group: group.prompt.uid)
    require(
        by_prompt == sorted(alone, key=lambda group: group.prompt.uid),
        "the prompts gave other groups together than one by one: let the rollouts of a prompt "
        "depend on that prompt only",
    )


def charges_to_its_phases_all_that_the_policy_does(sampler: Sampler) -> None:
    policy = _policy()
    meter = Meter(policy.counters, num_parameters=1)
    _sample(sampler, _PROMPTS, policy, meter)
    usage = meter.usage().values()
    charged = EngineCounters(
        requests=sum(phase.requests for phase in usage),
        prompt_tokens=sum(phase.prompt_tokens for phase in usage),
        cached_tokens=sum(phase.cached_tokens for phase in usage),
        generated_tokens=sum(phase.generated_tokens for phase in usage),
    )
    require(
        astuple(charged) == astuple(policy.counters),
        f"the phases account for {charged}, the policy did {policy.counters}: ask it inside "
        "`with meter.phase(name):`, or through resetrl.waves.sample_wave",
    )


def evaluates_with_numbers_in_the_phase_evaluate(sampler: Sampler) -> None:
    """Where it takes part in evaluations at all."""
    if not isinstance(sampler, SelfEvaluation):
        return
    draws = _sample(sampler, _PROMPTS).draws
    answers = list({rollout.prompt.uid: (rollout, verdict) for rollout, verdict in draws}.values())
    policy = _policy()
    meter = Meter(policy.counters, num_parameters=1)
    metrics = sampler.evaluate(answers, _method(sampler), _session(policy), meter)
    for name, number in metrics.items():
        require(isinstance(number, float | int), f"metric {name!r} is {number!r}: give a number")
    charged = meter.usage().get("evaluate", PhaseUsage()).generated_tokens
    require(
        charged == policy.counters.generated_tokens,
        f"the phase 'evaluate' accounts for {charged} of {policy.counters.generated_tokens} tokens "
        "generated: ask the policy there",
    )


CHECKS = (
    has_a_budget_of_at_least_two,
    gathers_nothing_from_no_prompts,
    trains_rollouts_of_every_prompt_it_is_given,
    gives_some_rollouts_an_unequal_reward,
    samples_the_same_again_and_for_each_prompt_alone,
    charges_to_its_phases_all_that_the_policy_does,
    evaluates_with_numbers_in_the_phase_evaluate,
)


def _policy() -> ScriptedPolicy:
    """Three thoughts and an answer that is right for about every other rng seed."""

    def thoughts(request: Request) -> Sequence[str]:
        question = FakeTokenizer().decode(request.prompt_ids).splitlines()[0]
        right = sum(int(term) for term in question.split("+") if term.isdecimal())
        wrong = request.rng_seed % 2
        return [f"a{request.rng_seed % 7}", "b", f"\\boxed{{{right + wrong}}}"]

    return ScriptedPolicy(thoughts)


def _sample(
    sampler: Sampler,
    prompts: Sequence[Prompt],
    policy: ScriptedPolicy | None = None,
    meter: Meter | None = None,
) -> Sampled:
    policy = policy or _policy()
    meter = meter or Meter(policy.counters, num_parameters=1)
    return sampler.sample(1, prompts, _method(sampler), _session(policy), meter)


def _session(policy: ScriptedPolicy) -> Session:
    task = FakeTask()
    return Session(
        policy=policy,
        learner=RecordingLearner(),
        verifier=task.verifier(),
        task=task,
        tokenizer=as_tokenizer(FakeTokenizer()),
        delimiter="</thought>",
        localization_prompt="tiny",
        run_seed=0,
    )


def _method(sampler: Sampler) -> Method:
    return Method(
        sampler=sampler,
        loss=FakeLoss(),
        advantage="population_std",
        binarise_rewards=False,
        mask_prefix=True,
        sampling=Sampling(),
        limits=Limits(max_thoughts=6, max_thought_len=40, max_completion_len=400),
    )
