"""The example plugin: the shipped contract, literal cases, and that resetrl finds it."""

from __future__ import annotations

import pytest
from resetrl_example.selectors import LeastConfident

from resetrl.plugins import load_plugins
from resetrl.testing import ScriptedPolicy, check_reset_selector, make_context, make_rollout

# Three thoughts of 3 (`7*` and the delimiter), 2 and 4 tokens. Mean surprisals 0.4, 0.5 and 2.0;
# surprisals of the first tokens 1.0, 0.1 and 0.0.
SEED = make_rollout(
    ["7*", "6", "\\boxed{3}"],
    logprobs=[-1.0, -0.1, -0.1, -0.1, -0.9, 0.0, -4.0, -4.0, 0.0],
)


@pytest.mark.parametrize("score", ["mean", "first_token"])
@pytest.mark.parametrize("include_last", [False, True])
def test_it_keeps_the_contract_of_reset_selectors(score: str, include_last: bool) -> None:
    check_reset_selector(LeastConfident(score=score, include_last=include_last))


@pytest.mark.parametrize(
    ("selector", "thought"),
    [
        (LeastConfident(), 2),
        (LeastConfident(score="first_token"), 1),
        (LeastConfident(include_last=True), 3),
        (LeastConfident(score="first_token", include_last=True), 1),
    ],
)
def test_it_goes_back_to_the_thought_of_highest_surprisal(
    selector: LeastConfident, thought: int
) -> None:
    (selection,) = selector.select([SEED], make_context())
    assert (selection.thought, selection.status) == (thought, "least_confident")


def test_of_equal_thoughts_it_takes_the_first() -> None:
    seed = make_rollout(["1+1=3", "3+1=4", "\\boxed{4}"])
    assert LeastConfident().select([seed], make_context())[0].thought == 1


def test_an_only_thought_is_chosen_although_it_is_the_last() -> None:
    seed = make_rollout(["\\boxed{4}"])
    assert LeastConfident().select([seed], make_context())[0].thought == 1


def test_it_asks_the_policy_nothing() -> None:
    policy = ScriptedPolicy([])
    LeastConfident().select([SEED], make_context(policy))
    assert policy.requests == []


def test_resetrl_finds_it_through_its_entry_point_with_typed_options() -> None:
    component = load_plugins().get("reset_selector", "least_confident")
    assert component.source.distribution == "resetrl-example"
    assert component.build({"score": "first_token"}) == LeastConfident(score="first_token")
