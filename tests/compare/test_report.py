"""The files of a comparison: what they hold, and that none replaces what is not ours."""

import json
import math
from pathlib import Path

import pytest
from simulated import run_data

from resetrl.compare.analysis import Comparison, compare_runs
from resetrl.compare.plots import spread_out
from resetrl.compare.records import CompareError, Question
from resetrl.compare.report import (
    NAMES,
    check_free,
    make_files,
    read_report,
    write_files,
)
from resetrl.run.tracking.files import free_folder


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    runs = [
        run_data(method, seed, (0.4, 0.6, value), params={"hard": hard}, tags={"note": "<b>"})
        for method, value in (("grpo", 0.7), ("<srpo>", 0.9))
        for hard in "246"
        for seed in range(2)
    ]
    runs.append(run_data("grpo", 9, (0.5, math.nan)))
    question = Question(
        by=("method", "hard"), baseline="grpo", threshold=0.8, source="<here>", created="now"
    )
    return compare_runs(runs, question)


@pytest.fixture(scope="module")
def made(comparison: Comparison) -> dict[str, bytes]:
    return make_files(comparison)


def test_every_file_is_made(made: dict[str, bytes]) -> None:
    assert sorted(made) == sorted(NAMES)
    assert made["curves.png"].startswith(b"\x89PNG") and made["curves.pdf"].startswith(b"%PDF")
    assert made["intervals.png"].startswith(b"\x89PNG")


def test_the_page_needs_nothing_else_and_escapes_what_runs_say(made: dict[str, bytes]) -> None:
    page = made["report.html"].decode()
    assert page.count('src="data:image/png;base64,') == 2
    assert "http" not in page and "<script" not in page
    assert "&lt;srpo&gt;" in page and "<srpo>" not in page
    assert "grpo-seed9 (eval/accuracy is not finite)" in page


def test_the_report_gives_back_runs_and_question(
    comparison: Comparison, made: dict[str, bytes], tmp_path: Path
) -> None:
    write_files(tmp_path / "out", made)
    question, runs = read_report(tmp_path / "out")
    assert question == comparison.question
    assert runs[:-1] == list(comparison.runs[:-1])
    assert runs[-1].values[0] == 0.5 and math.isnan(runs[-1].values[1])


def test_made_again_from_its_report_every_file_is_the_same(
    made: dict[str, bytes], tmp_path: Path
) -> None:
    write_files(tmp_path, made)
    question, runs = read_report(tmp_path / "report.json")
    assert make_files(compare_runs(runs, question)) == made


def test_the_report_is_json_for_other_programs(made: dict[str, bytes]) -> None:
    data = json.loads(made["report.json"], parse_constant=lambda name: pytest.fail(name))
    assert data["results"][0]["method"] == "grpo" and data["results"][0]["runs"] == 2
    assert data["excluded"] == [["grpo-seed9", "eval/accuracy is not finite"]]


def test_our_own_files_are_replaced(made: dict[str, bytes], tmp_path: Path) -> None:
    write_files(tmp_path, made)
    (tmp_path / "mine.txt").write_text("stays")
    write_files(tmp_path, made)
    assert (tmp_path / "mine.txt").read_text() == "stays"


def test_a_file_that_was_changed_since_is_kept(made: dict[str, bytes], tmp_path: Path) -> None:
    write_files(tmp_path, made)
    (tmp_path / "table.tex").write_text("my own edit")
    with pytest.raises(CompareError, match=r"holds table.tex, not written .* or changed since"):
        write_files(tmp_path, made)
    assert (tmp_path / "table.tex").read_text() == "my own edit"


def test_a_foreign_file_of_that_name_is_kept(made: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text('{"mine": 1}')
    with pytest.raises(CompareError, match=r"report.json.*nothing was written"):
        write_files(tmp_path, made)
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path: Path) -> None:
    file = tmp_path / "out"
    file.write_text("x")
    with pytest.raises(CompareError, match=f"--out {file} is a file: name a folder"):
        check_free(file)


def test_a_folder_that_cannot_be_made_is_told(made: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(CompareError, match="could not be written"):
        write_files(tmp_path / "file" / "out", made)


def test_a_folder_without_name_is_never_taken_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("comparisons/a")
    assert free_folder(folder) == folder
    (tmp_path / "comparisons" / "a").mkdir(parents=True)
    assert free_folder(folder) == Path("comparisons/a-2")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "does not exist"),
        ("{", "is no report.json of `resetrl compare`"),
        ("[1]", "is no report.json of `resetrl compare`"),
        ('{"format": "resetrl comparison 1"}', "is damaged"),
        ('{"format": "resetrl comparison 1", "question": 3, "runs": []}', "is damaged"),
    ],
)
def test_what_is_no_report_is_told(tmp_path: Path, content: str | None, problem: str) -> None:
    file = tmp_path / "report.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(CompareError, match=problem):
        read_report(file)


@pytest.mark.parametrize(
    ("places", "moved"),
    [
        ([0.0, 5.0], [0.0, 5.0]),
        ([0.0, 0.0, 5.0], [-0.5, 0.5, 5.0]),
        ([5.0, 0.2, 0.0], [5.0, 0.6, -0.4]),
        ([0.0, 0.0, 0.0], [-1.0, 0.0, 1.0]),
        ([0.0, 0.0, 1.0], [-2 / 3, 1 / 3, 4 / 3]),
    ],
)
def test_names_of_curves_are_pushed_apart(places: list[float], moved: list[float]) -> None:
    assert spread_out(places, 1.0) == pytest.approx(moved)
