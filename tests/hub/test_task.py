"""Published data sets as tasks: the whole way from made-up rows in their schemas, offline."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from published import FOLDER
from typer.testing import CliRunner

from resetrl.builtin.math_verifier import Math
from resetrl.builtin.rows import question_key
from resetrl.builtin.verifiers import MultipleChoice, YesNo
from resetrl.errors import ConfigError, DataError
from resetrl.hub.command import app
from resetrl.hub.manifest import read_manifest, shipped_names
from resetrl.hub.task import Hub
from resetrl.plugins import load_plugins
from resetrl.run.compose import compose, flat_dict
from resetrl.testing import check_task
from resetrl.types import Problem

PAPER = {
    "numina_olympiads": (5, 5),
    "acereason_math": (6, 6),
    "math_level5": (4, 4),
    "hmmt_nov_2025": (0, 12),
    "sciknoweval_chemistry": (3, 2),
    "sciknoweval_physics": (3, 2),
    "sciknoweval_biology": (3, 2),
    "sciknoweval_materials": (3, 2),
    "strategyqa": (8, 4),
    "commonsense_qa": (7, 5),
}
"""Problems to train and to evaluate on that the manifests leave of the made-up rows."""


def task(name: str, folder: Path = FOLDER, **options: int) -> Hub:
    return Hub(manifest=name, folder=str(folder), **options)


def copied(name: str, to: Path) -> Path:
    """The made-up rows of a data set where a test may change them, without their pin."""
    folder = to / name
    shutil.copytree(FOLDER / name, folder)
    (folder / "pin.yaml").unlink()
    return folder


@pytest.mark.parametrize("name", PAPER)
def test_every_benchmark_of_the_paper_is_a_task_with_disjoint_problems(name: str) -> None:
    to_train, to_evaluate = PAPER[name]
    mine = task(name)
    held_out = {question_key(problem.question) for problem in mine.problems("eval")}
    assert len(held_out) == to_evaluate
    if not to_train:
        with pytest.raises(DataError, match=f"task {name} has no problem to train on"):
            mine.problems("train")
        return
    trained = {question_key(problem.question) for problem in mine.problems("train")}
    assert len(trained) == to_train and trained.isdisjoint(held_out)
    check_task(mine)


def test_every_manifest_names_a_commit_and_invents_no_hash() -> None:
    assert set(PAPER) < set(shipped_names())
    for name in shipped_names():
        manifest = read_manifest(name, pins=None)
        assert manifest.revision is not None and re.fullmatch("[0-9a-f]{40}", manifest.revision)
        assert manifest.sha256 is None and not manifest.problems


def test_choices_stand_behind_the_question_and_letters_are_references() -> None:
    assert task("commonsense_qa").problems("eval")[0] == Problem(
        "commonsense_qa-00000000000000000000000000000007",
        "Where does one sleep?\nA. desk\nB. road\nC. bed\nD. sink\nE. stove\n\n"
        "Answer with the letter of one choice.",
        "C",
    )


def test_truth_values_become_yes_and_no() -> None:
    problems = task("strategyqa").problems("train")[:2]
    assert [problem.reference for problem in problems] == ["no", "yes"]
    assert problems[0].question == "Could a whale fit in a bathtub?\n\nAnswer yes or no."


def test_answers_are_taken_from_behind_marks_and_out_of_boxes() -> None:
    assert task("gsm8k").problems("train")[0].reference == "7"
    olympiads = {p.reference for purpose in ("train", "eval") for p in _both("numina_olympiads")}
    assert olympiads == {"12", "30", "84", "189", "360", "264", "289", "279", "625", r"\frac{1}{2}"}


def _both(name: str) -> list[Problem]:
    mine = task(name)
    return [*mine.problems("train"), *mine.problems("eval")]


def test_the_manifest_names_the_verifier() -> None:
    assert task("math_level5").verifier() == Math()
    assert task("sciknoweval_physics").verifier() == MultipleChoice()
    assert task("strategyqa").verifier() == YesNo()


def test_a_verifier_that_is_not_installed_is_asked_for_by_its_distribution() -> None:
    if "code" in load_plugins().names("verifier"):
        pytest.skip("resetrl-sandbox is installed")
    with pytest.raises(ConfigError, match="needs the verifier 'code': run `pip install resetrl-sa"):
        task("livecodebench_medium").verifier()


def test_sizes_are_options_and_choose_the_same_problems_whatever_the_order(tmp_path: Path) -> None:
    folder = copied("gsm8k", tmp_path)
    (folder / "main" / "train.jsonl").unlink()
    rows = (FOLDER / "gsm8k" / "main" / "train.jsonl").read_text().splitlines(keepends=True)
    (folder / "main" / "train.jsonl").write_text("".join(reversed(rows)))
    assert main(["pin", "gsm8k", "--folder", str(folder)]) == 0
    sizes = {"train_size": 3, "eval_size": 2}
    first, other = task("gsm8k", **sizes), task("gsm8k", folder, **sizes)
    for purpose, size in (("train", 3), ("eval", 2)):
        chosen = {problem.question for problem in first.problems(purpose)}
        assert len(chosen) == size
        assert chosen == {problem.question for problem in other.problems(purpose)}


def main(arguments: list[str]) -> int:
    return CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code


def test_data_other_than_the_manifest_describes_are_refused_until_they_are_pinned(
    tmp_path: Path,
) -> None:
    folder = copied("gsm8k", tmp_path)
    with pytest.raises(
        DataError, match=r"rows of train is 8, not 7473; bring back .* pin gsm8k --folder /"
    ):
        task("gsm8k", tmp_path).problems("eval")
    assert main(["pin", "gsm8k", "--folder", str(folder)]) == 0
    assert (folder / "pin.yaml").read_text() == (FOLDER / "gsm8k" / "pin.yaml").read_text()
    assert len(task("gsm8k", tmp_path).problems("eval")) == 4
    file = folder / "main" / "test.jsonl"
    file.write_text(file.read_text().replace("pens", "quills"))
    with pytest.raises(DataError, match="sha256 of problems is"):
        task("gsm8k", tmp_path).problems("eval")


def test_a_run_goes_on_with_equal_data_only(tmp_path: Path) -> None:
    folder = copied("strategyqa", tmp_path)
    assert main(["pin", "strategyqa", "--folder", str(folder)]) == 0
    overrides = ["task=strategyqa", f"task.folder={tmp_path}"]
    composed = flat_dict(compose(overrides, load_plugins()))["task"]["sha256"]
    assert len(composed) == 64
    same = Hub("strategyqa", str(tmp_path), sha256=composed)
    assert len(same.problems("eval")) == 4
    (folder / "train.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match="the data of task strategyqa have changed"):
        Hub("strategyqa", str(tmp_path), sha256=composed).problems("eval")


@pytest.mark.parametrize(
    ("name", "file", "old", "new", "message"),
    [
        ("gsm8k", "main/train.jsonl", '"question"', '"q"', r"train\.jsonl:1 has no field 'questi"),
        (
            "gsm8k",
            "main/test.jsonl",
            "#### 34",
            "34",
            r"test\.jsonl:2: the answer \(answer\) is emp",
        ),
        ("gsm8k", "main/test.jsonl", '"}\n', '"\n', r"test\.jsonl:1 is no JSON"),
        ("strategyqa", "test.jsonl", '"b02"', '"b01"', r"test\.jsonl:3 and .*test\.jsonl:2 have "),
        ("commonsense_qa", "train.jsonl", '"D"}', '"F"}', r"train\.jsonl:4: the answer 'F' is no"),
    ],
)
def test_the_line_at_fault_is_named(
    name: str, file: str, old: str, new: str, message: str, tmp_path: Path
) -> None:
    path = copied(name, tmp_path) / file
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataError, match=message):
        task(name, tmp_path).problems("train")


def test_a_folder_without_the_split_is_named(tmp_path: Path) -> None:
    (copied("gsm8k", tmp_path) / "main" / "test.jsonl").unlink()
    with pytest.raises(DataError, match=r"has no file of the split test of openai/gsm8k: put one"):
        task("gsm8k", tmp_path).problems("eval")
    with pytest.raises(DataError, match=r"folder /nowhere does not exist: give task\.folder"):
        Hub("gsm8k", "/nowhere").problems("eval")


def test_a_folder_of_other_data_sets_is_not_read_for_this_one(tmp_path: Path) -> None:
    (tmp_path / "gsm8k").mkdir()
    with pytest.raises(DataError, match=r"other data sets \(gsm8k\) but none named math_level5"):
        Hub(manifest="math_level5", folder=str(tmp_path)).data_folder()


def test_a_data_set_of_ones_own_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "hub: me/mine\nsplits: {train: train}\nwhere: {kind: [sum]}\nquestion: q\nanswer: a.text\n"
        "verifier: exact\ntrain_size: 2\neval_size: 1\n"
    )
    rows = [f'{{"q": "{n} + 1?", "a": {{"text": {n + 1}}}, "kind": "sum"}}\n' for n in range(6)]
    (tmp_path / "rows.jsonl").write_text("".join(rows) + '{"q": "?", "a": {}, "kind": "text"}\n')
    mine = Hub(str(tmp_path / "mine.yaml"), str(tmp_path))
    assert [len(mine.problems(purpose)) for purpose in ("train", "eval")] == [2, 1]
    check_task(mine)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hub: [", r"manifest .* is not readable"),
        ("gsm8k", r"is no mapping"),
        ("hub: a/b\nsplits: {train: x}\nquestion: q\nanswer: a\nverifier: exact\nfoo: 1", "foo"),
        ("hub: a/b\nsplits: {test: x}\nquestion: q\nanswer: a\nverifier: exact", "splits is"),
        ("hub: a/b\nsplits: {train: x}\nquestion: q\nverifier: exact", "give answer, the field"),
        (
            "hub: a/b\nsplits: {train: x, eval: x}\nquestion: q\nanswer: a\nverifier: exact",
            "train and eval cannot be one split",
        ),
        ("hub: a/b\nsplits: {train: x}\nquestion: q\nanswer: a", "[Mm]issing mandatory.*verifier"),
    ],
)
def test_a_manifest_that_is_wrong_is_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message) as error:
        Hub(str(tmp_path / "mine.yaml")).read_manifest()
    assert "mine.yaml" in str(error.value)


def test_programs_of_a_data_set_have_tests_in_place_of_an_answer(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "{hub: me/mine, revision: local, splits: {eval: test}, question: q, verifier: code, "
        "tests: t, entry_point: name}"
    )
    test = {"input": [1], "output": 2, "type": "functional"}
    row = {"q": "Add one.", "t": [test], "name": "add"}
    (tmp_path / "test.jsonl").write_text(json.dumps(row))
    (problem,) = Hub(str(tmp_path / "mine.yaml"), str(tmp_path)).problems("eval")
    assert problem.details == {"tests": [test], "entry_point": "add"}


def test_a_pin_file_holds_figures_alone(tmp_path: Path) -> None:
    (tmp_path / "pin.yaml").write_text("revision: local\nverifier: exact\n")
    with pytest.raises(ConfigError, match="has 'verifier': a pin file holds revision, rows"):
        Hub("gsm8k", str(FOLDER), pin=str(tmp_path / "pin.yaml")).problems("eval")
