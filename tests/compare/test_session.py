"""`resetrl compare` and `resetrl diff` as one types them, over run folders."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from simulated import write_run
from typer.testing import CliRunner, Result

from resetrl.cli import app
from resetrl.compare import session
from resetrl.compare.load import Parent
from resetrl.compare.report import NAMES
from resetrl.errors import ConfigError

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sweep")
    for method, last in (("grpo", 0.5), ("srpo", 0.8)):
        for seed in range(3):
            write_run(root / f"{method}-{seed}", method, seed, (0.2, 0.4, last + seed / 10))
    return root


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return lambda *arguments: CliRunner().invoke(app, list(map(str, arguments)))


def error_of(result: Result) -> str:
    assert result.exit_code == 1
    return str(result.exception)


@pytest.fixture(scope="module")
def report(sweep: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A comparison that was written, and what was printed."""
    out = tmp_path_factory.mktemp("report") / "out"
    arguments = ["compare", sweep, "--baseline", "grpo", "--threshold", "0.8", "--out", out]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "100")
        result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return out, result.output


def test_a_sweep_is_compared_and_written(report: tuple[Path, str]) -> None:
    out, printed = report
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    assert any(line.startswith("srpo +0.300 [") and line.endswith("3 x 10") for line in lines)
    assert any(line.startswith("Few pairs: 3 pairs cannot give a p below 0.25") for line in lines)
    assert f"Wrote tables, figures and report to {out}" in "".join(printed.splitlines())
    assert sorted(path.name for path in out.iterdir()) == sorted(NAMES)


def test_without_out_a_folder_is_chosen(run: Run, sweep: Path) -> None:
    assert run("compare", sweep).exit_code == 0
    assert [path.name for path in Path("comparisons").iterdir()] == [f"{sweep.name}-by-method"]


def test_from_its_report_it_is_made_again_elsewhere(run: Run, report: tuple[Path, str]) -> None:
    first, _ = report
    result = run("compare", "--from", first / "report.json", "--out", "second")
    assert result.exit_code == 0, result.output
    for name in NAMES:
        assert (first / name).read_bytes() == (Path("second") / name).read_bytes()


def test_from_a_report_other_questions_can_be_asked(run: Run, report: tuple[Path, str]) -> None:
    result = run("compare", "--from", report[0], "--out", "b", "--baseline", "srpo", "--at", "best")
    assert result.exit_code == 0, result.output
    question = json.loads(Path("b/report.json").read_text())["question"]
    assert (question["baseline"], question["at"]) == ("srpo", "best")


def test_a_report_holds_one_axis_and_its_runs(
    run: Run, sweep: Path, report: tuple[Path, str]
) -> None:
    first, _ = report
    assert error_of(run("compare", "--from", first, "--x", "seconds")) == (
        f"{first} holds step, not seconds: leave out --x, or compare the runs anew"
    )
    assert error_of(run("compare", sweep, "--from", first)) == (
        f"--from {first} has its runs in it: leave out runs, or --from"
    )


def test_nothing_foreign_is_overwritten(run: Run, sweep: Path) -> None:
    Path("out").mkdir()
    Path("out/table.csv").write_text("mine")
    assert "out holds table.csv, not written by" in error_of(run("compare", sweep, "--out", "out"))
    assert Path("out/table.csv").read_text() == "mine"
    assert [path.name for path in Path("out").iterdir()] == ["table.csv"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--x", "tokens"], "--x tokens is no axis: choose step, rollouts, generated_tokens, "),
        (["--at", "end"], "--at end is unknown: choose last, best, auc"),
        (["--by", ","], "--by is empty"),
        (["--by", "split"], "--by split is no tag or parameter of these runs: those that differ "),
        (["--metric", "eval/f1"], "no run has eval/f1: did you mean eval/"),
        (["--baseline", "ppo"], "--baseline ppo is no group: choose grpo; srpo"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(
    run: Run, sweep: Path, arguments: list[str], message: str
) -> None:
    assert error_of(run("compare", sweep, *arguments)).startswith(message)
    assert list(Path().iterdir()) == []


def test_without_store_and_name_the_store_is_missed(run: Run) -> None:
    assert "mlflow.db does not exist: name the store of the runs" in error_of(run("compare"))
    assert list(Path().iterdir()) == []


class RefusingQuery:
    def __init__(self, uri: str) -> None:
        raise ConfigError(f"{uri} does not answer")


def test_a_store_that_refuses_the_report_is_only_warned_of(
    run: Run, sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = session.load

    def with_parent(*arguments):  # type: ignore[no-untyped-def]
        loaded = load(*arguments)
        return type(loaded)(loaded.runs, Parent("http://gone", "4be1"), loaded.source)

    monkeypatch.setattr(session, "load", with_parent)
    monkeypatch.setattr(session, "RunQuery", RefusingQuery)
    result = run("compare", sweep, "--out", "out")
    assert result.exit_code == 0
    assert "The sweep's run 4be1 did not take the report: http://gone does not" in result.output


def test_two_runs_differ(run: Run, sweep: Path) -> None:
    result = run("diff", sweep / "grpo-0", sweep / "srpo-0")
    assert result.exit_code == 0, result.output
    assert "only b on 3" in result.output


def test_what_is_no_run_cannot_differ(run: Run, sweep: Path, tmp_path: Path) -> None:
    assert "grpo-0, " in error_of(run("diff", sweep, sweep / "srpo-0"))
    assert "holds no run" in error_of(run("diff", tmp_path, sweep / "srpo-0"))
