"""What a reader must know before believing a comparison. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resetrl.compare.differences import PERCENTILE_RUNS, Difference
from resetrl.compare.groups import Excluded, Grouping, natural
from resetrl.compare.permutation import pairs_needed
from resetrl.compare.records import AXES, COSTS, Question, RunData
from resetrl.estimate import Estimate

FEW = 3
"""Fewer runs than these in a stratum tell next to nothing of the spread."""

TOLERATED = 1.05
"""Ratio of the largest to the smallest mean cost above which budgets count as unequal."""


@dataclass(frozen=True)
class Caution:
    """One thing to know: `Caution("Few runs", "srpo has 2 a stratum")`."""

    title: str
    text: str


def cautions(
    grouping: Grouping,
    question: Question,
    means: Sequence[Estimate],
    differences: Sequence[Difference | None],
) -> list[Caution]:
    """Everything that limits what the comparison says, most serious first."""
    runs = [run for group in grouping.groups for run in group.runs]
    found = [
        _excluded(grouping.excluded),
        _few_runs(grouping),
        _no_spread(grouping, means, differences),
        _seeds(grouping),
        _averaged(grouping),
        _strata(grouping),
        _steps(grouping),
        _costs(grouping, question),
        _evaluation_sets(grouping, question),
        _unread(runs),
        *_code(runs),
        _plugins(runs),
        _pairing(grouping, differences),
        _floor(differences),
        _best(question),
    ]
    return [Caution(title, text) for title, text in found if text]


Found = tuple[str, str]


def _excluded(excluded: Sequence[Excluded]) -> Found:
    listed = "; ".join(f"{each.name} ({each.why})" for each in excluded)
    return "Left out", listed and f"{_plural(len(excluded), 'run')}: {listed}"


def _few_runs(grouping: Grouping) -> Found:
    least = {
        group.label: min(map(len, group.strata.values()))
        for group in grouping.groups
        if min(map(len, group.strata.values())) < FEW
    }
    listed = "; ".join(f"{num} of {label}" for label, num in least.items())
    texts = [
        f"{listed}: with fewer than {FEW} run seeds an interval is very wide, with one there is "
        "none over run seeds"
    ]
    if any(len(group.runs) < PERCENTILE_RUNS for group in grouping.groups):
        texts.append(
            f"with fewer than {PERCENTILE_RUNS} runs the IQM is the mean, and neither IQM nor "
            "P(better) has an interval that means anything"
        )
    return "Few runs", "; ".join(texts[not least :])


def _no_spread(
    grouping: Grouping, means: Sequence[Estimate], differences: Sequence[Difference | None]
) -> Found:
    """Runs that all come out alike give an interval without width, which is no certainty."""
    alike = []
    for group, mean, found in zip(grouping.groups, means, differences, strict=True):
        if mean.high - mean.low < 1e-12:
            alike.append(group.label)
        elif found is not None and found.interval.high - found.interval.low < 1e-12:
            alike.append(f"the difference of {group.label}")
    listed = ", ".join(alike)
    return "No spread", listed and f"{listed}: runs that are all alike say nothing about others"


def _seeds(grouping: Grouping) -> Found:
    seeds = {
        group.label: tuple(sorted({run.run_seed or "none" for run in group.runs}, key=natural))
        for group in grouping.groups
    }
    if len(set(seeds.values())) == 1:
        return "Unequal run seeds", ""
    return "Unequal run seeds", "; ".join(f"{k}: {_ranges(v)}" for k, v in seeds.items())


def _averaged(grouping: Grouping) -> Found:
    listed = "; ".join(f"{key} ({', '.join(values)})" for key, values in grouping.averaged.items())
    return "Averaged over", listed and (
        f"{listed}: each combination is a stratum and counts equally; name it in --by to tell "
        "them apart"
    )


def _strata(grouping: Grouping) -> Found:
    if len({frozenset(group.strata) for group in grouping.groups}) == 1:
        return "Different strata", ""
    listed = "; ".join(
        f"{group.label}: {', '.join('/'.join(stratum) for stratum in group.strata)}"
        for group in grouping.groups
    )
    keys = ", ".join(grouping.averaged)
    return "Different strata", f"the groups do not cover the same values of {keys}: {listed}"


def _steps(grouping: Grouping) -> Found:
    steps = {
        group.label: tuple(sorted({run.steps[-1] for run in group.runs}))
        for group in grouping.groups
    }
    if len({step for each in steps.values() for step in each}) == 1:
        return "Unequal budgets", ""
    listed = "; ".join(f"{k}: {', '.join(map(str, v))}" for k, v in steps.items())
    return "Unequal budgets", f"last evaluated after step {listed}"


def _costs(grouping: Grouping, question: Question) -> Found:
    parts = []
    for name in COSTS:
        means = {}
        for group in grouping.groups:
            totals = [run.totals[name] for run in group.runs if name in run.totals]
            if len(totals) == len(group.runs):
                means[group.label] = sum(totals) / len(totals)
        cheap, dear = (pick(means, key=lambda k: means[k], default="") for pick in (min, max))
        if cheap and means[cheap] and means[dear] / means[cheap] > TOLERATED:
            ratio = means[dear] / means[cheap]
            parts.append(f"{AXES[name]} {ratio:.2g} times ({dear} against {cheap})")
    if not parts:
        return "Unequal cost", ""
    hint = (
        ""
        if question.x in COSTS and question.at == "auc"
        else (". --x generated_tokens --at auc compares at equal cost")
    )
    return "Unequal cost", f"mean totals of a run: {'; '.join(parts)}{hint}"


def _evaluation_sets(grouping: Grouping, question: Question) -> Found:
    """The same task, so everything but factors that are the task itself: the same problems."""
    tasks: dict[tuple[str, ...], list[RunData]] = {}
    of_task = [name.partition(".")[0] == "task" for name in question.by]
    for group in grouping.groups:
        chosen = tuple(v for v, is_task in zip(group.values, of_task, strict=True) if is_task)
        for stratum, members in group.strata.items():
            tasks.setdefault((*chosen, *stratum), []).extend(members)
    different, unknown = [], 0
    for runs in tasks.values():
        by_tag = [run.tags.get("eval_set", "") for run in runs]
        known = by_tag if all(by_tag) else [run.problems for run in runs]
        unknown += known.count("")
        counts = Counter(each for each in known if each)
        if len(counts) > 1:
            different.append(_counted(counts))
    if different:
        return "Different evaluation sets", f"{'; '.join(different)}: values are not comparable"
    text = (
        f"{_plural(unknown, 'run')} do not tell which problems they were evaluated on (no tag "
        "eval_set, made by an older resetrl?)"
    )
    return "Evaluation sets not checked", text if unknown else ""


def _unread(runs: Sequence[RunData]) -> Found:
    listed = "; ".join(f"{run.name}: {run.problem}" for run in runs if run.problem)
    return "Not read", listed


def _code(runs: Sequence[RunData]) -> list[Found]:
    """The hash of the code decides where all runs have it: commits also move with the docs."""
    hashes = Counter(run.tags.get("code", "") for run in runs)
    commits = Counter(run.tags.get("git_commit", "unknown")[:12] for run in runs)
    differ = len(hashes) > 1 or (not all(hashes) and len(commits) > 1)
    known = f"hashes {_counted(hashes)}; " if all(hashes) else ""
    versions = Counter(run.tags.get("version.resetrl", "unknown") for run in runs)
    dirty = sum(run.tags.get("git_dirty") == "true" for run in runs)
    return [
        ("Different code", f"{known}git commits {_counted(commits)}" if differ else ""),
        ("Different versions", f"resetrl {_counted(versions)}" if len(versions) > 1 else ""),
        (
            "Uncommitted code",
            f"{dirty} of {_plural(len(runs), 'run')} had changes that no commit holds"
            if dirty
            else "",
        ),
    ]


def _plugins(runs: Sequence[RunData]) -> Found:
    hashes: dict[str, set[str]] = {}
    manifests = [plugin_versions(run.tags) for run in runs]
    for name in {name for manifest in manifests for name in manifest}:
        hashes[name] = {manifest.get(name, "absent") for manifest in manifests}
    listed = "; ".join(
        f"{name} ({', '.join(sorted(found))})"
        for name, found in sorted(hashes.items())
        if len(found) > 1
    )
    return "Different plugins", listed


def plugin_versions(tags: Mapping[str, str]) -> dict[str, str]:
    """Version and beginning of the hash of each plugin of a run: `{"builtin": "0.1.0 4be1c0de"}`.

    A manifest too long for a tag is cut there; then its text stands for all of it.
    """
    manifest = tags.get("plugins", "[]")
    try:
        return {
            row["plugin"]: f"{row.get('version', '')} {row.get('sha256', '')[:8]}".strip()
            for row in json.loads(manifest)
        }
    except (ValueError, LookupError, TypeError, AttributeError):
        return {"manifest": manifest[:60]}


def _pairing(grouping: Grouping, differences: Sequence[Difference | None]) -> Found:
    alone, partly = [], []
    for group, found in zip(grouping.groups, differences, strict=True):
        if found is not None and not found.num_pairs:
            alone.append(group.label)
        elif found is not None and found.num_pairs < len(group.runs):
            partly.append(f"{group.label}: {found.num_pairs} of {len(group.runs)}")
    texts = []
    if alone:
        texts.append(f"{', '.join(alone)} shares no run seed and stratum with its baseline")
    if partly:
        texts.append(f"the difference is that of the paired runs alone: {'; '.join(partly)}")
    return "Not all paired", "; ".join(texts)


def _floor(differences: Sequence[Difference | None]) -> Found:
    """Few pairs cannot give a small p, whatever the data."""
    made = [each for each in differences if each is not None and each.num_pairs]
    floors = [each.p_floor for each in made]
    if not floors or max(floors) * len(floors) < 0.05:
        return "Few pairs", ""
    fewest = min(each.num_pairs for each in made)
    return "Few pairs", (
        f"{_plural(fewest, 'pair')} cannot give a p below {max(floors):.3g} "
        f"before correction: read the intervals, or run {pairs_needed(len(floors))} run seeds"
    )


def _best(question: Question) -> Found:
    text = (
        "the best of several evaluations is chosen on the problems it is reported on, so it is "
        "too high, more so for runs that were evaluated more often"
    )
    return "Best evaluation", text if question.at == "best" else ""


def _ranges(values: Sequence[str]) -> str:
    """`0-4, 7` for 0, 1, 2, 3, 4, 7."""
    if not all(value.isdecimal() for value in values):
        return ", ".join(values)
    spans: list[list[int]] = []
    for number in sorted(map(int, values)):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} ({_plural(num, 'run')})" for name, num in sorted(counts.items()))


def _plural(num: int, word: str) -> str:
    return f"{num} {word}" if num == 1 else f"{num} {word}s"
