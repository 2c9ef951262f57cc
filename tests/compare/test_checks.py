"""What makes a comparison doubtful is said, each by its title; a clean one says nothing."""

import json

import pytest
from simulated import run_data

from resetrl.compare.analysis import compare_runs
from resetrl.compare.checks import plugin_versions
from resetrl.compare.records import Question, RunData

GRPO = [run_data("grpo", seed, values=(0.4, 0.6 + seed / 100)) for seed in range(6)]
SRPO = [run_data("srpo", seed, values=(0.4, 0.7 + seed / 50)) for seed in range(6)]


def said(runs: list[RunData], title: str, question: Question | None = None) -> str:
    """The text of the caution with a title, "" if there is none."""
    cautions = compare_runs(runs, question or Question(baseline="grpo")).cautions
    return "; ".join(each.text for each in cautions if each.title == title)


def tagged(runs: list[RunData], **tags: str) -> list[RunData]:
    return [
        run_data(run.tags["method"], int(run.tags["seed"]), run.values, tags=tags) for run in runs
    ]


def test_a_clean_comparison_needs_no_caution() -> None:
    assert compare_runs(GRPO + SRPO, Question(baseline="grpo")).cautions == ()


def test_runs_left_out_are_named() -> None:
    failed = run_data("srpo", 6, status="FAILED")
    assert said([*GRPO, *SRPO, failed], "Left out") == "1 run: srpo-seed6 (FAILED)"


def test_fewer_than_three_runs_are_few() -> None:
    text = said(GRPO + SRPO[:2], "Few runs")
    assert text.startswith("2 of srpo: with fewer than 3 run seeds")


def test_runs_that_are_all_alike_are_no_certainty() -> None:
    alike = [run_data("srpo", seed, values=(0.4, 0.9)) for seed in range(6)]
    assert said(GRPO + alike, "No spread").startswith("srpo: runs that are all alike")


def test_unequal_run_seeds_are_listed() -> None:
    assert said(GRPO + SRPO[1:3] + SRPO[5:], "Unequal run seeds") == "grpo: 0-5; srpo: 1-2, 5"


def test_what_is_averaged_over_is_named() -> None:
    runs = [run_data("srpo", seed, params={"learner.lr": lr}) for lr in "12" for seed in range(3)]
    assert said(runs, "Averaged over", Question()).startswith("learner.lr (1, 2):")


def test_groups_that_cover_different_strata_are_told() -> None:
    harder = [
        run_data("srpo", seed, params={"task.min_hard": hard}) for hard in "24" for seed in range(3)
    ]
    easy = [run_data("grpo", seed, params={"task.min_hard": "2"}) for seed in range(3)]
    text = said(easy + harder, "Different strata")
    assert text.endswith("the same values of task.min_hard: grpo: 2; srpo: 2, 4")


def test_unequal_steps_are_told() -> None:
    longer = [run_data("srpo", seed, values=(0.4, 0.6, 0.8 + seed / 50)) for seed in range(6)]
    text = said(GRPO + longer, "Unequal budgets")
    assert text == "last evaluated after step grpo: 20; srpo: 40"


def test_unequal_totals_of_the_ledger_are_told_with_the_way_out() -> None:
    dear = [run_data("srpo", seed, (0.4, 0.7 + seed / 50), tokens=1500.0) for seed in range(6)]
    assert said(GRPO + dear, "Unequal cost") == (
        "mean totals of a run: generated tokens 1.5 times (srpo against grpo). "
        "--x generated_tokens --at auc compares at equal cost"
    )


def test_different_evaluation_sets_are_told() -> None:
    text = said(GRPO + tagged(SRPO, eval_set="e2"), "Different evaluation sets")
    assert text == "e1 (6 runs), e2 (6 runs): values are not comparable"


def test_a_task_that_is_a_factor_may_have_its_own_evaluation_set() -> None:
    runs = [
        run_data("srpo", seed, (0.4, 0.7), params={"task.min_hard": hard}, tags={"eval_set": hard})
        for hard in "24"
        for seed in range(3)
    ]
    question = Question(by=("method", "task.min_hard"))
    assert said(runs, "Different evaluation sets", question) == ""


def test_runs_without_the_tag_of_the_evaluation_set_are_tolerated_and_told() -> None:
    text = said(GRPO + tagged(SRPO, eval_set=""), "Evaluation sets not checked")
    assert text.startswith("12 runs do not tell which problems")


@pytest.mark.parametrize(
    ("tag", "value", "title", "text"),
    [
        ("git_commit", "b" * 40, "Different code", "bbbbbbbbbbbb (6 runs), unknown (6 runs)"),
        ("version.resetrl", "0.2.0", "Different versions", "0.2.0 (6 runs), unknown (6 runs)"),
        ("git_dirty", "true", "Uncommitted code", "6 of 12 runs had changes"),
    ],
)
def test_different_code_is_told(tag: str, value: str, title: str, text: str) -> None:
    assert text in said(GRPO + tagged(SRPO, **{tag: value}), title)


def test_the_same_code_at_other_commits_is_the_same() -> None:
    runs = tagged(GRPO, code="c1", git_commit="a" * 40) + tagged(SRPO, code="c1")
    assert said(runs, "Different code") == ""


def test_other_code_is_told_by_its_hash() -> None:
    runs = tagged(GRPO, code="c1") + tagged(SRPO, code="c2")
    assert said(runs, "Different code").startswith("hashes c1 (6 runs), c2 (6 runs); git commits")


def manifest(sha256: str) -> str:
    return json.dumps([{"plugin": "mine", "version": "1.0", "sha256": sha256}])


def test_different_plugins_are_told() -> None:
    runs = tagged(GRPO, plugins=manifest("a" * 64)) + tagged(SRPO, plugins=manifest("b" * 64))
    assert said(runs, "Different plugins") == "mine (1.0 aaaaaaaa, 1.0 bbbbbbbb)"


def test_a_manifest_that_was_cut_is_compared_as_text() -> None:
    assert plugin_versions({"plugins": '[{"plugin": "mi ... [cut'}) == {
        "manifest": '[{"plugin": "mi ... [cut'
    }


def test_pairs_that_are_missing_are_told() -> None:
    assert "srpo: 5 of 6" in said(GRPO[:5] + SRPO, "Not all paired")
    others = [run_data("srpo", seed + 9, run.values) for seed, run in enumerate(SRPO)]
    assert said(GRPO + others, "Not all paired").startswith("srpo shares no run seed")


def test_the_floor_of_p_is_told_with_the_number_of_run_seeds_that_lifts_it() -> None:
    assert said(GRPO[:5] + SRPO[:5], "Few pairs") == (
        "5 pairs cannot give a p below 0.0625 before correction: read the intervals, or run 6 "
        "run seeds"
    )


def test_the_best_evaluation_flatters() -> None:
    text = said(GRPO + SRPO, "Best evaluation", Question(at="best"))
    assert text.startswith("the best of several evaluations is chosen on the problems")
