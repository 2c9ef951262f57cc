"""The lab's plots: every measured curve with its interval, its exact counterpart, the claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from resetrl.theory.curves import Curve
from resetrl.theory.results import LabResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#444444", "#8B5A2B")
MARKERS = "os^DvP*X"
DPI = 110
LEGEND = "points: measured with 95 % intervals; lines: exact"


def write_plots(result: LabResult, folder: Path) -> list[Path]:
    """Writes the five PNG files; returns them."""
    figures = {
        "samples-over-p.png": _samples_over_p(result.curves["samples"]),
        "improvement-over-p.png": _improvement_over_p(result.curves["improvement"]),
        "scaling.png": _scaling(result),
        "gap.png": _gap(result),
        "oracles.png": _oracles(result),
    }
    paths = []
    for name, figure in figures.items():
        paths.append(folder / name)
        figure.savefig(paths[-1], dpi=DPI)
    return paths


def _figure(columns: int, rows: int = 1, width: float = 5.4, height: float = 4.4) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    figure.subplots(rows, columns, squeeze=False)
    return figure


def _samples_over_p(curves: Sequence[Curve]) -> Figure:
    figure = _figure(2, width=6.0, height=5.4)
    plain = [curve for curve in curves if curve.label.startswith("samples RR/CARO")]
    names = {curve.label.removeprefix("samples RR/CARO, "): curve for curve in plain}
    mdps = ("tree", "chain", "chain task", "tree with small advantages")
    _ratios(figure.axes[0], {name: names[name] for name in mdps}, {2: "claim: $1/p^2$"})
    figure.axes[0].set_title("the claim's ratio in four kinds of MDP", fontsize=9)
    drawn = next(curve for curve in curves if curve.label == "states drawn RR/CARO, tree")
    parts = {
        "advantage of a given candidate": names["tree"],
        "whole iteration, choosing included": names["tree, whole iteration"],
        "RR abstains where nothing improves": names["tree, RR abstains"],
        "states drawn instead of samples": drawn,
    }
    _ratios(figure.axes[1], parts, {2: "$1/p^2$", 1: "$1/p$"})
    figure.axes[1].set_title("what it is made of (tree)", fontsize=9)
    for axes in figure.axes:
        _finish(axes, "1/p", "RR / CARO")
    figure.suptitle(f"Reset samples per iteration, RR over CARO; {LEGEND}", fontsize=10)
    return figure


def _improvement_over_p(curves: Sequence[Curve]) -> Figure:
    figure = _figure(1, width=7.0, height=5.0)
    axes = figure.axes[0]
    named = {curve.label.removeprefix("improvement CARO/RR, "): curve for curve in curves}
    _ratios(axes, named, {1: "claim: $1/p$"})
    _finish(axes, "1/p", "CARO / RR")
    figure.suptitle(f"Improvement per iteration, CARO over RR; {LEGEND}", fontsize=10)
    return figure


def _ratios(axes: Axes, curves: Mapping[str, Curve], references: Mapping[int, str]) -> None:
    for number, (name, curve) in enumerate(curves.items()):
        _draw(axes, curve, number, name)
    x = np.unique(np.concatenate([curve.x for curve in curves.values()]))
    for (exponent, name), style in zip(references.items(), ("--", ":"), strict=False):
        axes.plot(x, x**exponent, style, color="black", linewidth=1.2, label=name, zorder=1)
    axes.legend(fontsize=8)


def _scaling(result: LabResult) -> Figure:
    groups = (
        ("samples over 1/tau", r"$1/\tau$", "reset samples per iteration", 2.0),
        ("samples over H", "H", "reset samples per iteration", 2.0),
        ("samples over |Y|", "|Y|", "reset samples per iteration", 1.0),
        ("improvement over tau", r"$\tau$", "improvement per iteration", 2.0),
        ("improvement over H", "H", "improvement per iteration", -1.0),
    )
    figure = _figure(3, 2, width=4.8, height=4.2)
    for axes, (group, x_label, y_label, claimed) in zip(figure.axes, groups, strict=False):
        curves = result.curves[group]
        for number, curve in enumerate(curves):
            _draw(axes, curve, number, curve.label.split(" ", 1)[1])
        x, start = curves[0].x, float(np.exp(np.log([curve.y[0] for curve in curves]).mean()))
        label = f"claim: slope {claimed:g}"
        axes.plot(x, start * (x / x[0]) ** claimed, "--", color="black", linewidth=1.2, label=label)
        _finish(axes, x_label, y_label)
        axes.legend(fontsize=7, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    figure.axes[-1].set_axis_off()
    figure.suptitle(LEGEND, fontsize=10)
    return figure


def _gap(result: LabResult) -> Figure:
    figure = _figure(3, width=4.6)
    for axes, name in zip(figure.axes, ("samples", "states drawn", "iterations"), strict=True):
        for number, curve in enumerate(result.curves[f"{name} to gap"]):
            _draw(axes, curve, number, curve.label.rsplit(":", 1)[0])
        _finish(axes, "1/p at the start", f"{name} until half the gap is closed")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)
    figure.suptitle(
        "rare-decision chain, entered by prompt or by thought; points: measured with 95 % "
        "intervals; lines: a noise-free run",
        fontsize=10,
    )
    return figure


def _oracles(result: LabResult) -> Figure:
    figure = _figure(2, width=5.6)
    points = [point for point in result.oracle_points if point.name == "chain"]
    rates = sorted({point.true_positive_rate for point in points}, reverse=True)
    panels = (
        ("samples", "fewer reset samples than RR"),
        ("improvement", "more improvement than RR"),
    )
    for axes, (what, label) in zip(figure.axes, panels, strict=True):
        for number, rate in enumerate(rates):
            row = [point for point in points if point.true_positive_rate == rate]
            curve = Curve(
                f"true positive rate {rate:g}",
                "",
                np.array([point.false_positive_rate for point in row]),
                np.array([getattr(point, f"{what}_gain") for point in row]),
                np.array(
                    [[getattr(point, f"{what}_{end}") for point in row] for end in ("low", "high")]
                ),
                np.array([getattr(point, f"{what}_exact") for point in row]),
            )
            _draw(axes, curve, number)
        axes.axhline(1.0, color="black", linestyle="--", linewidth=1.2, label="random resets")
        axes.set_xscale("symlog", linthresh=0.01)
        ticks = sorted({point.false_positive_rate for point in points})
        axes.set_xticks(ticks, [f"{rate:g}" for rate in ticks])
        axes.set_xlim(-0.001, 1.2)
        _log_y(axes)
        axes.set_xlabel("false positive rate")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3, which="both")
        axes.legend(fontsize=8)
    figure.suptitle(
        f"rare-decision chain, p = {result.preset.oracle_p:g}; points: measured, lines: exact",
        fontsize=10,
    )
    return figure


def _draw(axes: Axes, curve: Curve, number: int, label: str | None = None) -> None:
    low, high = curve.interval()
    colour = COLOURS[number % len(COLOURS)]
    errors = np.maximum([curve.y - low, high - curve.y], 0.0)
    axes.errorbar(
        curve.x,
        curve.y,
        errors,
        fmt=MARKERS[number % len(MARKERS)],
        color=colour,
        markersize=5,
        capsize=2,
        label=label or curve.label,
    )
    known = np.isfinite(curve.exact)
    axes.plot(curve.x[known], curve.exact[known], "-", color=colour, linewidth=1.0, alpha=0.8)


def _finish(axes: Axes, x_label: str, y_label: str) -> None:
    from matplotlib.ticker import FuncFormatter

    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    _log_y(axes)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.3, which="both")


def _log_y(axes: Axes) -> None:
    from matplotlib.ticker import NullFormatter

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high / low > 30:
        axes.yaxis.set_minor_formatter(NullFormatter())
