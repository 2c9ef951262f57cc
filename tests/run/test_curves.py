"""The learning curve: what is drawn, from what, and that a picture comes out."""

from __future__ import annotations

from pathlib import Path

import pytest

from resetrl.errors import ResetrlError
from resetrl.run.curves import further_accuracies, learning_curve, series, smoothed
from resetrl.run.tracking import Journal, JournalRecord


def write_journal(folder: Path, *records: JournalRecord) -> Path:
    journal = Journal(folder / "metrics.jsonl", 0)
    for record in records:
        journal.append(record)
    journal.close()
    return journal.path


def size_of_png(path: Path) -> tuple[int, int]:
    """Width and height in pixels, from the header."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def test_a_series_holds_the_steps_that_have_the_metric() -> None:
    records = [
        JournalRecord(0, 0.0, {"eval/accuracy": 0.4}),
        JournalRecord(1, 1.0, {"draws/accuracy": 0.5}),
        JournalRecord(2, 2.0, {"eval/accuracy": 0.6}),
    ]
    assert series(records, "eval/accuracy") == [(0, 0.4), (2, 0.6)]


def test_smoothing_is_a_centred_mean_of_five_and_fewer_at_the_ends() -> None:
    points = [(1, 0.0), (2, 3.0), (3, 6.0), (4, 3.0), (5, 3.0), (6, 0.0)]
    assert smoothed(points) == [(1, 3.0), (2, 3.0), (3, 3.0), (4, 3.0), (5, 3.0), (6, 2.0)]
    assert smoothed([]) == []


def test_smoothing_widens_to_a_tenth_of_a_long_run() -> None:
    spike = [(step, 1.0 if step == 100 else 0.0) for step in range(200)]
    touched = [step for step, value in smoothed(spike) if value > 0]
    assert (touched[0], touched[-1]) == (90, 110)


def test_accuracy_alone_is_one_panel_and_localization_a_second(tmp_path: Path) -> None:
    plain = JournalRecord(1, 1.0, {"draws/accuracy": 0.5, "eval/accuracy": 0.4})
    quality = JournalRecord(2, 2.0, {"localization/exact": 0.8, "localization/clean_prefix": 0.9})
    journal = write_journal(tmp_path, plain)
    learning_curve(journal, tmp_path / "one.png", title="grpo")
    journal = write_journal(tmp_path, plain, quality)
    learning_curve(journal, tmp_path / "two.png", title="srpo")
    assert size_of_png(tmp_path / "one.png") == (840, 620)
    assert size_of_png(tmp_path / "two.png") == (1680, 620)


def test_accuracies_that_a_sampler_adds_to_evaluations_are_found(tmp_path: Path) -> None:
    records = [
        JournalRecord(0, 0.0, {"eval/accuracy": 0.4, "eval/second_turn_accuracy": 0.3}),
        JournalRecord(2, 2.0, {"base/accuracy": 0.4, "eval/second_turn_accuracy": 0.5}),
    ]
    assert further_accuracies(records) == ["eval/second_turn_accuracy"]
    learning_curve(write_journal(tmp_path, *records), tmp_path / "two_turns.png")
    assert size_of_png(tmp_path / "two_turns.png") == (840, 620)


def test_a_run_without_any_metric_still_has_a_picture(tmp_path: Path) -> None:
    learning_curve(write_journal(tmp_path), tmp_path / "empty.png")
    assert size_of_png(tmp_path / "empty.png") == (840, 620)


def test_a_missing_journal_and_a_missing_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ResetrlError, match=r"metrics\.jsonl does not exist: give the folder of a"):
        learning_curve(tmp_path / "metrics.jsonl", tmp_path / "curve.png")
    with pytest.raises(ResetrlError, match=r"nowhere/curve\.png cannot be written"):
        learning_curve(write_journal(tmp_path), tmp_path / "nowhere" / "curve.png")
