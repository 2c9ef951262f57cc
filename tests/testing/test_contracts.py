"""Every registered component keeps its contract, and a contract notices what breaks it."""

from __future__ import annotations

import dataclasses
import importlib.util
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from published import FOLDER

from resetrl.builtin.learners import Torch
from resetrl.builtin.losses import SuffixMean
from resetrl.builtin.verifiers import Exact
from resetrl.hub.task import Hub
from resetrl.interfaces import EngineCounters
from resetrl.meter import Meter
from resetrl.plugins import KINDS, Component, load_plugins
from resetrl.splits import GroupSplit
from resetrl.testing import FakeTask, check_reset_selector, contract_for
from resetrl.testing.contracts.results import run_contract
from resetrl.types import Group, Prefix, Problem, Sampled, Selection, Verdict
from resetrl.waves import sample_wave

SOME_GYM_TASKS = ("basic_arithmetic", "chain_sum", "gsm_symbolic", "leg_counting", "syllogism")


NEED_MORE = ("hmmt_nov_2025", "livecodebench_medium")
"""One has nothing to train on, the other's verifier is another distribution's."""


def components() -> list[Any]:
    """All of them, but only some tasks of reasoning-gym: each takes a second.

    Published data sets are read from made-up rows. The contract of the vllm engine runs in
    tests/engines/vllm, where there is a vLLM.
    """
    has_gym = importlib.util.find_spec("reasoning_gym") is not None
    extra = pytest.mark.skipif(not has_gym, reason="needs pip install resetrl[reasoning-gym]")
    chosen = []
    for component in load_plugins():
        folder, _, name = component.name.rpartition("/")
        if component.cls is Hub:
            if name in NEED_MORE:
                continue
            defaults = {**component.defaults, "folder": str(FOLDER)}
            component = dataclasses.replace(component, defaults=defaults)
        if component.name == "vllm":
            continue
        if folder != "reasoning_gym":
            chosen.append(pytest.param(component, id=f"{component.kind}-{name}"))
        elif name in SOME_GYM_TASKS:
            chosen.append(pytest.param(component, id=f"{component.kind}-gym-{name}", marks=extra))
    return chosen


@pytest.mark.parametrize("component", components())
def test_every_registered_component_keeps_the_contract_of_its_kind(component: Component) -> None:
    results = list(run_contract(component))
    assert [result for result in results if result.reason] == []
    assert len(results) == 2 + len(contract_for(component.kind))


def failing(kind: str, component: object) -> dict[str, str]:
    """What a component breaks: the names of the checks and what each says."""
    reasons = {}
    for check in contract_for(kind):
        try:
            check(component)
        except AssertionError as error:
            reasons[check.__name__] = str(error)
    return reasons


@dataclasses.dataclass
class Selector:
    """A selector made of a function of (seeds, context)."""

    choose: Callable[..., list[Selection]]

    def select(self, seeds: Any, context: Any) -> list[Selection]:
        return self.choose(seeds, context)


def test_a_selector_that_counts_thoughts_from_0_is_told_the_range() -> None:
    reasons = failing("reset_selector", Selector(lambda s, c: [Selection(0, "x")] * len(s)))
    assert reasons == {
        "names_a_thought_of_the_seed": "thought 0 was chosen in a seed of 1 thoughts: choose an "
        "integer from 1 to 1 (1 is the bare prompt)"
    }


def test_a_selector_that_always_goes_back_to_thought_2_fails_seeds_of_one_thought() -> None:
    reasons = failing("reset_selector", Selector(lambda s, c: [Selection(2, "x")] * len(s)))
    assert list(reasons) == ["names_a_thought_of_the_seed"]


def test_a_selector_that_leaves_a_seed_out_is_told_how_many_are_missing() -> None:
    reasons = failing("reset_selector", Selector(lambda s, c: [Selection(1, "x")] * len(s[1:])))
    assert reasons["gives_one_selection_a_seed"] == (
        "5 seeds gave 4 selections: return one a seed, in order"
    )


def test_a_selector_with_a_generator_of_its_own_is_told_where_to_draw_from() -> None:
    rng = random.Random(0)

    def choose(seeds: Any, context: Any) -> list[Selection]:
        return [Selection(rng.randint(1, len(s.completion.thoughts)), "x") for s in seeds]

    reasons = failing("reset_selector", Selector(choose))
    assert set(reasons) == {
        "chooses_the_same_for_the_same_rng_seed",
        "chooses_the_same_in_any_order_and_alone",
    }
    assert "context.rng_seed(seed, purpose)" in reasons["chooses_the_same_for_the_same_rng_seed"]


def test_a_selector_that_draws_one_seed_a_call_depends_on_the_order() -> None:
    def choose(seeds: Any, context: Any) -> list[Selection]:
        rng = random.Random(context.rng_seed(seeds[0], "x") if seeds else 0)
        return [Selection(rng.randint(1, len(s.completion.thoughts)), "x") for s in seeds]

    assert list(failing("reset_selector", Selector(choose))) == [
        "chooses_the_same_in_any_order_and_alone"
    ]


def test_a_selector_that_sorts_the_seeds_it_is_given_is_noticed() -> None:
    def choose(seeds: Any, context: Any) -> list[Selection]:
        if isinstance(seeds, list):
            seeds.sort(key=lambda seed: -len(seed.completion.thoughts))
        return [Selection(1, "x")] * len(seeds)

    assert list(failing("reset_selector", Selector(choose))) == [
        "changes_neither_seeds_nor_options"
    ]


def test_a_failing_check_names_component_and_check_in_a_note() -> None:
    with pytest.raises(AssertionError) as caught:
        check_reset_selector(Selector(lambda s, c: []))
    assert "the contract's check 'gives one selection a seed'" in caught.value.__notes__[0]


@dataclasses.dataclass
class Judge:
    """A verifier that lets a function judge each rollout's text."""

    judge: Callable[[str], Verdict]

    def verify(self, rollouts: Any) -> list[Verdict]:
        return [self.judge(rollout.completion.text) for rollout in rollouts]


@pytest.mark.parametrize(
    ("judge", "check", "reason"),
    [
        (
            lambda text: Verdict(2.0 * ("{2}" in text), "{2}" in text),
            "gives_one_verdict_a_rollout",
            "a rollout with the right answer has the reward 2.0: scale rewards to [0, 1]",
        ),
        (
            lambda text: Verdict(float("nan"), False),
            "gives_one_verdict_a_rollout",
            "a rollout with an empty completion has the reward nan: scale rewards to [0, 1]",
        ),
        (
            lambda text: Verdict(0.0, text and 0),  # type: ignore[arg-type]
            "gives_one_verdict_a_rollout",
            "a rollout with an empty completion has correct='': make it a bool",
        ),
        (
            lambda text: Verdict(0.0, False),
            "accepts_the_reference",
            "\\boxed{2} with the reference 2 gave Verdict(reward=0.0, correct=False, details={}, "
            "error=''): it is correct (and neither are B and yes with their own references)",
        ),
    ],
)
def test_a_verifier_is_told_what_it_got_wrong(
    judge: Callable[[str], Verdict], check: str, reason: str
) -> None:
    assert failing("verifier", Judge(judge))[check] == reason


def test_a_verifier_that_ranks_within_a_batch_depends_on_its_neighbours() -> None:
    class Ranking(Exact):
        def verify(self, rollouts: Any) -> list[Verdict]:
            verdicts = super().verify(rollouts)
            return [
                dataclasses.replace(verdict, reward=verdict.reward * (place == 0))
                for place, verdict in enumerate(verdicts)
            ]

    assert "judges_the_same_in_any_order_and_alone" in failing("verifier", Ranking())


def test_a_split_whose_budget_does_not_add_up_is_noticed() -> None:
    class Boasting(GroupSplit):
        @property
        def budget(self) -> int:
            return 9

    reasons = failing("split", Boasting(4, (4,)))
    assert reasons["has_a_budget_that_adds_up"] == ("budget is 9, but base=4, resets=(4,) make 8")
    assert "8 of 9 rollouts are trained" in reasons["trains_the_whole_budget_whatever_the_draws"]


def test_a_split_with_a_group_of_one_is_noticed() -> None:
    split = GroupSplit(4, (4,))
    split.base = 1
    assert failing("split", split)["has_groups_that_can_be_compared"] == (
        "base=1, resets=(4,): a group of one has nothing to compare with"
    )


class BrokenLoss(SuffixMean):
    """The built-in loss with one thing wrong."""

    def __init__(self, wrong: str) -> None:
        self.wrong = wrong

    def loss(self, logprobs: Any, batch: Any) -> Any:
        if self.wrong == "mask":
            return -(batch.advantages[:, None] * logprobs).sum() / batch.num_rollouts, {}
        if self.wrong == "mean of the part":
            return super().loss(logprobs, batch)[0] * batch.num_rollouts / len(batch.uids), {}
        if self.wrong == "ratio":
            ratio = (logprobs - batch.old_logprobs).exp() * batch.loss_mask
            return -(batch.advantages[:, None] * ratio * ratio).sum() / batch.num_rollouts, {}
        if self.wrong == "entropy":
            value, metrics = super().loss(logprobs, batch)
            return value + (logprobs * batch.loss_mask).sum() / batch.num_loss_tokens, metrics
        if self.wrong == "metric":
            value, _ = super().loss(logprobs, batch)
            return value, {"mean": logprobs.mean().item()}
        return -super().loss(logprobs, batch)[0], {}


@pytest.mark.parametrize(
    ("wrong", "checks"),
    [
        ("mask", {"has_no_gradient_outside_the_mask", "is_the_sum_of_its_micro_batches"}),
        ("mean of the part", {"is_the_sum_of_its_micro_batches"}),
        ("ratio", {"stays_finite_far_from_the_old_policy"}),
        ("entropy", {"keeps_its_word_on_advantage_0", "makes_good_rollouts_more_probable"}),
        ("metric", {"is_the_sum_of_its_micro_batches"}),
        ("sign", {"makes_good_rollouts_more_probable"}),
    ],
)
def test_a_loss_with_one_thing_wrong_fails_the_check_for_it(wrong: str, checks: set[str]) -> None:
    assert checks & set(failing("loss", BrokenLoss(wrong)))


def test_a_loss_that_says_nothing_about_what_it_needs_is_asked_to() -> None:
    class Silent:
        def loss(self, logprobs: Any, batch: Any) -> Any:
            return SuffixMean().loss(logprobs, batch)

    assert failing("loss", Silent()) == {
        "keeps_its_word_on_advantage_0": "ignores_zero_advantage is None: say True or False in a "
        "ClassVar[bool]",
        "keeps_its_word_on_the_initial_policy": "needs_reference is None: say True or False in a "
        "ClassVar[bool]",
    }


def test_a_loss_that_claims_a_reference_it_never_reads_is_found_out() -> None:
    class Claims(SuffixMean):
        needs_reference = True

    broken = failing("loss", Claims())
    assert list(broken) == ["keeps_its_word_on_the_initial_policy"]
    assert "read batch.reference" in broken["keeps_its_word_on_the_initial_policy"]


def problems(*questions: str, uid: str = "p") -> tuple[Problem, ...]:
    return tuple(Problem(f"{uid}-{i}", question, "1") for i, question in enumerate(questions))


@pytest.mark.parametrize(
    ("task", "check", "reason"),
    [
        (
            FakeTask(problems("1", "2"), problems("3")),
            "gives_every_problem_its_own_uid",
            "the uid 'p-0' belongs to '1' and to '3': make uids unique over both purposes",
        ),
        (
            FakeTask(problems("1", "2"), problems("2", uid="e")),
            "keeps_training_and_evaluation_apart",
            "'2' is to be trained on and to be evaluated on",
        ),
        (
            FakeTask((), problems("2")),
            "has_a_sequence_of_problems_for_each_purpose",
            "problems('train') is tuple: return a Sequence that is not empty (it may compute its "
            "problems on access)",
        ),
    ],
)
def test_a_task_is_told_what_is_wrong_with_its_problems(
    task: FakeTask, check: str, reason: str
) -> None:
    assert failing("task", task)[check] == reason


def test_a_task_whose_problems_change_between_calls_is_noticed() -> None:
    class Changing(FakeTask):
        calls: ClassVar[list[int]] = []

        def problems(self, purpose: Any) -> Any:
            self.calls.append(0)
            return problems(f"{len(self.calls)}", uid=purpose)

    assert "gives_the_same_problems_again" in failing("task", Changing())


def test_a_task_whose_verifier_refuses_the_reference_is_noticed() -> None:
    class Refusing(FakeTask):
        def verifier(self) -> Any:
            return Judge(lambda text: Verdict(0.0, False))

    assert list(failing("task", Refusing())) == ["has_a_verifier_that_accepts_the_references"]


def test_a_step_checker_that_names_a_thought_that_is_not_there_is_noticed() -> None:
    class Beyond(FakeTask):
        def first_wrong_thought(self, problem: Any, thoughts: Any) -> int:
            return len(thoughts) + 1

    assert failing("task", Beyond()) == {
        "names_a_wrong_thought_if_it_checks_steps": "first_wrong_thought is 1 for the 0 thoughts "
        "[]: return None or a number from 1 to their count"
    }


class BrokenEngine:
    """The built-in engine whose completions are changed on their way out."""

    def __init__(self, change: Callable[[list[Any]], list[Any]], count: int = 0) -> None:
        self.change, self.count = change, count

    def start(self, model: Any, tokenizer: Any, delimiter: str, ranks: Any = None) -> Any:
        from resetrl.builtin.engines import Transformers

        self.inner = Transformers().start(model, tokenizer, delimiter)
        self.counters = self.inner.counters
        return self

    def sync(self, learner: Any) -> Any:
        return self.inner.sync(learner)

    def generate(self, requests: Any) -> Any:
        completions = self.inner.generate(requests)
        self.counters.generated_tokens += self.count
        return self.change(completions)


def with_shift(completion: Any, shift: float) -> Any:
    return dataclasses.replace(completion, logprobs=tuple(x - shift for x in completion.logprobs))


def each(**changes: Callable[[Any], Any]) -> Callable[[list[Any]], list[Any]]:
    def change(completions: list[Any]) -> list[Any]:
        return [
            dataclasses.replace(c, **{name: to(c) for name, to in changes.items()})
            for c in completions
        ]

    return change


@pytest.mark.parametrize(
    ("engine", "check"),
    [
        (BrokenEngine(lambda cs: cs[::-1]), "answers_in_the_order_of_the_requests"),
        (
            BrokenEngine(lambda cs: [with_shift(c, 1e-4 * len(cs)) for c in cs]),
            "answers_the_same_in_a_batch_and_alone",
        ),
        (
            BrokenEngine(each(logprobs=lambda c: tuple(x * 0.7 for x in c.logprobs))),
            "reports_the_log_probabilities_of_the_model",
        ),
        (
            BrokenEngine(each(thought_ends=lambda c: tuple(end - 1 for end in c.thought_ends))),
            "stops_exactly_at_thoughts_answers_and_limits",
        ),
        (BrokenEngine(each(prefix_len=lambda c: 0)), "keeps_the_prefix_verbatim"),
        (BrokenEngine(lambda cs: cs, count=1), "counts_what_it_does"),
    ],
    ids=["order", "batch", "temperature", "boundaries", "prefix", "counters"],
)
def test_an_engine_with_one_thing_wrong_fails_the_check_for_it(
    engine: BrokenEngine, check: str
) -> None:
    (broken,) = (each for each in contract_for("engine") if each.__name__ == check)
    with pytest.raises(AssertionError):
        broken(engine)


class BrokenLearner:
    """The built-in learner with one thing wrong."""

    def __init__(self, wrong: str) -> None:
        self.wrong = wrong

    def start(self, model: Any, keep_reference: bool = False) -> Any:
        self.model = model
        self.inner = Torch().start(model, keep_reference)
        self.num_parameters = self.inner.num_parameters + (self.wrong == "count")
        self.num_trained_parameters = self.inner.num_trained_parameters
        return self

    def update(self, batch: Any, loss: Any) -> Any:
        import torch

        before = {n: p.detach().clone() for n, p in self.model.named_parameters()}
        try:
            update = self.inner.update(batch, loss)
        except Exception:
            if self.wrong == "not finite":
                with torch.no_grad():
                    next(self.model.parameters()).mul_(2)
            raise
        if self.wrong == "nothing":
            self.model.load_state_dict(before)
        if self.wrong == "order":
            with torch.no_grad():
                next(self.model.parameters()).add_(batch.advantages[0])
        return update

    def trains(self, model: Any) -> Any:
        return self.inner.trains(model)

    def weights(self) -> Any:
        return (
            (n, w) for n, w in self.inner.weights() if self.wrong != "weights" or "norm" not in n
        )

    def logprobs(self, batch: Any) -> Any:
        return self.inner.logprobs(batch)

    def save(self, folder: Path) -> None:
        self.inner.save(folder)

    def load(self, folder: Path) -> None:
        if self.wrong == "optimizer":
            from safetensors.torch import load_model

            load_model(self.model, folder / "model.safetensors")
        else:
            self.inner.load(folder)
        if self.wrong == "reference":  # as if the copy were made when a run goes on
            self.inner = Torch().start(self.model, keep_reference=True)


@pytest.mark.parametrize(
    ("wrong", "check"),
    [
        ("count", "knows_how_many_parameters_it_has"),
        ("nothing", "changes_the_parameters_and_says_by_what"),
        ("weights", "yields_every_parameter_under_its_name"),
        ("order", "learns_the_same_in_any_micro_batches_and_order"),
        ("optimizer", "restores_what_it_saved_to_the_last_bit"),
        ("not finite", "refuses_what_is_not_finite_and_changes_nothing"),
        ("reference", "compares_with_the_initial_policy_where_a_loss_needs_it"),
    ],
)
def test_a_learner_with_one_thing_wrong_fails_the_check_for_it(wrong: str, check: str) -> None:
    @dataclasses.dataclass
    class Spec:
        def start(self, model: Any, keep_reference: bool = False) -> Any:
            return BrokenLearner(wrong).start(model, keep_reference)

    (broken,) = (each for each in contract_for("learner") if each.__name__ == check)
    with pytest.raises(AssertionError):
        broken(Spec())


def test_there_is_a_contract_for_every_kind_and_no_other() -> None:
    assert all(len(contract_for(kind)) >= 3 for kind in KINDS)
    with pytest.raises(ValueError, match="no contract for 'tracker': choose reset_selector"):
        contract_for("tracker")


@dataclasses.dataclass
class Pairs:
    """A sampler of two draws a prompt; `evaluate` and `wave` are functions given to it."""

    wave: Callable[..., Any] = sample_wave
    evaluation: Callable[..., dict[str, Any]] = lambda *arguments: {}
    budget: ClassVar[int] = 2

    def sample(self, step: int, prompts: Any, method: Any, session: Any, meter: Any) -> Sampled:
        origins = [(prompt, Prefix(), index) for prompt in prompts for index in range(2)]
        draws = self.wave("draw", step, origins, method, session, meter)
        pairs = [zip(*draws[i : i + 2], strict=True) for i in range(0, len(draws), 2)]
        return Sampled([Group("base", *pair) for pair in pairs], draws)

    def evaluate(self, answers: Any, method: Any, session: Any, meter: Any) -> dict[str, Any]:
        prompts = [rollout.prompt for rollout, _ in answers]
        return self.evaluation(prompts, method, session, meter)


def unmetered(purpose: str, step: int, origins: Any, method: Any, session: Any, meter: Any) -> Any:
    return sample_wave(purpose, step, origins, method, session, Meter(EngineCounters(), 0))


def test_a_sampler_keeps_its_contract() -> None:
    assert failing("sampler", Pairs()) == {}


def test_a_sampler_that_asks_outside_of_the_steps_phases_is_told_how() -> None:
    reasons = failing("sampler", Pairs(wave=unmetered))
    assert list(reasons) == ["charges_to_its_phases_all_that_the_policy_does"]
    assert "through resetrl.waves.sample_wave" in reasons.popitem()[1]


def test_a_sampler_that_seeds_by_the_batch_draws_otherwise_alone() -> None:
    def numbered(purpose: str, step: int, origins: Any, *around: Any) -> Any:
        shifted = [(p, prefix, index + len(origins)) for p, prefix, index in origins]
        return sample_wave(purpose, step, shifted, *around)

    assert list(failing("sampler", Pairs(wave=numbered))) == [
        "samples_the_same_again_and_for_each_prompt_alone"
    ]


def test_a_samplers_evaluation_is_charged_and_gives_numbers() -> None:
    def ask(prompts: Any, *around: Any) -> dict[str, Any]:
        sample_wave("again", 0, [(prompt, Prefix(), 0) for prompt in prompts], *around)
        return {}

    check = "evaluates_with_numbers_in_the_phase_evaluate"
    assert list(failing("sampler", Pairs(evaluation=ask))) == [check]
    words = Pairs(evaluation=lambda *arguments: {"second_turn": "good"})
    assert failing("sampler", words) == {check: "metric 'second_turn' is 'good': give a number"}
