import io
import json
from pathlib import Path

from rich.console import Console
from simulated import write_run

from resetrl.compare.diff import Change, Diff, changes, count_flips, diff_runs, print_diff
from resetrl.compare.folders import Answers, FoundRun


def answers(*right: bool, question: str = "?") -> Answers:
    return Answers(
        [
            {"uid": f"p{i}", "question": question, "reference": "1", "correct": each}
            for i, each in enumerate(right)
        ]
    )


def printed(found: Diff) -> str:
    console = Console(file=io.StringIO(), width=200)
    print_diff(console, found)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


A = FoundRun(
    "1",
    "grpo-seed0",
    "FINISHED",
    tags={"git_commit": "a1", "task": "chain", "eval_set": "e1", "version.torch": "2.13.0"},
    params={"method": "grpo", "seed": "0", "tracking.uri": "here", "note": "[bold]"},
    last={"eval/accuracy": 0.5, "total/rollouts": 1000.0, "base/accuracy": 0.1},
    folder=Path("runs/a"),
)
B = FoundRun(
    "2",
    "srpo-seed0",
    "FINISHED",
    tags={"git_commit": "b2", "task": "chain", "eval_set": "e1", "version.torch": "2.13.0"},
    params={"method": "srpo", "seed": "0", "tracking.uri": "there", "note": ""},
    last={"eval/accuracy": 0.75, "total/rollouts": 1250.0},
    uri="http://user:secret@host:5000",
)


def test_each_section_holds_what_differs() -> None:
    found = diff_runs(A, B, answers(True, False), answers(True, True))
    assert found.configuration == (
        Change("method", "grpo", "srpo"),
        Change("note", "[bold]", "''"),
    )
    assert found.code == (Change("git commit", "a1", "b2"),)
    assert found.data == ()
    assert found.results["eval/accuracy"] == (0.5, 0.75)
    assert found.results["base/accuracy"] == (0.1, None)


def test_what_one_run_lacks_is_absent() -> None:
    assert changes({"x": "1"}, {"y": "2"}) == (
        Change("x", "1", "absent"),
        Change("y", "absent", "2"),
    )


def test_flips_are_counted_by_who_is_right() -> None:
    a, b = answers(True, True, False, False, False), answers(True, False, True, True, False)
    found = count_flips(a, b)
    assert found is not None
    assert (found.both_right, found.both_wrong) == (1, 1)
    assert (found.only_a, found.only_b) == (("p1",), ("p2", "p3"))
    assert found.p == 1.0  # 1 against 2 of 3 coin tosses


def test_mcnemars_p_is_that_of_coin_tosses() -> None:
    found = count_flips(answers(*[False] * 6), answers(*[True] * 6))
    assert found is not None and found.p == 2 * 0.5**6


def test_other_problems_cannot_flip() -> None:
    assert count_flips(answers(True), answers(True, question="another")) is None
    assert count_flips(answers(), answers()) is None


def test_it_prints_differences_results_and_flips() -> None:
    text = printed(diff_runs(A, B, answers(True, False), answers(True, True)))
    assert "a  grpo-seed0 (FINISHED), runs/a" in text
    assert "b  srpo-seed0 (FINISHED), http://***@host:5000" in text
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "note [bold] ''" in lines
    assert "eval/accuracy 0.500 0.750 +0.250" in lines
    assert "total/rollouts 1,000 1,250 +250" in lines
    assert "Equal: data, plugins." in lines
    assert "only b on 1 (McNemar's exact p 1.000)." in text
    assert "Only b is right: p1" in lines


def test_without_common_answers_that_is_said() -> None:
    text = printed(diff_runs(A, B, answers(), answers(True)))
    assert "Answers to the same problems are not known of both runs." in text


def test_it_can_be_json() -> None:
    from dataclasses import asdict

    from resetrl.compare.records import plain

    data = json.loads(json.dumps(plain(asdict(diff_runs(A, B, answers(True), answers(False))))))
    assert data["code"] == [{"name": "git commit", "a": "a1", "b": "b2"}]
    assert data["flips"]["only_a"] == ["p0"]


def test_folders_are_enough(tmp_path: Path) -> None:
    from resetrl.compare.diff import show_diff

    a = write_run(tmp_path / "a", "grpo", 0, (0.2, 0.5))
    b = write_run(tmp_path / "b", "srpo", 0, (0.2, 0.8))
    console = Console(file=io.StringIO(), width=120)
    show_diff(str(a), str(b), "sqlite:///nowhere.db", as_json=True, console=console)
    assert isinstance(console.file, io.StringIO)
    data = json.loads(console.file.getvalue())
    assert data["configuration"] == [{"name": "method", "a": "grpo", "b": "srpo"}]
    assert data["results"]["eval/accuracy"] == [0.5, 0.8]
    assert data["flips"]["only_b"] == ["p5", "p6", "p7"]
    assert data["data"] == []
