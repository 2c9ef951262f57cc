import itertools
import random

import pytest
from parity import case, case_ids

from resetrl.advantages import group_advantages
from resetrl.splits import Assignment, GroupSplit, SeedPolicy, assign, draws_wanted

ONE_BY_FOUR = GroupSplit(4, (4,))
TWO_BY_FOUR = GroupSplit(0, (4, 4))
ONE_BY_EIGHT = GroupSplit(0, (8,))
SPLITS = {
    "SRPOAgentLoop": ONE_BY_FOUR,
    "SRPONoMaskAgentLoop": ONE_BY_FOUR,
    "SRPO2x4AgentLoop": TWO_BY_FOUR,
    "SRPO1x8AgentLoop": ONE_BY_EIGHT,
}
REFERENCE = SeedPolicy("reference", max_draws=12, first_wave=1, top_up=1)


def draw(split, policy, outcomes, empty=()):
    """Draw from scripted outcomes (1 right, 0 wrong) until the rules want no more."""
    usable = []
    while wanted := draws_wanted(split, policy, usable):
        for index in range(len(usable), len(usable) + wanted):
            usable.append(not outcomes[index] and index not in empty)
    return usable


@pytest.mark.parametrize("case_id", case_ids("buffer", "parity"))
def test_buffers_equal_the_reference(case_id):
    recorded = case(case_id)
    given, expected = recorded["input"], recorded["expected"]
    split = SPLITS[given["cls"]]
    usable = draw(split, REFERENCE, given["fresh"], given.get("empty", ()))
    plan = assign(split, REFERENCE, usable)

    slots = [f"F{i}" for i in plan.base]
    slots += [f"C{i}" for i in range(sum(plan.reset_sizes))]
    # Where a continuation crashed the reference put a fresh chain into the reset group; here a
    # crash stops the run, so that slot keeps its continuation and only the numbers are compared.
    crashed = [len(plan.base) + i for i in given.get("corr_fail", ())]
    assert [s for i, s in enumerate(slots) if i not in crashed] == [
        s for i, s in enumerate(expected["slots"]) if i not in crashed
    ]
    assert len(usable) == expected["fresh_chains"]
    assert len(plan.seeds) == expected["localizations"]

    chosen = (given["loc"] or [1] * len(plan.seeds))[: len(plan.seeds)]
    prefix_thoughts = [max(thought, 1) - 1 for thought in chosen]
    assert prefix_thoughts == expected["prefix_thoughts"]

    edges = [len(plan.base)]
    for size in plan.reset_sizes:
        edges.append(edges[-1] + size)
    rewards = expected["rewards"]
    groups = [rewards[: edges[0]], *(rewards[a:b] for a, b in itertools.pairwise(edges))]
    advantages = [value for group in groups if group for value in group_advantages(group)]
    assert advantages == pytest.approx(expected["advantages"], abs=1e-6)


def test_the_independent_base_group_is_the_first_draws_whatever_their_outcome():
    policy = SeedPolicy("independent")
    usable = draw(ONE_BY_FOUR, policy, [1, 0, 1, 0, 1, 1, 1, 1])
    assert len(usable) == 4
    assert assign(ONE_BY_FOUR, policy, usable) == Assignment((0, 1, 2, 3), (1,), (4,))


@pytest.mark.parametrize(("choice", "accuracy"), [("independent", 0.5), ("reference", 0.617)])
def test_only_the_reference_conditions_its_base_group_on_outcomes(choice, accuracy):
    """Fair coins: taking the first failure out of the group makes the rest look better."""
    rng = random.Random(0)
    policy = SeedPolicy(choice, max_draws=12, first_wave=1, top_up=1)
    right = []
    for _ in range(5000):
        outcomes = [rng.randint(0, 1) for _ in range(20)]
        usable = draw(ONE_BY_FOUR, policy, outcomes)
        right += [outcomes[i] for i in assign(ONE_BY_FOUR, policy, usable).base]
    assert sum(right) / len(right) == pytest.approx(accuracy, abs=0.01)


def test_a_late_failure_stops_the_drawing_in_its_wave_and_leaves_the_base_group_alone():
    given = case("buf_1x4_late_failure")["input"]
    outcomes = [*given["fresh"], 1, 1, 1]
    independent = draw(ONE_BY_FOUR, SeedPolicy("independent"), outcomes)
    assert len(independent) == 12  # waves of 4, 4 and 4
    plan = assign(ONE_BY_FOUR, SeedPolicy("independent"), independent)
    assert plan == Assignment((0, 1, 2, 3), (8,), (4,))
    assert len(draw(ONE_BY_FOUR, REFERENCE, outcomes)) == 9  # as the reference, one by one


def test_without_a_failure_the_draws_become_one_group_and_none_is_drawn_again():
    usable = draw(ONE_BY_FOUR, REFERENCE, case("buf_1x4_no_failure")["input"]["fresh"])
    assert len(usable) == 12  # the reference threw 8 of them away and drew 16
    assert assign(ONE_BY_FOUR, REFERENCE, usable) == Assignment(tuple(range(8)), (), ())


def test_a_single_failure_of_2x4_is_kept_where_the_reference_loses_it():
    usable = draw(TWO_BY_FOUR, REFERENCE, case("buf_2x4_one_failure_lost")["input"]["fresh"])
    plan = assign(TWO_BY_FOUR, REFERENCE, usable)
    assert plan == Assignment((0, 1, 3, 4), (2,), (4,))


def test_two_reset_groups_go_back_to_two_different_seeds():
    policy = SeedPolicy("independent")
    usable = draw(TWO_BY_FOUR, policy, [0, 1, 0, 1])
    assert assign(TWO_BY_FOUR, policy, usable) == Assignment((), (0, 2), (4, 4))


def test_a_split_of_only_reset_groups_draws_top_up_waves_up_to_the_cap():
    policy = SeedPolicy("independent", max_draws=6, top_up=4)
    usable = draw(ONE_BY_EIGHT, policy, [1] * 20)
    assert len(usable) == 8  # 4, 2 to the cap, then 2 more to fill the one base group of 8
    assert assign(ONE_BY_EIGHT, policy, usable) == Assignment(tuple(range(8)), (), ())


def test_grpo_draws_its_budget_once():
    assert draws_wanted(GroupSplit(8), SeedPolicy(), []) == 8
    assert draws_wanted(GroupSplit(8), SeedPolicy(), [True] * 8) == 0


def test_any_split_at_any_budget():
    split = GroupSplit(2, (3, 5))
    usable = draw(split, SeedPolicy(), [1, 0, 1, *[0] * 8])
    assert len(usable) == 2 + 8
    assert assign(split, SeedPolicy(), usable) == Assignment((0, 1), (1, 3), (3, 5))


def test_a_first_wave_and_a_top_up_have_their_own_least_number_of_draws():
    policy = SeedPolicy(first_wave=3, top_up=5)
    assert draws_wanted(ONE_BY_EIGHT, policy, []) == 3
    assert draws_wanted(ONE_BY_EIGHT, policy, [False] * 3) == 5
    assert draws_wanted(ONE_BY_EIGHT, policy, [False] * 3 + [True]) == 0


@pytest.mark.parametrize(
    ("base", "resets", "message"),
    [
        (1, (), "base size must be 0 or at least 2"),
        (-2, (4,), "base size must be 0 or at least 2"),
        (4, (1,), "every reset size at least 2"),
        (0, (), "give a base group, reset groups, or both"),
    ],
)
def test_a_split_whose_groups_cannot_be_compared_is_refused(base, resets, message):
    with pytest.raises(ValueError, match=message):
        GroupSplit(base, resets)
