"""What the user means by a step and a prompt, and what is said if there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from resetrl.errors import ResetrlError
from resetrl.show.find import choose_prompt, common_beginning, find_saved


def refusal(run: str, step: int | None = None, prompt: str | None = None) -> str:
    with pytest.raises(ResetrlError) as caught:
        choose_prompt(find_saved(run), step, prompt)
    return str(caught.value)


def test_a_folder_without_rollouts_says_what_saves_them(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").touch()
    assert "has no saved rollouts" in refusal(str(tmp_path))
    assert "save_rollouts_every" in refusal(str(tmp_path))


def test_an_unsaved_step_lists_the_saved_ones(run_folder: Path) -> None:
    assert refusal("srpo", step=11) == (
        "step 11 of 2026-01-05-srpo-seed0 was not saved (the nearest is 10): choose --step 10, 20"
    )


def test_the_default_is_the_first_prompt_of_the_last_step_whose_suffixes_differ(
    run_folder: Path,
) -> None:
    choice = choose_prompt(run_folder, None, None)
    assert (choice.tree.step, choice.tree.problem.uid) == (20, "chain-train-17")
    assert choice.notes == (
        "This is prompt 3 of 3, the first with a reset group whose rewards differ.",
        "Passed over: chain-train-7 (no reset group), chain-train-9 (every suffix has reward 0).",
    )


def test_a_prompt_is_found_by_a_whole_word_at_its_end(run_folder: Path) -> None:
    assert choose_prompt(run_folder, None, "7").tree.problem.uid == "chain-train-7"
    assert choose_prompt(run_folder, None, "train-17").tree.problem.uid == "chain-train-17"


def test_a_prompt_of_an_earlier_step_is_found_unless_a_step_is_given(run_folder: Path) -> None:
    choice = choose_prompt(run_folder, None, "words-1")
    assert (choice.tree.step, choice.notes) == (
        10,
        ("Step 10 is the last saved one with this prompt.",),
    )
    assert refusal("srpo", 20, "words-1") == (
        "prompt 'words-1' is not in step 20: choose chain-train-7, chain-train-9, "
        "chain-train-17, or leave out --step to search all steps"
    )


def test_an_unknown_or_ambiguous_prompt_lists_what_exists(run_folder: Path) -> None:
    assert refusal("srpo", None, "chain-train-8") == (
        "prompt 'chain-train-8' is in no saved step of 2026-01-05-srpo-seed0; of the last one "
        "did you mean chain-train-9 or chain-train-7 or chain-train-17?"
    )
    assert refusal("srpo", None, "train") == (
        "prompt 'train' could be any of 3 in step 20: chain-train-7, chain-train-9, chain-train-17"
    )


def test_a_damaged_step_is_one_sentence(run_folder: Path) -> None:
    (run_folder / "rollouts" / "step_000020.jsonl.gz").write_bytes(b"no gzip")
    assert "step_000020.jsonl.gz is damaged" in refusal("srpo")


def test_uids_share_a_beginning_up_to_a_separator() -> None:
    assert common_beginning(["chain-train-17", "chain-train-19"]) == "chain-train-"
    assert common_beginning(["chain-1", "words-1"]) == ""
    assert common_beginning(["chain-1"]) == ""
