"""The figures: learning curves with bands, and final values, differences and times as intervals."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from resetrl.compare.analysis import Comparison, Result
from resetrl.compare.records import AXES
from resetrl.compare.tables import amount, value_name
from resetrl.estimate import Estimate
from resetrl.run.curves import STYLE as CURVE_STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8B5A2B")
"""Told apart by colour-blind readers (Okabe and Ito, 2008)."""

BASELINE = "#444444"
LINES = ("-", "--", ":", "-.")
TICKS = (1, 2, 5, 10)
DIRECT = 6
"""Up to so many curves are named at their ends; more are named in a legend."""

STYLE: dict[Any, Any] = {
    **CURVE_STYLE,
    "axes.titlesize": 9,
    "pdf.fonttype": 42,
    "svg.hashsalt": "resetrl",
}

METADATA = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Producer": None}}
"""The same comparison gives the same bytes."""


def draw(comparison: Comparison) -> dict[str, bytes]:
    """`curves.png`, `curves.pdf`, `intervals.png` and `intervals.pdf`."""
    from matplotlib import rc_context

    drawn = {}
    with rc_context(STYLE):
        figures = {"curves": _curves(comparison), "intervals": _intervals(comparison)}
        for name, figure in figures.items():
            for kind, metadata in METADATA.items():
                stream = io.BytesIO()
                figure.savefig(stream, format=kind, dpi=200, metadata=metadata)
                drawn[f"{name}.{kind}"] = stream.getvalue()
    return drawn


Look = Mapping[str, Any]
Rows = Sequence[tuple[Result, str]]
"""Results from top to bottom with their colours."""


def _is_split(comparison: Comparison) -> bool:
    """Whether many groups of several factors get a panel for each value of all but the first."""
    return len(comparison.question.by) > 1 and len(comparison.results) > DIRECT


def _curve_label(result: Result, comparison: Comparison) -> str:
    return result.group.values[0] if _is_split(comparison) else result.group.label


def _in_panels(comparison: Comparison) -> list[Result]:
    """The results panel by panel, in the order in which panels first appear."""
    panels = list(dict.fromkeys(each.group.values[1:] for each in comparison.results))
    return sorted(comparison.results, key=lambda each: panels.index(each.group.values[1:]))


def _looks(comparison: Comparison) -> dict[str, Look]:
    """Colour and line of each curve by its label; what is only ever a baseline is dark grey."""
    baselines = comparison.baselines
    labels = dict.fromkeys(_curve_label(each, comparison) for each in comparison.results)
    others = {
        _curve_label(each, comparison): None
        for each in comparison.results
        if each.group.label not in baselines
    }
    looks: dict[str, Look] = {label: {"color": BASELINE, "linestyle": "-"} for label in labels}
    for place, label in enumerate(others):
        line = LINES[place // len(COLOURS) % len(LINES)]
        looks[label] = {"color": COLOURS[place % len(COLOURS)], "linestyle": line}
    return looks


def _curves(comparison: Comparison) -> Figure:
    """One panel or, of several factors with many groups, one for each value of the others."""
    split = _is_split(comparison)
    panels: dict[str, list[tuple[str, Result]]] = {}
    for result in comparison.results:
        title = ", ".join(result.group.values[1:]) if split else ""
        panels.setdefault(title, []).append((_curve_label(result, comparison), result))
    columns = min(len(panels), 3)
    rows = math.ceil(len(panels) / columns)
    figure = _figure(3.4 * columns if split else 4.8, 2.7 * rows if split else 3.2)
    axes = figure.subplots(rows, columns, sharey=True, sharex=True, squeeze=False)
    looks = _looks(comparison)
    labels = list(looks)
    direct = not split and len(labels) <= DIRECT
    for place, (title, panel) in zip(axes.flat, panels.items(), strict=False):
        for label, result in panel:
            _band(place, result, looks[label], label)
        place.set_title(f"{', '.join(comparison.question.by[1:])} {title}" if title else "")
        _finish_curves(place, comparison)
        if direct:
            _name_ends(place, [(label, result, looks[label]) for label, result in panel])
    for place in axes.flat[len(panels) :]:
        place.set_axis_off()
    for place in axes[:, 0]:
        place.set_ylabel(comparison.question.metric)
    if not direct:
        by_label = {h.get_label(): h for place in axes.flat for h in place.get_lines()}
        handles = [by_label[label] for label in labels if label in by_label]
        figure.legend(handles=handles, loc="outside upper center", ncols=min(len(labels), 6))
    return figure


def _band(axes: Axes, result: Result, look: Look, label: str) -> None:
    curve = result.curve
    axes.plot(curve.xs, curve.mean, label=label, lw=1.6, **look)
    axes.fill_between(curve.xs, curve.low, curve.high, color=look["color"], alpha=0.15, lw=0)


def _finish_curves(axes: Axes, comparison: Comparison) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    question = comparison.question
    axes.set_xlabel(AXES[question.x])
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=question.x == "step", steps=TICKS))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: amount(value)))
    axes.margins(x=0.01)
    if question.threshold is not None:
        axes.axhline(question.threshold, color="#888888", lw=0.8, ls=(0, (4, 3)), zorder=1)


def _name_ends(axes: Axes, curves: Sequence[tuple[str, Result, Look]]) -> None:
    """Write each curve's name behind its end, pushed apart where ends lie close."""
    ended = [each for each in curves if each[1].curve.xs]
    if not ended:
        return
    low, high = axes.get_ylim()
    heights = spread_out([each[1].curve.mean[-1] for each in ended], 0.062 * (high - low))
    for (label, _, look), height in zip(ended, heights, strict=True):
        axes.annotate(
            label,
            xy=(1.0, height),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            color=look["color"],
            va="center",
            annotation_clip=False,
        )


def spread_out(places: Sequence[float], gap: float) -> list[float]:
    """The places, moved as little as it takes for neighbours to be a gap apart.

    Example: `spread_out([0.0, 0.0, 5.0], 1.0)` is `[-0.5, 0.5, 5.0]`.
    """
    blocks: list[tuple[float, list[int]]] = []  # centre, and who is in it from below
    for i in sorted(range(len(places)), key=lambda i: places[i]):
        centre, members = places[i], [i]
        while blocks and _top(blocks[-1], gap) + gap > centre - (len(members) - 1) / 2 * gap:
            before, lower = blocks.pop()
            members = lower + members
            centre = (before * len(lower) + centre * (len(members) - len(lower))) / len(members)
        blocks.append((centre, members))
    moved = list(places)
    for centre, members in blocks:
        for rank, i in enumerate(members):
            moved[i] = centre + (rank - (len(members) - 1) / 2) * gap
    return moved


def _top(block: tuple[float, list[int]], gap: float) -> float:
    return block[0] + (len(block[1]) - 1) / 2 * gap


def _intervals(comparison: Comparison) -> Figure:
    """A row a group; panels: final values with every run, differences, times.

    Where curves have panels, rows stand in their order and have their colours.
    """
    results = _in_panels(comparison) if _is_split(comparison) else comparison.results
    compared = any(result.difference is not None for result in results)
    timed = comparison.question.threshold is not None
    figure = _figure(3.3 * (1 + compared + timed) + 0.6, 0.34 * len(results) + 1.1)
    panels = list(figure.subplots(1, 1 + compared + timed, sharey=True, squeeze=False)[0])
    looks = _looks(comparison)
    rows = [(result, looks[_curve_label(result, comparison)]["color"]) for result in results]
    _final_panel(panels.pop(0), comparison, rows)
    if compared:
        _difference_panel(panels.pop(0), comparison, rows)
    if timed:
        _time_panel(panels.pop(0), comparison, rows)
    return figure


def _final_panel(axes: Axes, comparison: Comparison, rows: Rows) -> None:
    from matplotlib.ticker import MaxNLocator

    for row, (result, colour) in enumerate(rows):
        values = result.values
        axes.plot(values, _beside(row, len(values)), "o", color=colour, ms=3, alpha=0.4, mew=0)
        _whisker(axes, row, result.final, colour)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=TICKS))
    axes.set_yticks(range(len(rows)), [result.group.label for result, _ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.set_title(value_name(comparison), loc="left")


def _difference_panel(axes: Axes, comparison: Comparison, rows: Rows) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.axvline(0, color=BASELINE, lw=0.9, zorder=1)
    for row, (result, colour) in enumerate(rows):
        if result.difference is not None:
            _whisker(axes, row, result.difference.interval, colour)
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=TICKS))
    one = len(comparison.baselines) == 1
    name = next(iter(comparison.baselines)) if one else "the baseline"
    axes.set_title(f"difference to {name}", loc="left")


def _time_panel(axes: Axes, comparison: Comparison, rows: Rows) -> None:
    """Dots are runs that arrived, open triangles where others were last seen below."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    found = [(each.arrivals, colour) for each, colour in rows if each.arrivals is not None]
    edge = 1.08 * max(each.x for arrivals, _ in found for each in arrivals.runs)
    for row, (arrivals, colour) in enumerate(found):
        for each, height in zip(arrivals.runs, _beside(row, len(arrivals.runs)), strict=True):
            look = {"alpha": 0.4, "mew": 0} if each.reached else {"mfc": "none", "mew": 0.8}
            axes.plot(each.x, height, "o" if each.reached else ">", color=colour, ms=3.5, **look)
        median = arrivals.median
        ends = [min(end, edge) for end in (median.value, median.low, median.high)]
        _whisker(axes, row, Estimate(*ends), colour, with_point=math.isfinite(median.value))
        if math.isinf(median.high):
            axes.plot(edge, row, ">", color=colour, ms=5, mew=0)
    question = comparison.question
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=TICKS))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: amount(value)))
    axes.set_xlim(left=0)
    axes.grid(axis="y", visible=False)
    axes.set_title(f"{AXES[question.x]} to {question.threshold:g}", loc="left")


def _whisker(axes: Axes, row: int, each: Estimate, colour: str, with_point: bool = True) -> None:
    if math.isfinite(each.low):
        axes.plot([each.low, each.high], [row, row], color=colour, lw=2.2, solid_capstyle="butt")
    if with_point:
        axes.plot(each.value, row, "o", color=colour, ms=6, mec="white", mew=0.8)


def _beside(row: int, num: int) -> list[float]:
    """Heights for single runs, a little below the row so that they do not hide its interval."""
    return [float(height) for height in row + 0.22 + np.linspace(-0.06, 0.06, num)]


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
