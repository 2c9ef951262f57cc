import pytest
from parity import case, case_ids

from resetrl.advantages import binarise, group_advantages


@pytest.mark.parametrize("case_id", case_ids("advantage", "parity"))
def test_advantages_equal_the_reference(case_id):
    recorded = case(case_id)
    rewards, expected = recorded["input"]["rewards"], recorded["expected"]["advantages"]
    scale = "sample_std" if case_id.startswith("adv_verl") else "population_std"
    groups = [rewards[:4], rewards[4:]] if recorded["input"].get("has_group2") else [rewards]
    advantages = [value for group in groups for value in group_advantages(group, scale)]
    assert advantages == pytest.approx(expected, abs=1e-6)


def test_rewards_that_do_not_differ_give_exactly_zero():
    assert group_advantages([0.1] * 8) == [0.0] * 8
    assert group_advantages([0.1] * 8, "sample_std") == [0.0] * 8


def test_mean_only_keeps_the_scale_of_rewards():
    assert group_advantages([1, 0, 0, 0], "mean_only") == [0.75, -0.25, -0.25, -0.25]


def test_none_is_the_reward_itself():
    assert group_advantages([0.5, 1], "none") == [0.5, 1.0]


def test_an_unknown_scale_is_named_with_the_choices():
    with pytest.raises(ValueError, match="'std' is unknown: choose population_std, sample_std"):
        group_advantages([1, 0], "std")


def test_binarised_rewards_are_one_only_where_all_is_right():
    assert binarise([1.0, 0.99, 0.0]) == [1.0, 0.0, 0.0]
