"""What a sweep shows of its cells, and what it reads of the runs while they go on."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from resetrl.run.tracking import Journal, JournalRecord
from resetrl.sweep.record import Cell, SweepRecord
from resetrl.sweep.table import (
    SweepView,
    Watch,
    count_states,
    labels,
    last_lines,
    outcome,
    print_cells,
)

GRPO = Cell(0, ("method=grpo", "seed=0", "steps=9"), "0", "done", value=0.5, seconds=3.2)
SRPO = Cell(1, ("method=srpo", "seed=0", "steps=9"), "1", "failed", seconds=1.0, reason="no luck")
EQUAL = Cell(2, ("method=grpo", "seed=0", "steps=9"), "2", "done", value=0.5, same_as=0)


def console(terminal: bool = False) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, force_terminal=terminal, width=100, height=24, highlight=False), file


def record(tmp_path: Path, *cells: Cell) -> SweepRecord:
    record = SweepRecord(tmp_path, "ablation")
    record.add(cells)
    return record


def test_a_cell_is_called_by_what_sets_it_apart() -> None:
    assert labels([GRPO, SRPO]) == {0: "method=grpo", 1: "method=srpo"}
    assert labels([GRPO]) == {0: "method=grpo seed=0 steps=9"}
    split = Cell(3, ("method=grpo", "split=1x4"), left_out=("split=1x4",))
    assert labels([split, Cell(4, ("method=srpo", "split=1x4"))])[3] == "method=grpo"


def test_outcomes_in_words() -> None:
    assert outcome(GRPO) == "done: 0.500 after 3 s"
    assert outcome(SRPO) == "failed after 1 s: no luck"
    assert outcome(EQUAL) == "is the same as cell 0 and does not run again"
    assert outcome(Cell(5, (), state="interrupted", seconds=2.0)) == "interrupted after 2 s"


def test_an_equal_cell_is_not_counted() -> None:
    assert count_states([GRPO, SRPO, EQUAL]) == "1 done, 1 failed"


def test_the_last_table_shows_every_cell_and_the_end_of_a_failed_ones_log(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "job.log").write_text("\n".join(f"line {n}" for n in range(50)) + "\n\n")
    screen, file = console()
    print_cells(record(tmp_path, GRPO, SRPO, EQUAL), screen)
    lines = [line.rstrip() for line in file.getvalue().splitlines()]
    assert "    0   method=grpo   done        0.500         3" in lines
    assert "    1   method=srpo   failed                    1" in lines
    assert "    2   method=grpo   as 0        0.500" in lines
    assert f"cell 1 (method=srpo) failed: no luck; the end of {tmp_path}/1/job.log:" in lines
    assert lines[-12:] == [f"  line {n}" for n in range(38, 50)]


def test_without_a_terminal_there_is_a_line_a_change(tmp_path: Path) -> None:
    screen, file = console()
    with SweepView(record(tmp_path, GRPO, SRPO), [0, 1], screen) as view:
        view.started(SRPO, 9)
        view.refresh()
        view.ended(SRPO)
        view.found(GRPO)
    assert file.getvalue() == (
        "cell 1 (method=srpo) starts in 1\n"
        "cell 1 (method=srpo) failed after 1 s: no luck\n"
        "cell 0 (method=grpo) was done before: 0.500\n"
    )


def test_on_a_terminal_the_table_moves_with_the_runs(tmp_path: Path) -> None:
    running = Cell(1, ("method=srpo",), "1", "running")
    waiting = [Cell(n, (f"seed={n}",)) for n in range(2, 40)]
    journal = Journal(tmp_path / "1" / "metrics.jsonl", 0)
    screen, file = console(terminal=True)
    with SweepView(record(tmp_path, GRPO, running, *waiting), list(range(40)), screen) as view:
        view.started(running, 9)
        journal.append(JournalRecord(4, 1.0, {"eval/accuracy": 0.625}))
        view.refresh()
    shown = file.getvalue()
    assert "4/9" in shown and "0.625" in shown
    assert "1 done, 1 running, 38 waiting; 21 not shown" in shown


def test_a_watch_follows_a_journal_through_a_resume(tmp_path: Path) -> None:
    watch = Watch(tmp_path, 9)
    watch.look()
    assert (watch.step, watch.accuracy) == (None, None)
    journal = Journal(tmp_path / "metrics.jsonl", 0)
    journal.append(JournalRecord(0, 1.0, {"eval/accuracy": 0.25}))
    for step in range(1, 6):
        journal.append(JournalRecord(step, 1.0, {"reward/mean": 0.5}))
    watch.look()
    assert (watch.step, watch.accuracy) == (5, 0.25)
    Journal(tmp_path / "metrics.jsonl", 2).close()
    watch.look()
    assert watch.step == 2


def test_the_end_of_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert last_lines(tmp_path / "job.log", 3) == []
