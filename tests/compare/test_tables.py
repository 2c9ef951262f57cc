import csv
import io
import math

import pytest
from simulated import run_data

from resetrl.compare.analysis import Comparison, compare_runs
from resetrl.compare.formats import to_csv, to_latex, to_markdown
from resetrl.compare.records import Question
from resetrl.compare.tables import amount, interval, number_format, p_value, pairing, tables
from resetrl.estimate import Estimate


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    runs = [
        run_data(method, seed, (0.4, value + seed / 50))
        for method, value in (("grpo_50%", 0.6), ("a|b", 0.8))
        for seed in range(3)
    ]
    return compare_runs(runs, Question(baseline="grpo_50%", threshold=0.81))


def test_there_is_a_table_for_values_differences_times_and_costs(comparison: Comparison) -> None:
    assert [table.title for table in tables(comparison)] == [
        "Last eval/accuracy",
        "Difference to grpo_50%",
        "Time to eval/accuracy 0.81",
        "Mean cost of a run",
    ]


def test_rows_say_what_was_found(comparison: Comparison) -> None:
    values, differences, times, costs = (table.rows for table in tables(comparison))
    assert [row[:2] for row in values] == [("grpo_50%", "3"), ("a|b", "3")]
    assert values[0][2].startswith("0.620 [0.57")
    assert differences == (("a|b", "+0.200 [+0.200, +0.200]", "0.250", "1.00 [n/a]", "3"),)
    assert times[0] == ("grpo_50%", "0 of 3", "> 20 [> 20, > 20]")
    assert times[1] == ("a|b", "2 of 3", "20 [20, > 20]")
    assert costs[0] == ("grpo_50%", "20", "100", "1,000")


def test_without_baseline_and_threshold_there_are_two_tables() -> None:
    found = compare_runs([run_data()], Question())
    assert [table.title for table in tables(found)] == ["Last eval/accuracy", "Mean cost of a run"]


def test_each_baseline_is_named_if_there_are_several() -> None:
    runs = [
        run_data(method, seed, params={"hard": hard})
        for method in ("grpo", "srpo")
        for hard in "24"
        for seed in range(3)
    ]
    found = compare_runs(runs, Question(by=("method", "hard"), baseline="grpo"))
    table = tables(found)[1]
    assert table.title == "Difference to the baseline"
    assert [row[:3] for row in table.rows] == [("srpo", "2", "grpo, 2"), ("srpo", "4", "grpo, 4")]


def test_fewer_than_four_runs_have_no_percentile_interval_beside_the_means() -> None:
    for num, iqm in ((3, "0.820 [n/a]"), (4, "0.820 [0.820, 0.820]")):
        runs = [run_data("srpo", seed, (0.1, 0.82)) for seed in range(num)]
        found = compare_runs(runs, Question())
        assert tables(found)[0].rows[0][3] == iqm
        assert any("the IQM is the mean" in each.text for each in found.cautions) is (num == 3)


def test_a_label_that_all_factors_share_is_said_once() -> None:
    runs = [
        run_data(method, seed, params={"kind": kind})
        for method, kind in (("grpo", "grpo"), ("srpo", "1x4"))
        for seed in range(3)
    ]
    found = compare_runs(runs, Question(by=("method", "kind"), baseline="grpo"))
    assert [result.group.label for result in found.results] == ["grpo", "srpo, 1x4"]
    assert tables(found)[1].title == "Difference to grpo"


def test_markdown_escapes_what_it_would_read(comparison: Comparison) -> None:
    lines = to_markdown(comparison).splitlines()
    assert lines[2:4] == [
        "| method | runs | mean [95 % interval] | IQM [95 % interval] |",
        "|---|---:|---:|---:|",
    ]
    assert lines[5].startswith(r"| a\|b | 3 | 0.820 [")
    assert any(line.startswith("- **Few pairs**: 3 pairs") for line in lines)


def test_latex_escapes_what_it_would_read(comparison: Comparison) -> None:
    text = to_latex(comparison)
    assert "    grpo\\_50\\% & 3 & 0.620 {\\scriptsize [0.57" in text
    assert "& $+$0.200 {\\scriptsize [$+$0.200, $+$0.200]} &" in text
    assert "0 of 3 & $>$ 20 {\\scriptsize [$>$ 20, $>$ 20]} \\\\" in text
    assert "% No spread: the difference of a|b" in text
    assert text.count("\\begin{tabular}") == text.count("\\bottomrule") == 4


def test_csv_holds_every_number_in_full(comparison: Comparison) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(comparison))))
    assert [row["method"] for row in rows] == ["grpo_50%", "a|b"]
    assert float(rows[1]["difference"]) == pytest.approx(0.2)
    assert (rows[0]["baseline"], rows[1]["baseline"]) == ("", "grpo_50%")
    assert (rows[0]["time"], rows[1]["reached"]) == ("inf", "2")


def test_one_run_has_no_ends() -> None:
    assert interval(Estimate(0.5, math.nan, math.nan), "{:.1f}".format) == "0.5 [n/a]"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (80.0, "80"),
        (6889.0, "6,889"),
        (1_354_000.0, "1.35 M"),
        (1.46e10, "14.6 G"),
        (2.0, "2"),
        (2.345, "2.35"),
        (math.nan, "nan"),
    ],
)
def test_amounts_are_short(value: float, text: str) -> None:
    assert amount(value) == text


def test_a_column_has_one_number_of_decimals() -> None:
    show = number_format([Estimate(12.0, 9.5, 14.0), Estimate(0.5, 0.1, math.inf)], "loss")
    assert (show(12.0), show(0.5)) == ("12.00", "0.50")


@pytest.mark.parametrize(("p", "text"), [(0.0004, "< 0.001"), (0.0625, "0.062"), (math.nan, "n/a")])
def test_p_values_are_short(p: float, text: str) -> None:
    assert p_value(p) == text


@pytest.mark.parametrize(
    ("pairs", "problems", "text"), [(5, 200, "5 x 200"), (5, 0, "5"), (0, 0, "none")]
)
def test_pairs_are_run_seeds_and_problems(pairs: int, problems: int, text: str) -> None:
    assert pairing(pairs, problems) == text
