"""What differs between two runs: configuration, code, data, plugins, results."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from resetrl.compare.checks import plugin_versions
from resetrl.compare.folders import Answers, FoundRun
from resetrl.compare.load import Finder, Request
from resetrl.compare.records import plain
from resetrl.compare.tables import amount, p_value
from resetrl.run.tracking.config import redacted

ABSENT = "absent"
KEEPING = ("tracking",)
"""First words of parameters that only say where a run is kept."""

SHOWN_METRICS = ("eval/", "total/", "reward/mean", "draws/accuracy")
SHOWN_FLIPS = 8
VERDICTS = "eval/accuracy"


@dataclass(frozen=True)
class Change:
    """A fact of both runs: `Change("method", "grpo", "srpo")`."""

    name: str
    a: str
    b: str


@dataclass(frozen=True)
class Flips:
    """The problems both runs answered in their last evaluation, by who was right.

    `p` is McNemar's exact test: how often equally good runs would differ so unevenly.
    """

    both_right: int
    both_wrong: int
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    p: float


@dataclass(frozen=True)
class Diff:
    """All differences of two runs; `results` holds the last values of all metrics of both."""

    a: str
    b: str
    configuration: tuple[Change, ...]
    code: tuple[Change, ...]
    data: tuple[Change, ...]
    plugins: tuple[Change, ...]
    results: Mapping[str, tuple[float | None, float | None]]
    flips: Flips | None
    notes: tuple[str, ...] = field(default=())


def show_diff(name_a: str, name_b: str, uri: str, as_json: bool, console: Console) -> None:
    """Find two runs and print how they differ."""
    finder = Finder(Request(uri=uri), metrics=[VERDICTS])
    a, b = finder.one(name_a), finder.one(name_b)
    answers = [_last_answers(finder, run) for run in (a, b)]
    found = diff_runs(a, b, answers[0], answers[1])
    if as_json:
        console.print(
            json.dumps(plain(asdict(found)), indent=1),
            markup=False,
            soft_wrap=True,
            highlight=False,
        )
    else:
        print_diff(console, found)


def _last_answers(finder: Finder, run: FoundRun) -> Answers:
    history = run.histories.get(VERDICTS, ())
    return finder.answers(run, history[-1][0], is_last=True) if history else Answers(())


def diff_runs(a: FoundRun, b: FoundRun, answers_a: Answers, answers_b: Answers) -> Diff:
    """How two runs differ, from what is known of each."""
    params = [
        {key: value for key, value in run.params.items() if key.partition(".")[0] not in KEEPING}
        for run in (a, b)
    ]
    metrics = sorted({*a.last, *b.last})
    flips = count_flips(answers_a, answers_b)
    return Diff(
        a=_title(a),
        b=_title(b),
        configuration=changes(*params),
        code=changes(*(_code(run.tags) for run in (a, b))),
        data=changes(_data(a, answers_a), _data(b, answers_b)),
        plugins=changes(plugin_versions(a.tags), plugin_versions(b.tags)),
        results={name: (a.last.get(name), b.last.get(name)) for name in metrics},
        flips=flips,
        notes=() if flips else ("Answers to the same problems are not known of both runs.",),
    )


def changes(a: Mapping[str, str], b: Mapping[str, str]) -> tuple[Change, ...]:
    """The names whose values differ, `absent` where one run has none."""
    return tuple(
        Change(name, a.get(name, ABSENT) or "''", b.get(name, ABSENT) or "''")
        for name in sorted({*a, *b})
        if a.get(name) != b.get(name)
    )


def count_flips(a: Answers, b: Answers) -> Flips | None:
    """Who was right where, None unless both answered the same known problems."""
    from scipy.stats import binomtest

    if not a.rows or a.problems != b.problems:
        return None
    right = [{uid for uid, score in each.scores("correct").items() if score} for each in (a, b)]
    uids = a.scores("correct")
    only_a, only_b = (tuple(sorted(x - y)) for x, y in (right, right[::-1]))
    num = len(only_a) + len(only_b)
    return Flips(
        both_right=len(right[0] & right[1]),
        both_wrong=len(uids.keys() - right[0] - right[1]),
        only_a=only_a,
        only_b=only_b,
        p=float(binomtest(len(only_a), num).pvalue) if num else 1.0,
    )


def print_diff(console: Console, found: Diff) -> None:
    """Print the differences, section by section; equal sections say so."""
    console.print(Text.assemble(("a  ", "bold"), found.a))
    console.print(Text.assemble(("b  ", "bold"), found.b))
    sections = {
        "Configuration": found.configuration,
        "Code": found.code,
        "Data": found.data,
        "Plugins": found.plugins,
    }
    for title, rows in sections.items():
        if rows:
            _print_table(console, title, ("", "a", "b"), [(r.name, r.a, r.b) for r in rows])
    equal = [title.lower() for title, rows in sections.items() if not rows]
    shown = [
        (name, *_values(name, a, b))
        for name, (a, b) in found.results.items()
        if name.startswith(SHOWN_METRICS)
    ]
    if shown:
        _print_table(console, "Results, last values", ("", "a", "b", "b - a"), shown, "right")
    if equal:
        console.print(Text(f"Equal: {', '.join(equal)}."))
    if found.flips is not None:
        _print_flips(console, found.flips)
    for note in found.notes:
        console.print(Text(note, "yellow"))


def _print_table(
    console: Console,
    title: str,
    headers: Sequence[str],
    rows: Iterable[Sequence[str]],
    justify: str = "left",
) -> None:
    table = Table(title=Text(title, "bold"), title_justify="left", box=box.SIMPLE_HEAD)
    table.pad_edge = False
    table.add_column(headers[0], style="bold")
    for header in headers[1:]:
        table.add_column(header, justify="right" if justify == "right" else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def _print_flips(console: Console, flips: Flips) -> None:
    total = flips.both_right + flips.both_wrong + len(flips.only_a) + len(flips.only_b)
    console.print(
        Text(
            f"Of {total} problems in the last evaluation both are right on {flips.both_right}, "
            f"both wrong on {flips.both_wrong}, only a is right on {len(flips.only_a)}, only b on "
            f"{len(flips.only_b)} (McNemar's exact p {p_value(flips.p)})."
        )
    )
    for name, uids in (("a", flips.only_a), ("b", flips.only_b)):
        if uids:
            more = f" and {len(uids) - SHOWN_FLIPS} more" if len(uids) > SHOWN_FLIPS else ""
            console.print(Text(f"Only {name} is right: {', '.join(uids[:SHOWN_FLIPS])}{more}"))


def _values(name: str, a: float | None, b: float | None) -> tuple[str, str, str]:
    shown = [ABSENT if value is None else _number(value, name) for value in (a, b)]
    if a is None or b is None:
        return shown[0], shown[1], ""
    return shown[0], shown[1], f"{'+' if b > a else ''}{_number(b - a, name)}"


def _number(value: float, name: str) -> str:
    return amount(value) if name.startswith("total/") else f"{value:.3f}"


def _code(tags: Mapping[str, str]) -> dict[str, str]:
    names = {"code": "code hash", "git_commit": "git commit", "git_dirty": "uncommitted changes"}
    code = {shown: tags[name] for name, shown in names.items() if name in tags}
    versions = {
        name.removeprefix("version."): value
        for name, value in tags.items()
        if name.startswith("version.")
    }
    return {**code, **versions}


def _data(run: FoundRun, answers: Answers) -> dict[str, str]:
    """The task, and the problems of its evaluation, as the run says or as its answers show."""
    names = {"task": "task", "dataset": "training problems", "eval_set": "evaluation set"}
    data = {shown: run.tags.get(name, ABSENT) for name, shown in names.items()}
    if answers.rows:
        data |= {"problems": f"{len(answers.rows)} ({answers.problems})"}
    return data


def _title(run: FoundRun) -> str:
    where = str(run.folder) if run.folder is not None else redacted(run.uri)
    return f"{run.name} ({run.status}), {where}"
