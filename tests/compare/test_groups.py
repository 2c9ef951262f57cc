import pytest
from simulated import run_data

from resetrl.compare.groups import Excluded, find_baselines, group_runs, natural, varying
from resetrl.compare.records import CompareError, Question, RunData

HARD = "task.min_hard"


def over_difficulty() -> list[RunData]:
    return [
        run_data(method, seed, params={HARD: hard})
        for method in ("grpo", "srpo")
        for hard in ("2", "10")
        for seed in (0, 1)
    ]


def test_runs_are_grouped_by_all_factors_in_natural_order() -> None:
    found = group_runs(over_difficulty(), Question(by=("method", HARD)))
    assert [group.label for group in found.groups] == ["grpo, 2", "grpo, 10", "srpo, 2", "srpo, 10"]
    assert [run.name for run in found.groups[0].runs] == ["grpo-seed0", "grpo-seed1"]


def test_what_is_swept_but_no_factor_makes_strata() -> None:
    found = group_runs(over_difficulty(), Question())
    assert list(found.groups[0].strata) == [("10",), ("2",)]
    assert found.averaged == {HARD: ("2", "10")}


def test_what_goes_with_the_method_makes_no_strata() -> None:
    runs = [run_data(method, params={"split.name": f"of {method}"}) for method in ("grpo", "srpo")]
    found = group_runs(runs, Question())
    assert [list(group.strata) for group in found.groups] == [[()], [()]]


def test_parameters_that_change_together_are_told_once() -> None:
    runs = [
        run_data(seed=seed, params={"split.name": name, "split.base": name[0]})
        for name in ("1x4", "2x4")
        for seed in (0, 1)
    ]
    assert list(group_runs(runs, Question()).averaged) == ["split.base"]


def test_the_baseline_comes_first_and_all_others_are_compared_with_it() -> None:
    runs = [run_data(method) for method in ("grpo", "oracle", "srpo")]
    found = group_runs(runs, Question(baseline="srpo"))
    assert [group.label for group in found.groups] == ["srpo", "grpo", "oracle"]
    assert {k[0]: base.label for k, base in found.baselines.items()} == {
        "grpo": "srpo",
        "oracle": "srpo",
    }


def test_each_group_is_compared_with_the_baseline_of_its_own_other_factors() -> None:
    found = group_runs(over_difficulty(), Question(by=("method", HARD), baseline="grpo"))
    pairs = {", ".join(values): base.label for values, base in found.baselines.items()}
    assert pairs == {"srpo, 2": "grpo, 2", "srpo, 10": "grpo, 10"}


def test_a_full_baseline_is_compared_with_all() -> None:
    found = group_runs(over_difficulty(), Question(by=("method", HARD), baseline="grpo, 2"))
    assert {base.label for base in found.baselines.values()} == {"grpo, 2"}
    assert len(found.baselines) == 3


def test_a_baseline_may_hold_a_comma_itself() -> None:
    runs = [
        run_data(seed=seed, params={"resets": kind}) for seed, kind in ((0, "[3, 3]"), (1, "[]"))
    ]
    found = group_runs(runs, Question(by=("resets",), baseline="[3, 3]"))
    assert [group.label for group in found.groups] == ["[3, 3]", "[]"]


def test_an_unknown_baseline_is_told_the_groups() -> None:
    with pytest.raises(CompareError, match="--baseline grp is no group: choose grpo; srpo"):
        group_runs([run_data("grpo"), run_data("srpo")], Question(baseline="grp"))


def test_without_baseline_nothing_is_compared() -> None:
    assert find_baselines([], ()) == {}


def test_an_unknown_factor_is_told_those_that_vary() -> None:
    runs = [run_data("grpo"), run_data("srpo", params={HARD: "4"})]
    with pytest.raises(CompareError) as raised:
        group_runs(runs, Question(by=("methd",)))
    assert str(raised.value) == (
        "--by methd is no tag or parameter of these runs: those that differ are "
        "method (grpo, srpo); task.min_hard (4, none)"
    )


def test_a_component_is_a_factor_by_its_kind() -> None:
    runs = [run_data(seed=seed, params={"loss.name": name}) for seed, name in enumerate("ab")]
    found = group_runs(runs, Question(by=("loss",)))
    assert [group.label for group in found.groups] == ["a", "b"]


def test_runs_that_do_not_count_are_named_with_the_reason() -> None:
    runs = [
        run_data("srpo", 0),
        run_data("srpo", 1, status="FAILED"),
        run_data("srpo", 2, values=()),
        run_data("srpo", 3, values=(0.5, float("nan"))),
    ]
    found = group_runs(runs, Question())
    assert [run.name for run in found.groups[0].runs] == ["srpo-seed0"]
    assert found.excluded == (
        Excluded("srpo-seed1", "FAILED"),
        Excluded("srpo-seed2", "has no eval/accuracy"),
        Excluded("srpo-seed3", "eval/accuracy is not finite"),
    )


def test_if_no_run_counts_the_reasons_are_the_error() -> None:
    with pytest.raises(CompareError, match=r"none of the 1 runs .*\(srpo-seed0: KILLED\)"):
        group_runs([run_data(status="KILLED")], Question())


def test_of_runs_with_one_run_seed_the_one_that_went_furthest_counts() -> None:
    short, long = run_data(values=(0.2, 0.4)), run_data(values=(0.2, 0.4, 0.6))
    found = group_runs([long, short], Question())
    assert found.groups[0].runs == (long,)
    assert found.excluded[0].why == "is repeated by srpo-seed0, same run seed"


def test_run_seed_and_store_are_no_factors() -> None:
    runs = [run_data(seed=i, params={"tracking.uri": uri}) for i, uri in enumerate("ab")]
    assert varying(runs) == {}


def test_numbers_in_names_sort_as_numbers() -> None:
    assert sorted(["10x4", "2x4", "1e-4", "0.5"], key=natural) == ["1e-4", "0.5", "2x4", "10x4"]
