"""Problems from files: fields, held-out shares, filters, and what is wrong with a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from parity import case

from resetrl.builtin.local import Local, sha256_of
from resetrl.builtin.references import is_verifiable, mended
from resetrl.builtin.verifiers import MultipleChoice
from resetrl.errors import ConfigError, DataError
from resetrl.plugins import load_plugins
from resetrl.run.compose import compose, config_hash, flat_dict, to_run_config
from resetrl.testing import check_task
from resetrl.types import Problem


def jsonl(path: Path, *rows: Mapping[str, object]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def sums(count: int, start: int = 0) -> list[dict[str, object]]:
    return [{"question": f"{n} + 1?", "answer": n + 1} for n in range(start, start + count)]


def two_files(folder: Path, *rows: Mapping[str, object], **options: Any) -> Local:
    """A task of these training problems and one evaluation problem."""
    file = jsonl(folder / "train.jsonl", *rows)
    eval_file = jsonl(folder / "test.jsonl", *sums(1, start=1000))
    return Local(file=file, eval_file=eval_file, **options)


def test_a_share_of_one_file_is_held_out_whatever_else_is_in_the_file(tmp_path: Path) -> None:
    task = Local(file=jsonl(tmp_path / "a.jsonl", *sums(200)))
    held_out = {problem.question for problem in task.problems("eval")}
    assert len(held_out) == 56  # 40 are to be expected, give or take 11
    assert len(task.problems("train")) == 200 - len(held_out)
    longer = Local(file=jsonl(tmp_path / "b.jsonl", *sums(400)))
    assert held_out <= {problem.question for problem in longer.problems("eval")}
    check_task(task)


def test_fields_are_named_also_within_fields(tmp_path: Path) -> None:
    row = {"key": 7, "problem": {"text": " 2+2? "}, "solution": "so \\boxed{4}, see \\boxed{2^2}."}
    task = two_files(tmp_path, row, question="problem.text", answer="solution", id="key")
    jsonl(tmp_path / "test.jsonl", {**row, "key": 8, "problem": {"text": "2+3?"}})
    assert task.problems("train") == [Problem("train-7", "2+2?", "2^2")]
    assert task.problems("eval") == [Problem("test-8", "2+3?", "2^2")]


def test_the_answer_may_stand_behind_a_mark(tmp_path: Path) -> None:
    row = {"question": "2+2?", "answer": "two and two #### is\n#### 4"}
    file = jsonl(tmp_path / "train.jsonl", row)
    eval_file = jsonl(tmp_path / "test.jsonl", {"question": "1+1?", "answer": "#### 2"})
    task = Local(file=file, eval_file=eval_file, answer_after="####")
    assert [problem.reference for problem in task.problems("train")] == ["4"]


def test_a_parquet_file_gives_the_same_problems(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    rows = [{"question": f"{n}?", "extra": {"answer": str(n)}} for n in range(50)]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "p.parquet")
    (tmp_path / "q").mkdir()
    jsonl(tmp_path / "q" / "p.jsonl", *rows)
    first = Local(file=str(tmp_path / "p.parquet"), answer="extra.answer")
    other = Local(file=str(tmp_path / "q" / "p.jsonl"), answer="extra.answer")
    assert first.problems("train") == other.problems("train")
    with pytest.raises(DataError, match=r"p\.parquet row 1 has no field 'answer': its fields are "):
        Local(file=str(tmp_path / "p.parquet")).problems("train")


def test_the_task_names_its_verifier_and_the_run_may_name_another(tmp_path: Path) -> None:
    assert Local(verifier_name="multiple_choice").verifier() == MultipleChoice()


@pytest.mark.parametrize(
    ("line", "options", "message"),
    [
        ('{"question": "2?"', {}, r"train\.jsonl:2 is no JSON \(Expecting ',' delimiter"),
        ("[1, 2]", {}, r"train\.jsonl:2 is list, no object: write \{field: value, \.\.\.\}"),
        (
            '{"question": "2?"}',
            {},
            r"train\.jsonl:2 has no field 'answer': its fields are question",
        ),
        ('{"question": "2?", "answer": " "}', {}, r"train\.jsonl:2: the answer is empty"),
        ('{"question": "2?", "answer": null}', {}, r"train\.jsonl:2: the answer is empty"),
        ('{"question": "", "answer": "1"}', {}, r"train\.jsonl:2: the question is empty"),
        ('{"question": "2?", "answer": [1]}', {}, r"2: the field 'answer' is list, no text"),
        ('{"question": "2?", "answer": "\\\\boxed{1"}', {}, r"train\.jsonl:2: the answer is empty"),
        ('{"question": "2?", "answer": "1"}', {"id": "key"}, r"2 has no field 'key'.*task\.id="),
        (
            '{"question": "2?", "answer": "1", "key": 1}',
            {"id": "key"},
            r"train\.jsonl:2 and .*train\.jsonl:1 have the same id 'train-1'",
        ),
        (
            '{"question": "1000 +  1?", "answer": "1"}',
            {},
            r"test\.jsonl:1 and .*train\.jsonl:2 ask the same question",
        ),
        ('{"question": "2?", "answer": "1"}', {"answer_after": "####"}, "answer has no '####'"),
    ],
)
def test_the_line_at_fault_is_named(
    line: str, options: dict[str, str], message: str, tmp_path: Path
) -> None:
    first = {"question": "1?", "answer": "#### 1", "key": 1}
    task = two_files(tmp_path, first, **options)
    (tmp_path / "train.jsonl").open("a", encoding="utf-8").write(line + "\n")
    if "id" in options:
        jsonl(tmp_path / "test.jsonl", {"question": "3?", "answer": "3", "key": 3})
    with pytest.raises(DataError, match=message):
        task.problems("train")


PRINTS = {"input": "1 2\n", "output": "3\n", "type": "stdin"}
RETURNS = {"input": [[3, 1], True], "output": [3, 1], "type": "functional"}


def programs(folder: Path, **fields: object) -> Local:
    """A task of one program to train on, with these fields, and one to evaluate on."""
    file = jsonl(folder / "train.jsonl", {"question": "Sort.", **fields})
    eval_file = jsonl(folder / "test.jsonl", {"question": "Add.", "tests": [PRINTS]})
    return Local(file=file, eval_file=eval_file, tests="tests", entry_point="function")


def test_programs_have_tests_in_place_of_an_answer(tmp_path: Path) -> None:
    for tests in ([RETURNS], json.dumps([RETURNS]), [json.dumps(RETURNS)]):
        task = programs(tmp_path, tests=tests, function="sort_list")
        details = {"tests": [RETURNS], "entry_point": "sort_list"}
        assert task.problems("train") == [Problem("train-1", "Sort.", "", details)]
        assert task.problems("eval") == [Problem("test-1", "Add.", "", {"tests": [PRINTS]})]


def test_programs_are_judged_by_the_verifier_code(tmp_path: Path) -> None:
    task = programs(tmp_path, tests=[PRINTS])
    if "code" not in load_plugins().names("verifier"):
        with pytest.raises(ConfigError, match="task local needs the verifier 'code': run `pip ins"):
            task.verifier()
        return
    assert type(task.verifier()).__name__ == "Code"
    check_task(task)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, r"train\.jsonl:1 has no field 'tests': its fields are question; say which .* tests="),
        ({"tests": "[{"}, r"train\.jsonl:1: tests is no JSON \("),
        ({"tests": 7}, r"train\.jsonl:1: tests is int, no list"),
        ({"tests": []}, r"train\.jsonl:1 has no test case"),
        ({"tests": [PRINTS, "1 2"]}, r"train\.jsonl:1: test 2 is no JSON \("),
        ({"tests": [7]}, r"train\.jsonl:1: test 1 is int, no object"),
        ({"tests": [{"input": ""}]}, r"train\.jsonl:1: test 1 has no 'output': write input, ou"),
        ({"tests": [{**PRINTS, "type": "x"}]}, r"1: test 1 has type 'x': choose stdin or funct"),
        ({"tests": [{**PRINTS, "output": 3}]}, r"1: test 1: input and output of type stdin must"),
        ({"tests": [{**RETURNS, "input": 3}]}, r"1: test 1: the input of type functional is the"),
        ({"tests": [RETURNS]}, r"train\.jsonl:1 has no field 'function'.* entry_point="),
        ({"tests": [RETURNS], "function": "a b"}, r"train\.jsonl:1: function names no function"),
    ],
)
def test_the_test_case_at_fault_is_named(
    fields: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        programs(tmp_path, **fields).problems("train")


def test_a_functional_test_needs_a_field_with_the_functions_name(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "a.jsonl", {"question": "Sort.", "tests": [RETURNS]})
    with pytest.raises(DataError, match=r"a\.jsonl:1 has a functional test: name the field"):
        Local(file=file, tests="tests").problems("train")


def test_files_that_are_missing_or_no_data_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.jsonl does not exist: give task\.file"):
        Local(file=str(tmp_path / "nowhere.jsonl")).problems("train")
    (tmp_path / "no.parquet").write_text("text")
    with pytest.raises(DataError, match=r"no\.parquet is not readable: "):
        Local(file=str(tmp_path / "no.parquet")).problems("train")
    (tmp_path / "latin.jsonl").write_bytes('{"question": "é?"}'.encode("latin-1"))
    with pytest.raises(DataError, match=r"latin\.jsonl:1 is no JSON"):
        Local(file=str(tmp_path / "latin.jsonl")).problems("train")
    with pytest.raises(DataError, match="leaves no problem to evaluate on"):
        Local(file=jsonl(tmp_path / "one.jsonl", *sums(1)), eval_share=1e-9).problems("train")


def test_the_filter_mends_answers_and_leaves_out_what_is_not_plain(tmp_path: Path) -> None:
    answers = ["frac{1}{2}", "5 cm", "\\text{Monday}", "-3", "B"]
    rows = [{"question": f"{n}?", "answer": answer} for n, answer in enumerate(answers)]
    task = two_files(tmp_path, *rows, only_verifiable=True)
    kept = [(problem.uid, problem.reference) for problem in task.problems("train")]
    assert kept == [("train-1", "\\frac{1}{2}"), ("train-4", "-3"), ("train-5", "B")]


def test_answers_are_filtered_and_mended_as_in_the_reference() -> None:
    for name, function in (
        ("verifiable_answer_table", is_verifiable),
        ("fix_answer_table", mended),
    ):
        recorded = case(name)
        assert [function(answer) for answer in recorded["input"]] == recorded["expected"]


def test_the_data_are_part_of_a_runs_identity(tmp_path: Path) -> None:
    registry = load_plugins()
    file = jsonl(tmp_path / "a.jsonl", *sums(20))
    overrides = ["task=local", f"task.file={file}"]
    config = compose(overrides, registry)
    pinned = flat_dict(config)["task"]["sha256"]
    assert pinned == sha256_of(file) and len(pinned) == 64
    assert to_run_config(config).task.sha256 == pinned
    jsonl(tmp_path / "a.jsonl", *sums(21))
    assert config_hash(compose(overrides, registry)) != config_hash(
        compose([*overrides, f"task.sha256={pinned}"], registry)
    )
    with pytest.raises(DataError, match=r"a\.jsonl has changed: task\.sha256 is .*start a new run"):
        Local(file=file, sha256=pinned).problems("train")


def test_two_files_have_one_hash_and_a_missing_one_none(tmp_path: Path) -> None:
    first, second = (jsonl(tmp_path / name, *sums(1)) for name in ("a.jsonl", "b.jsonl"))
    assert sha256_of(first) == sha256_of(second, "") != sha256_of(first, second)
    assert sha256_of(first, "nowhere.jsonl") == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"file": ""}, "file is empty: give one"),
        ({"eval_share": 1.0}, "eval_share is 1.0: choose one between 0 and 1"),
        ({"entry_point": "name"}, "entry_point is name without tests: give tests"),
        ({"tests": "t", "answer_after": "#"}, "answer_after is about answers, but tests is given"),
        ({"tests": "t", "only_verifiable": True}, "only_verifiable is about answers"),
        ({"tests": "t", "verifier_name": "exact"}, "verifier_name is about answers"),
    ],
)
def test_options_out_of_range_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Local(**options)
