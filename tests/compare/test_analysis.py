import math

import pytest
from simulated import run_data

from resetrl.compare.analysis import (
    Comparison,
    Result,
    common_window,
    compare_runs,
    final_value,
    is_share,
)
from resetrl.compare.records import CompareError, Question, RunData

BASE = [run_data("grpo", seed, values=(0.4, 0.6 + seed / 100)) for seed in range(3)]
BETTER = [run_data("srpo", seed, values=(0.4, 0.7 + seed / 50)) for seed in range(3)]


def result_of(comparison: Comparison, label: str) -> Result:
    (found,) = [each for each in comparison.results if each.group.label == label]
    return found


def test_the_last_evaluation_is_the_default() -> None:
    found = compare_runs(BASE + BETTER, Question())
    assert result_of(found, "srpo").values == pytest.approx([0.7, 0.72, 0.74])
    assert result_of(found, "srpo").final.value == pytest.approx(0.72)


@pytest.mark.parametrize(("at", "value"), [("last", 0.5), ("best", 1.0), ("auc", 0.625)])
def test_a_run_has_one_value(at: str, value: float) -> None:
    # Trapezoids between 0, 20 and 40: 20 * 0.5 + 20 * 0.75 over 40
    run = run_data(values=(0.0, 1.0, 0.5))
    assert final_value(run, Question(at=at), (0.0, 40.0)) == value  # type: ignore[arg-type]


def test_the_area_is_taken_where_all_runs_are() -> None:
    runs = [run_data(values=(0.0, 1.0, 0.5)), run_data(seed=1, values=(0.0, 1.0))]
    question = Question(at="auc")
    assert common_window(runs, question) == (0.0, 20.0)
    assert [final_value(run, question, (0.0, 20.0)) for run in runs] == [0.5, 0.5]


def test_an_area_needs_something_in_common() -> None:
    with pytest.raises(CompareError, match="have no part of it in common: choose --at last"):
        common_window([run_data(values=(0.5,))], Question(at="auc"))


def test_a_difference_is_paired_over_run_seeds() -> None:
    found = result_of(compare_runs(BASE + BETTER, Question(baseline="grpo")), "srpo").difference
    assert found is not None
    # 0.10, 0.11, 0.12: s = 0.01, half width 0.01 / sqrt(3) * 4.3027
    assert found.interval.value == pytest.approx(0.11)
    assert found.interval.high - 0.11 == pytest.approx(0.0248, abs=0.001)
    assert (found.num_pairs, found.num_problems, found.p) == (3, 0, 0.25)


def with_answers(method: str, seed: int, answers: tuple[float, ...]) -> RunData:
    mean = sum(answers) / len(answers)
    return run_data(method, seed, values=(0.1, mean), answers=answers)


ANSWERED = [
    with_answers("grpo", 0, (0, 0, 1, 0)),
    with_answers("grpo", 1, (0, 0, 1, 1)),
    with_answers("srpo", 0, (1, 0, 1, 1)),
    with_answers("srpo", 1, (1, 1, 1, 0)),
]


def test_a_difference_is_paired_over_problems_where_answers_are_known() -> None:
    found = result_of(compare_runs(ANSWERED, Question(baseline="grpo")), "srpo").difference
    assert found is not None
    assert (found.num_pairs, found.num_problems) == (2, 4)
    assert found.interval.value == 0.375


def test_answers_that_do_not_give_the_metric_are_not_used() -> None:
    wrong = run_data("srpo", 1, values=(0.1, 0.9), answers=(1, 1, 1, 0))
    found = result_of(
        compare_runs([*ANSWERED[:3], wrong], Question(baseline="grpo")), "srpo"
    ).difference
    assert found is not None and found.num_problems == 0


def test_other_run_seeds_are_not_paired() -> None:
    others = [run_data("srpo", seed + 5, values=(0.4, 0.9)) for seed in range(3)]
    found = result_of(compare_runs(BASE + others, Question(baseline="grpo")), "srpo").difference
    assert found is not None and found.num_pairs == 0
    assert found.interval.value == pytest.approx(0.29)


def test_groups_of_other_strata_are_not_paired() -> None:
    others = [run_data("srpo", s, params={"split": str(s)}, values=(0.1, 0.9)) for s in range(3)]
    found = result_of(compare_runs(BASE + others, Question(baseline="grpo")), "srpo").difference
    assert found is not None and found.num_pairs == 0


def test_holm_corrects_over_all_comparisons() -> None:
    third = [run_data("rrpo", seed, values=(0.4, 0.5 + seed / 30)) for seed in range(3)]
    found = compare_runs(BASE + BETTER + third, Question(baseline="grpo"))
    assert [each.difference.p_holm for each in found.results if each.difference] == [0.5, 0.5]


def test_an_accuracy_stays_within_0_and_1() -> None:
    runs = [run_data(seed=seed, values=(0.5, value)) for seed, value in enumerate((0.9, 1.0))]
    final = compare_runs(runs, Question()).results[0].final
    assert (final.low, final.high) == (pytest.approx(0.315, abs=0.02), 1.0)
    assert is_share("eval/accuracy") and not is_share("eval/reward")


def test_times_to_the_threshold_keep_runs_that_never_arrive() -> None:
    runs = [
        run_data(seed=0, values=(0.1, 0.9, 0.9)),
        run_data(seed=1, values=(0.1, 0.2, 0.9)),
        run_data(seed=2, values=(0.1, 0.2, 0.3)),
    ]
    arrivals = compare_runs(runs, Question(threshold=0.8)).results[0].arrivals
    assert arrivals is not None
    assert (arrivals.num_reached, arrivals.median.value, arrivals.watched) == (2, 40.0, 40.0)


def test_a_curve_stands_at_the_evaluations_if_all_runs_share_them() -> None:
    curve = compare_runs(BASE, Question()).results[0].curve
    assert curve.xs == (0.0, 20.0)
    assert curve.mean == pytest.approx((0.4, 0.61))


def test_a_curve_ends_with_its_shortest_run() -> None:
    runs = [run_data(seed=0, values=(0.0, 1.0)), run_data(seed=1, values=(0.0, 1.0, 1.0))]
    curve = compare_runs(runs, Question()).results[0].curve
    assert (curve.xs[0], curve.xs[-1], len(curve.xs)) == (0.0, 20.0, 101)
    assert curve.mean[50] == pytest.approx(0.5)


def test_costs_are_means_of_runs_that_all_have_them() -> None:
    runs = [run_data(seed=0, tokens=100.0), run_data(seed=1, tokens=300.0)]
    costs = compare_runs(runs, Question()).results[0].costs
    assert costs == {"step": 40.0, "rollouts": 100.0, "generated_tokens": 200.0}


def test_one_run_of_each_is_compared_without_pretending() -> None:
    found = compare_runs([BASE[0], BETTER[0]], Question(baseline="grpo"))
    difference = found.results[1].difference
    assert difference is not None
    assert math.isnan(difference.interval.low) and math.isnan(difference.p)
