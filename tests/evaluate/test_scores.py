import dataclasses

import pytest
from rich.console import Console

from resetrl.evaluate.answers import Answer, AnsweredProblem
from resetrl.evaluate.config import EvalConfig
from resetrl.evaluate.evaluation_report import metrics, print_scores, results
from resetrl.evaluate.scores import mean_scores, score_task
from resetrl.run.config import SamplingConfig


def answer(extracted, correct, tokens=10, thoughts=2, fragments=0, stop="answer"):
    return Answer("...", extracted, correct, float(correct), tokens, thoughts, fragments, stop)


RIGHT, WRONG = answer("7", True), answer("8", False)
MISSING = answer(None, False, tokens=40, thoughts=4, fragments=3, stop="budget")


def problem(number, greedy, *samples):
    return AnsweredProblem(f"p{number}", f"question {number}", "7", greedy, samples, 0.5)


PROBLEMS = [
    problem(0, RIGHT, RIGHT, RIGHT, WRONG, RIGHT),
    problem(1, WRONG, WRONG, RIGHT, WRONG, WRONG),
    problem(2, MISSING, MISSING, MISSING, MISSING, MISSING),
    problem(3, RIGHT, RIGHT, MISSING, MISSING, MISSING),
]


def test_the_scores_of_a_task():
    scores = score_task("sums", PROBLEMS, [1, 2, 4], 0).scores
    assert {name: estimate.value for name, estimate in scores.items()} == pytest.approx(
        {
            "accuracy": 2 / 4,
            "reward": 2 / 4,
            "pass@1": (3 / 4 + 1 / 4 + 0 + 1 / 4) / 4,
            "pass@2": (1 + 1 / 2 + 0 + 1 / 2) / 4,
            "pass@4": 3 / 4,
            "maj@2": 2 / 4,  # of the first two: right, a tie that a wrong one opens, none, right
            "maj@4": 2 / 4,
        }
    )
    assert (scores["accuracy"].low, scores["accuracy"].high) == pytest.approx(
        (0.150, 0.850), abs=1e-3
    )
    assert all(estimate.low <= estimate.value <= estimate.high for estimate in scores.values())


def test_completions_are_described_greedy_and_sampled_ones_apart():
    task = score_task("sums", PROBLEMS, [1], 0)
    assert task.shape == pytest.approx(
        {
            "greedy/tokens": (10 + 10 + 40 + 10) / 4,
            "greedy/thoughts": (2 + 2 + 4 + 2) / 4,
            "greedy/fragments": 3 / 10,  # of all thoughts
            "greedy/missing": 1 / 4,
            "greedy/verifier_errors": 0.0,
            "greedy/stop/answer": 3 / 4,
            "greedy/stop/budget": 1 / 4,
            "sampled/tokens": (9 * 10 + 7 * 40) / 16,
            "sampled/thoughts": (9 * 2 + 7 * 4) / 16,
            "sampled/fragments": 21 / 46,
            "sampled/missing": 7 / 16,
            "sampled/verifier_errors": 0.0,
            "sampled/stop/answer": 9 / 16,
            "sampled/stop/budget": 7 / 16,
        }
    )
    assert (task.num_problems, task.generated_tokens, task.seconds) == (4, 70 + 370, 2.0)


def test_answers_the_verifier_failed_on_are_counted_and_wrong(capsys):
    failed = dataclasses.replace(WRONG, extracted=None, error="timed out")
    task = score_task("sums", [problem(0, RIGHT), problem(1, failed)], [], 0)
    assert task.shape["greedy/verifier_errors"] == 0.5
    assert task.scores["accuracy"].value == 0.5
    print_scores([task], task.scores, Console(width=200))
    assert "The verifier failed on 50.0% of the completions of sums" in capsys.readouterr().out


def test_without_samples_there_is_the_greedy_score_alone():
    greedy = [problem(0, RIGHT), problem(1, WRONG)]
    task = score_task("sums", greedy, [], 0)
    assert list(task.scores) == ["accuracy", "reward"]
    assert not any(name.startswith("sampled") for name in task.shape)


def test_every_task_has_the_same_weight_in_the_mean():
    mean = mean_scores([PROBLEMS, [problem(4, RIGHT, WRONG, WRONG, WRONG, WRONG)] * 2], [1], 0)
    assert mean["accuracy"].value == pytest.approx((1 / 2 + 1) / 2)
    assert mean["pass@1"].value == pytest.approx((5 / 16 + 0) / 2)


def test_the_values_of_k_are_powers_of_two_unless_given():
    assert EvalConfig(samples=8).ks == [1, 2, 4, 8]
    assert EvalConfig(samples=6).ks == [1, 2, 4, 6]
    assert EvalConfig(samples=1).ks == [1]
    assert EvalConfig(samples=0).ks == []
    assert EvalConfig(samples=6, k=[5, 1]).ks == [1, 5]


def test_greedy_sampling_is_refused_unless_there_is_nothing_to_sample():
    with pytest.raises(Exception, match=r"sampling\.temperature is 0"):
        EvalConfig(samples=2, sampling=SamplingConfig(0.0))
    assert EvalConfig(samples=0, sampling=SamplingConfig(0.0)).samples == 0


def test_results_hold_every_figure_and_every_problem():
    config = EvalConfig(samples=4, task={"name": "sums"})
    task = score_task("sums", PROBLEMS, [1], 0)
    made = results(config, [task], task.scores, {"sums": PROBLEMS})
    assert made.summary["tasks"]["sums"]["scores"]["accuracy"]["value"] == 0.5
    assert [(row["task"], row["score"]) for row in made.rows] == [
        ("sums", "accuracy"),
        ("sums", "reward"),
        ("sums", "pass@1"),
    ]
    first = made.table[0]
    assert (first["uid"], first["correct"], first["correct_samples"]) == ("p0", True, 3)
    assert made.table[3]["missing_samples"] == 3


def test_metrics_are_those_of_the_mean_and_of_each_task():
    task = score_task("sums", PROBLEMS, [1], 0)
    flat = metrics([task], task.scores)
    assert flat["eval/accuracy"] == flat["eval/sums/accuracy"] == 0.5
    assert flat["eval/accuracy_low"] == pytest.approx(0.150, abs=1e-3)
    assert flat["eval/sums/greedy/missing"] == 0.25
    assert flat["eval/generated_tokens"] == 440


def test_a_figure_without_an_interval_is_tracked_without_one():
    task = score_task("sums", PROBLEMS[:1], [1], 0)
    flat = metrics([task], task.scores)
    assert flat["eval/pass@1"] == 0.75
    assert "eval/pass@1_low" not in flat
    summary = results(EvalConfig(task={"name": "sums"}), [task], task.scores, {"sums": PROBLEMS})
    assert summary.summary["mean"]["pass@1"] == {"value": 0.75, "low": None, "high": None}
