"""The tables of a comparison as text, the same for every format."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from resetrl.compare.analysis import Comparison, Result, is_share
from resetrl.compare.records import AXES
from resetrl.estimate import Estimate

INTERVAL = "[95 % interval]"


@dataclass(frozen=True)
class Table:
    """A table as text; the first `num_factors` columns name the group, the others are numbers."""

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    num_factors: int


def tables(comparison: Comparison) -> list[Table]:
    """Final values, differences, times to the threshold and costs, those that there are."""
    made = [_finals(comparison), _differences(comparison), _arrivals(comparison)]
    return [table for table in [*made, _costs(comparison)] if table is not None]


def value_name(comparison: Comparison) -> str:
    """What the value of a run is: `last eval/accuracy`."""
    question = comparison.question
    if question.at == "auc":
        return f"mean height of {question.metric} over {AXES[question.x]}"
    return f"{question.at} {question.metric}"


def _finals(comparison: Comparison) -> Table:
    results = comparison.results
    show = number_format([result.final for result in results], comparison.question.metric)
    rows = [
        (*r.group.values, str(len(r.group.runs)), interval(r.final, show), interval(r.iqm, show))
        for r in results
    ]
    name = value_name(comparison)
    return Table(
        f"{name[0].upper()}{name[1:]}",
        (*comparison.question.by, "runs", f"mean {INTERVAL}", f"IQM {INTERVAL}"),
        tuple(rows),
        len(comparison.question.by),
    )


def _differences(comparison: Comparison) -> Table | None:
    compared = [(r, r.difference) for r in comparison.results if r.difference is not None]
    if not compared:
        return None
    baselines = dict.fromkeys(found.baseline for _, found in compared)
    one = len(baselines) == 1
    show = number_format([found.interval for _, found in compared], comparison.question.metric)
    rows = [
        (
            *result.group.values,
            *(() if one else (found.baseline,)),
            interval(found.interval, lambda value: f"{'+' if value > 0 else ''}{show(value)}"),
            p_value(found.p_holm),
            interval(found.improvement, "{:.2f}".format),
            pairing(found.num_pairs, found.num_problems),
        )
        for result, found in compared
    ]
    return Table(
        f"Difference to {next(iter(baselines))}" if one else "Difference to the baseline",
        (
            *comparison.question.by,
            *(() if one else ("baseline",)),
            f"difference {INTERVAL}",
            "p (Holm)",
            f"P(better) {INTERVAL}",
            "pairs",
        ),
        tuple(rows),
        len(comparison.question.by) + (not one),
    )


def pairing(num_pairs: int, num_problems: int) -> str:
    """How many run seeds and problems a difference is paired over: `5 x 200`, `5`, `none`."""
    if not num_pairs:
        return "none"
    return f"{num_pairs} x {num_problems}" if num_problems else str(num_pairs)


def _arrivals(comparison: Comparison) -> Table | None:
    question = comparison.question
    rows = [
        (*result.group.values, f"{found.num_reached} of {len(found.runs)}", arrival_text(result))
        for result in comparison.results
        if (found := result.arrivals) is not None
    ]
    if not rows:
        return None
    return Table(
        f"Time to {question.metric} {question.threshold:g}",
        (*question.by, "reached", f"median {AXES[question.x]} {INTERVAL}"),
        tuple(rows),
        len(question.by),
    )


def arrival_text(result: Result) -> str:
    """The median time, `60 [40, > 80]`: runs were watched to 80, beyond nobody knows."""
    found = result.arrivals
    assert found is not None
    beyond = f"> {amount(found.watched)}"
    return interval(found.median, lambda value: amount(value) if math.isfinite(value) else beyond)


def _costs(comparison: Comparison) -> Table:
    names = [name for name in AXES if any(name in r.costs for r in comparison.results)]
    headers = {"step": "steps", "generated_tokens": "tokens generated", "flops": "FLOPs"}
    rows = [
        (
            *result.group.values,
            *(amount(result.costs[name]) if name in result.costs else "n/a" for name in names),
        )
        for result in comparison.results
    ]
    return Table(
        "Mean cost of a run",
        (*comparison.question.by, *(headers.get(name, name) for name in names)),
        tuple(rows),
        len(comparison.question.by),
    )


def number_format(intervals: Iterable[Estimate], metric: str = "") -> Callable[[float], str]:
    """One format for a column: three decimals of a share, else about four digits of the largest."""
    numbers = [abs(n) for each in intervals for n in (each.value, each.low, each.high)]
    largest = max((number for number in numbers if math.isfinite(number)), default=0.0)
    if is_share(metric) or largest == 0:
        return "{:.3f}".format
    decimals = max(0, 3 - math.floor(math.log10(largest)))
    return "{:.3e}".format if decimals > 7 else f"{{:,.{decimals}f}}".format


def interval(each: Estimate, show: Callable[[float], str]) -> str:
    """`0.930 [0.900, 0.960]`, and `0.930 [n/a]` of a single run."""
    if math.isnan(each.low):
        return f"{show(each.value)} [n/a]"
    return f"{show(each.value)} [{show(each.low)}, {show(each.high)}]"


def p_value(p: float) -> str:
    return "n/a" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def amount(value: float) -> str:
    """A count or a time at a glance: `80`, `6,889`, `1.35 M`, `14.6 T`."""
    for size, unit in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")):
        if abs(value) >= size:
            return f"{value / size:.3g} {unit}"
    if abs(value) >= 100 or value.is_integer():
        return f"{value:,.0f}"
    return f"{value:.3g}"
