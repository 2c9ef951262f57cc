"""Which runs count, and how they divide into groups, strata and pairs. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from resetrl.compare.records import CompareError, Question, RunData

Stratum = tuple[str, ...]
"""The values of what else was swept: `("chain", "4")`; runs are drawn again inside of one."""

KEEPING = (
    "seed",
    "steps",
    "stop",
    "tracking",
    "checkpoint",
    "save_rollouts_every",
    "num_threads",
    "plugin_paths",
    "sweep",
)
"""First words of parameters that make no other experiment: run seed, budget, where it is kept."""

MISSING = "none"
"""The factor value of a run that has no such tag or parameter."""


@dataclass(frozen=True)
class Excluded:
    """A run that does not count, and why: `Excluded("srpo-seed3", "FAILED")`."""

    name: str
    why: str


@dataclass(frozen=True)
class Group:
    """The runs with the same values of the factors, by stratum.

    Example: `Group(("srpo", "1x4"), {("chain",): (run, ...)})`
    """

    values: tuple[str, ...]
    strata: Mapping[Stratum, tuple[RunData, ...]]

    @property
    def label(self) -> str:
        """`grpo, 1x4`, and `grpo` of a method and a split that are both called so."""
        is_one = len(set(self.values)) == 1 and not self.values[0].isdecimal()
        return self.values[0] if is_one else ", ".join(self.values)

    @property
    def runs(self) -> tuple[RunData, ...]:
        return tuple(run for runs in self.strata.values() for run in runs)


@dataclass(frozen=True)
class Grouping:
    """Groups in the order to show them (baselines first), and what lies beside the factors.

    `baselines[values]` is what the group of those values is compared with. `averaged` tells of
    each swept parameter that is no factor the values found inside groups.
    """

    groups: tuple[Group, ...]
    baselines: Mapping[tuple[str, ...], Group]
    excluded: tuple[Excluded, ...]
    averaged: Mapping[str, tuple[str, ...]]


def group_runs(runs: Sequence[RunData], question: Question) -> Grouping:
    """Divide the runs that count; raises CompareError if none does or a factor is unknown."""
    _check_factors(runs, question)
    counting, excluded = _counting(runs, question)
    if not counting:
        reasons = "; ".join(f"{each.name}: {each.why}" for each in excluded[:3])
        more = f" and {len(excluded) - 3} more" if len(excluded) > 3 else ""
        raise CompareError(f"none of the {len(runs)} runs can be compared ({reasons}{more})")
    by_values: dict[tuple[str, ...], list[RunData]] = {}
    for run in counting:
        values = tuple(run.fact(name) or MISSING for name in question.by)
        by_values.setdefault(values, []).append(run)
    keys = _stratum_keys(by_values.values())
    strata = {values: _strata(members, keys) for values, members in by_values.items()}
    groups = []
    wanted = _wanted(question.baseline, list(strata))
    for values in sorted(strata, key=lambda values: _order(values, wanted)):
        kept = {}
        for stratum in sorted(strata[values]):
            kept[stratum], repeated = _without_repeats(strata[values][stratum])
            excluded += repeated
        groups.append(Group(values, kept))
    baselines = find_baselines(groups, wanted)
    return Grouping(tuple(groups), baselines, tuple(excluded), _averaged(counting, keys))


def find_baselines(groups: Sequence[Group], wanted: Sequence[str]) -> dict[tuple[str, ...], Group]:
    """What each group is compared with, by its values: the one that has the wanted values.

    If several have, each group is compared with the one that is like it in the other factors:
    of `srpo, 4` and the wanted value `grpo` that is `grpo, 4`. Raises CompareError if none has.
    """
    if not wanted:
        return {}
    found = [group for group in groups if set(wanted) <= set(group.values)]
    if not found:
        listed = "; ".join(",".join(group.values) for group in groups)
        raise CompareError(f"--baseline {','.join(wanted)} is no group: choose {listed}")
    if len(found) == 1:
        return {group.values: found[0] for group in groups if group is not found[0]}
    places = [found[0].values.index(value) for value in wanted]
    others = {_without(group.values, places): group for group in found}
    return {
        group.values: others[key]
        for group in groups
        if group not in found and (key := _without(group.values, places)) in others
    }


def _wanted(baseline: str, known: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The factor values of `--baseline`: one that holds commas itself, or several."""
    whole = baseline.strip()
    if any(whole in values for values in known):
        return (whole,)
    return tuple(value.strip() for value in whole.split(",")) if whole else ()


def _without(values: Sequence[str], places: Sequence[int]) -> tuple[str, ...]:
    return tuple(value for place, value in enumerate(values) if place not in places)


def _order(values: Sequence[str], baseline: Sequence[str]) -> list[tuple[bool, Natural]]:
    return [(value not in baseline, natural(value)) for value in values]


def varying(runs: Sequence[RunData]) -> dict[str, tuple[str, ...]]:
    """The tags and parameters runs can be grouped by, with their values where these differ."""
    tags = ("method", "split", "task")
    names = dict.fromkeys([*tags, *(name for run in runs for name in run.params)])
    found = {}
    for name in names:
        values = {run.fact(name) or MISSING for run in runs}
        first = name.partition(".")[0]
        if len(values) > 1 and (first == "steps" or first not in KEEPING):
            found[name] = tuple(sorted(values, key=natural))
    return found


Natural = tuple[tuple[int, float, str], ...]


def natural(text: str) -> Natural:
    """A sorting key that takes the numbers in a text as such: `2x4` before `10x4`."""
    parts = re.split(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)", text)
    return tuple((0, float(part), "") if part[:1].isdigit() else (1, 0.0, part) for part in parts)


def _check_factors(runs: Sequence[RunData], question: Question) -> None:
    for name in question.by:
        if all(run.fact(name) is None for run in runs):
            known = varying(runs)
            listed = "; ".join(f"{key} ({_some(values)})" for key, values in known.items())
            raise CompareError(
                f"--by {name} is no tag or parameter of these runs: "
                + (f"those that differ are {listed}" if known else "all their settings are equal")
            )


def _counting(runs: Sequence[RunData], question: Question) -> tuple[list[RunData], list[Excluded]]:
    counting, excluded = [], []
    for run in runs:
        if run.status != "FINISHED":
            excluded.append(Excluded(run.name, run.status))
        elif not run.values:
            on_axis = "" if question.x == "step" else f" with total/{question.x}"
            excluded.append(Excluded(run.name, f"has no {question.metric}{on_axis}"))
        elif not all(map(math.isfinite, run.values)):
            excluded.append(Excluded(run.name, f"{question.metric} is not finite"))
        else:
            counting.append(run)
    return counting, excluded


def _stratum_keys(groups: Iterable[Sequence[RunData]]) -> list[str]:
    """Parameters with several values inside a group; of those that go together, the shortest."""
    keys: dict[tuple[tuple[int, ...], ...], str] = {}
    groups = list(groups)
    names = sorted({name for members in groups for run in members for name in run.params})
    for name in sorted(names, key=lambda name: (not name.startswith("task"), len(name))):
        if name.partition(".")[0] in KEEPING:
            continue
        columns = [[run.params.get(name) for run in members] for members in groups]
        if any(len(set(column)) > 1 for column in columns):
            alike = tuple(tuple(map(column.index, column)) for column in columns)
            keys.setdefault(alike, name)
    return sorted(keys.values())


def _strata(members: Sequence[RunData], keys: Sequence[str]) -> dict[Stratum, list[RunData]]:
    strata: dict[Stratum, list[RunData]] = {}
    for run in members:
        stratum = tuple(run.params.get(key, MISSING) for key in keys)
        strata.setdefault(stratum, []).append(run)
    return strata


def _without_repeats(runs: Sequence[RunData]) -> tuple[tuple[RunData, ...], list[Excluded]]:
    """Of runs with the same run seed the one that went furthest, of those the last."""
    kept: dict[str, RunData] = {}
    excluded = []
    for place, run in enumerate(runs):
        key = run.run_seed or f"no seed {place}"
        before = kept.get(key)
        if before is not None and before.steps[-1] > run.steps[-1]:
            before, run = run, before
        kept[key] = run
        if before is not None:
            excluded.append(Excluded(before.name, f"is repeated by {run.name}, same run seed"))
    ordered = sorted(kept.values(), key=lambda run: natural(run.run_seed or ""))
    return tuple(ordered), excluded


def _averaged(runs: Sequence[RunData], keys: Sequence[str]) -> dict[str, tuple[str, ...]]:
    found = {key: {run.params.get(key, MISSING) for run in runs} for key in keys}
    return {key: tuple(sorted(values, key=natural)) for key, values in found.items()}


def _some(values: Sequence[str], most: int = 4) -> str:
    shown = ", ".join(values[:most])
    return shown if len(values) <= most else f"{shown}, ..."
