"""Finds what the user means: the saved step of a run, the prompt."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from resetrl.errors import ResetrlError, list_names
from resetrl.run.names import find_run, matching, suggest
from resetrl.run.rollouts import SavedGroup, read_groups, saved_steps
from resetrl.types import Problem


class ShowError(ResetrlError):
    """What is to be shown does not exist, or is not the only one of that name."""


@dataclass(frozen=True)
class PromptTree:
    """All groups of one prompt in one step, kind by kind: base, reset, then a sampler's own."""

    step: int
    problem: Problem
    groups: tuple[SavedGroup, ...]

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(saved.group.kind for saved in self.groups))

    @property
    def resets(self) -> tuple[SavedGroup, ...]:
        return self.of_kind("reset")

    def of_kind(self, kind: str) -> tuple[SavedGroup, ...]:
        return tuple(saved for saved in self.groups if saved.group.kind == kind)


@dataclass(frozen=True)
class Choice:
    """The prompt to show, and what to tell the user about how it was chosen."""

    tree: PromptTree
    notes: tuple[str, ...]


def find_saved(name: str) -> Path:
    """The folder of a run that has saved rollouts; raises ConfigError or ShowError."""
    folder = find_run(name)
    if not saved_steps(folder):
        raise ShowError(_nothing_saved(folder))
    return folder


def open_step(folder: Path, step: int | None) -> list[PromptTree]:
    """The prompts of a saved step, in the order of the step; the last step if none is given."""
    files = saved_steps(folder)
    if not files:
        raise ShowError(_nothing_saved(folder))
    if step is None:
        step = max(files)
    if step not in files:
        nearest = min(files, key=lambda saved: abs(saved - step))
        raise ShowError(
            f"step {step} of {folder.resolve().name} was not saved (the nearest is {nearest}): "
            f"choose --step {list_names([str(saved) for saved in files], most=24)}"
        )
    return _prompt_trees(step, read_groups(files[step]))


def choose_prompt(folder: Path, step: int | None, uid: str | None) -> Choice:
    """The prompt asked for or, by default, the first that has something to compare."""
    trees = open_step(folder, step)
    return _first_telling(trees) if uid is None else _by_uid(folder, trees, step, uid)


def common_beginning(uids: Sequence[str]) -> str:
    """What all of several uids begin with, up to a separator: `chain-train-` or "".

    The rest of a uid is enough for `--prompt`.
    """
    if len(uids) < 2:
        return ""
    pairs = zip(min(uids), max(uids), strict=False)  # what these two share, all do
    shared = "".join(a for a, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    match = re.match(r".*[-_/:.]", shared)
    return match[0] if match else ""


def rewards_differ(saved: SavedGroup) -> bool:
    """Whether a group can teach anything: equal rewards have no better and worse."""
    return len(set(saved.group.shaped_rewards or saved.group.rewards)) > 1


def _prompt_trees(step: int, groups: Sequence[SavedGroup]) -> list[PromptTree]:
    by_uid: dict[str, list[SavedGroup]] = {}
    for saved in groups:
        by_uid.setdefault(saved.group.prompt.uid, []).append(saved)
    return [
        PromptTree(step, mine[0].group.prompt.problem, tuple(sorted(mine, key=_place_of_kind)))
        for mine in by_uid.values()
    ]


def _place_of_kind(saved: SavedGroup) -> int:
    return {"base": 0, "reset": 1}.get(saved.group.kind, 2)


def first_telling(trees: Sequence[PromptTree]) -> int:
    """The place of the first prompt worth showing: its resets differ, else it has any.

    Where no prompt has resets it is the first with an advantage other than 0, else 0.
    """
    for worth in (
        lambda tree: any(rewards_differ(saved) for saved in tree.resets),
        lambda tree: bool(tree.resets),
        _teaches,
    ):
        places = [place for place, tree in enumerate(trees) if worth(tree)]
        if places:
            return places[0]
    return 0


def _teaches(tree: PromptTree) -> bool:
    return any(any(saved.advantages) for saved in tree.groups)


def _first_telling(trees: Sequence[PromptTree]) -> Choice:
    place = first_telling(trees)
    tree = trees[place]
    where = f"prompt {place + 1} of {len(trees)}"
    if any(rewards_differ(saved) for saved in tree.resets):
        note = f"This is {where}, the first with a reset group whose rewards differ."
        passed = [f"{each.problem.uid} ({why_passed(each)})" for each in trees[:place]]
    elif tree.resets:
        note = f"This is {where}: no reset group of this step has differing rewards."
        passed = [f"{each.problem.uid} ({why_passed(each)})" for each in trees[:place]]
    elif _teaches(tree):
        note = f"This is {where}, the first with an advantage other than 0."
        passed = [f"{each.problem.uid} (every advantage is 0)" for each in trees[:place]]
    else:
        note = f"This is {where}: no advantage of this step is other than 0."
        passed = []
    notes = [note]
    if passed:
        notes.append(f"Passed over: {list_names(passed, most=4)}.")
    return Choice(tree, tuple(notes))


def why_passed(tree: PromptTree) -> str:
    """Why a prompt is not the one to show first."""
    if not tree.resets:
        return "no reset group"
    return f"every suffix has reward {tree.resets[0].group.rewards[0]:g}"


def _by_uid(folder: Path, trees: Sequence[PromptTree], step: int | None, uid: str) -> Choice:
    by_uid = {tree.problem.uid: tree for tree in trees}
    matches = matching(uid, by_uid)
    if not matches and step is None:
        return _in_earlier_step(folder, trees, uid)
    if not matches:
        raise ShowError(
            f"prompt {uid!r} is not in step {step}: {suggest(uid, list(by_uid))}, or leave out "
            "--step to search all steps"
        )
    return Choice(by_uid[_only(uid, matches, trees[0].step)], ())


def _in_earlier_step(folder: Path, last: Sequence[PromptTree], uid: str) -> Choice:
    for step in reversed([saved for saved in saved_steps(folder) if saved < last[0].step]):
        by_uid = {tree.problem.uid: tree for tree in open_step(folder, step)}
        matches = matching(uid, by_uid)
        if matches:
            note = f"Step {step} is the last saved one with this prompt."
            return Choice(by_uid[_only(uid, matches, step)], (note,))
    known = [tree.problem.uid for tree in last]
    raise ShowError(
        f"prompt {uid!r} is in no saved step of {folder.resolve().name}; of the last one "
        f"{suggest(uid, known)}"
    )


def _only(uid: str, matches: Sequence[str], step: int) -> str:
    if len(matches) > 1:
        raise ShowError(
            f"prompt {uid!r} could be any of {len(matches)} in step {step}: {list_names(matches)}"
        )
    return matches[0]


def _nothing_saved(folder: Path) -> str:
    return (
        f"{folder} has no saved rollouts: give the folder of a run that has finished a step due "
        "for saving (save_rollouts_every=... of `resetrl train`)"
    )
