"""What is computed from resets, on literal ones, and the command on a hand-built run."""

from __future__ import annotations

import csv
import math
import re
import shutil
from pathlib import Path

import pytest
from parity import case
from typer.testing import CliRunner

from resetrl.analysis.command import app
from resetrl.analysis.localization import (
    Reset,
    by_depth,
    by_deviation,
    corrections,
    matched_difference,
    meaningful_before,
    outcome_rates,
    resets_of,
    uniform_rates,
)
from resetrl.errors import ConfigError, ResetrlError
from resetrl.run.rollouts import SavedGroup, write_groups
from resetrl.testing import FakeTask, make_prompt, make_rollout
from resetrl.types import Group, ResetState, Selection, StepRecord, Update, Verdict


def reset(
    chosen: int, first_wrong: int, num_correct: int = 0, uid: str = "p", num_thoughts: int = 4
) -> Reset:
    return Reset(
        uid,
        1,
        chosen,
        first_wrong,
        num_thoughts,
        chosen - 1,
        first_wrong - 1,
        "drawn",
        4,
        num_correct,
    )


# Two exact, one early, one late.
FOUR = [reset(2, 2, 1), reset(3, 3, 0), reset(1, 2, 4), reset(4, 2, 0)]


def test_rates_of_exact_early_late_and_clean_resets() -> None:
    rates = outcome_rates(FOUR)
    assert {name: rate.value for name, rate in rates.items()} == {
        "exact": 0.5,
        "early": 0.25,
        "late": 0.25,
        "clean": 0.75,
    }
    assert (rates["early"].low, rates["early"].high) == pytest.approx((0.04558726, 0.69935816))


def test_a_uniform_choice_in_the_same_seeds_is_the_chance_to_beat() -> None:
    seeds = [reset(1, 1, num_thoughts=2), reset(1, 3, num_thoughts=4)]
    assert uniform_rates(seeds) == {"exact": 0.375, "early": 0.25, "late": 0.375, "clean": 0.625}


def test_the_effective_deviation_equals_the_references() -> None:
    recorded = case("effective_deviation")
    given, expected = recorded["input"], recorded["expected"]
    thoughts = re.findall(r"^Step \d+: (.*)$", given["prompt"], re.MULTILINE)
    for min_words, deviation in ((given["thr"], expected["effective"]), (0, expected["raw"])):
        before = [
            meaningful_before(thoughts, thought, min_words)
            for thought in (given["local_step"], given["frontier_step"])
        ]
        assert before[0] - before[1] == deviation


def test_corrections_are_counted_by_reset_and_right_suffixes_by_deviation() -> None:
    found = corrections(FOUR)
    assert (found.num_clean, found.num_erroneous) == (3, 1)
    assert found.clean is not None and found.clean.value == pytest.approx(2 / 3)
    assert found.erroneous is not None and found.erroneous.value == 0.0
    assert corrections(FOUR[:1]).erroneous is None
    shares = {deviation: (n, e.value) for deviation, (n, e) in by_deviation(FOUR).items()}
    assert shares == {-1: (1, 1.0), 0: (2, 0.125), 2: (1, 0.0)}


def test_depth_is_the_number_of_thoughts_kept() -> None:
    assert {depth: found.num_clean for depth, found in by_depth(FOUR).items()} == {
        0: 1,
        1: 1,
        2: 1,
        3: 0,
    }


def test_equal_depths_are_compared_and_weighted() -> None:
    """Depth 2: 1 of 2 against 0 of 2, weight 1; depth 3: 3 of 3 against 1 of 1, weight 3/4."""
    shallow = [reset(2, 2, 1), reset(2, 2, 0), reset(2, 1, 0), reset(2, 1, 0)]
    deep = [reset(3, 3, 1), reset(3, 4, 2), reset(3, 3, 1), reset(3, 2, 1)]
    only_clean = [reset(1, 1, 0)] * 50
    found = matched_difference([*shallow, *deep, *only_clean])
    assert found is not None
    assert found.value == pytest.approx((0.5 * 1 + 0.0 * 0.75) / 1.75)
    assert math.isnan(found.low)  # too few to say how sure
    assert matched_difference(only_clean) is None


def test_the_interval_of_a_matched_difference_is_over_prompts() -> None:
    resets = [
        reset(2, wrong, int(wrong == 2 and prompt % 2), uid=f"p{prompt}")
        for prompt in range(40)
        for wrong in (1, 2)
    ]
    found = matched_difference(resets)
    assert found is not None and found.value == 0.5
    assert 0.3 < found.low < 0.4 and 0.6 < found.high < 0.7
    # Every reset ten times over makes nothing surer.
    many = matched_difference(resets * 10)
    assert many is not None
    assert (many.low, many.high) == pytest.approx((found.low, found.high))


def saved_group(chosen: int) -> Group:
    """A seed of four thoughts, the second of them wrong, and two suffixes, one of them right."""
    prompt = make_prompt("0+1", "1", "train-0")
    seed = make_rollout(["a", "b!", "c", "\\boxed{9}"], prompt=prompt)
    state = ResetState(seed, Verdict(0.0, False), Selection(chosen, "drawn"))
    suffixes = tuple(make_rollout([f"\\boxed{{{n}}}"], prompt=prompt) for n in (1, 2))
    return Group("reset", suffixes, (Verdict(1.0, True), Verdict(0.0, False)), state)


def test_resets_are_read_from_groups_whose_first_wrong_thought_is_known() -> None:
    saved = SavedGroup(saved_group(3), (1.0, -1.0), first_wrong=2)
    assert resets_of(5, [saved]) == [Reset("train-0", 5, 3, 2, 4, 2, 1, "drawn", 2, 1)]
    assert resets_of(5, [saved], min_words=5)[0].deviation == 0  # no thought has five words
    assert resets_of(5, [SavedGroup(saved_group(3), (1.0, -1.0))]) == []


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for step in (1, 2):
        groups = [saved_group(2), saved_group(3)]
        record = StepRecord(step, groups, [(1.0, -1.0)] * 2, (), Update(0.0, 0.0), {}, {})
        write_groups(tmp_path / "a-run", record, task=FakeTask())
    return tmp_path / "a-run"


def test_the_command_prints_and_writes_tables_and_a_picture(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["localization", str(run), "--out", str(out), "--from-step", "2"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "Where resets go back to" in result.output
    assert "| a-run | 2 | 50.0 [9.5, 90.5] | 0.0 [0.0, 65.8] |" in (
        out / "localization.md"
    ).read_text(encoding="utf-8")
    with (out / "resets.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["run"], row["step"], row["chosen"]) for row in rows] == [
        ("a-run", "2", "2"),
        ("a-run", "2", "3"),
    ]
    assert (out / "localization.png").read_bytes().startswith(b"\x89PNG")


def test_an_earlier_analysis_is_never_written_over(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        CliRunner().invoke(app, ["localization", str(run)], catch_exceptions=False)
    assert sorted(path.name for path in Path("localizations").iterdir()) == ["a-run", "a-run-2"]
    with pytest.raises(ConfigError, match=r"--out localizations/a-run holds localization\.md"):
        arguments = ["localization", str(run), "--out", "localizations/a-run"]
        CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_two_runs_of_one_name_are_both_there(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "sweep" / "a-run"
    shutil.copytree(run, other)
    arguments = ["localization", str(run), str(other), "--out", str(tmp_path / "out")]
    CliRunner().invoke(app, arguments, catch_exceptions=False)
    page = (tmp_path / "out" / "localization.md").read_text(encoding="utf-8")
    assert f"| {run} |" in page and f"| {other} |" in page


def test_a_run_without_known_wrong_thoughts_is_named(run: Path, tmp_path: Path) -> None:
    arguments = ["localization", str(run), "--from-step", "7", "--out", str(tmp_path / "out")]
    with pytest.raises(
        ResetrlError, match="has no reset with a known first wrong thought in its 0"
    ):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
