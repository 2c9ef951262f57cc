"""The lab's plots: every measured curve with its interval, its exact counterpart, the claim."""

from __future__ import annotations

from collections.abc import Sequence
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
DPI = 120


def write_plots(result: LabResult, folder: Path) -> list[Path]:
    """Writes the five PNG files; returns them."""
    figures = {
        "samples-over-p.png": _over_p(
            result.curves["samples"],
            "fewer reset samples, RR / CARO",
            {2.0: "claim $1/p^2$", 1.0: "$1/p$"},
        ),
        "improvement-over-p.png": _over_p(
            result.curves["improvement"],
            "more improvement per iteration, CARO / RR",
            {1.0: "claim $1/p$"},
        ),
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


def _over_p(curves: Sequence[Curve], y_label: str, references: dict[float, str]) -> Figure:
    figure = _figure(1, width=9.0, height=5.4)
    axes = figure.axes[0]
    for number, curve in enumerate(curves):
        _draw(axes, curve, number)
    x = np.unique(np.concatenate([curve.x for curve in curves]))
    for exponent, name in references.items():
        style = "--" if "claim" in name else ":"
        axes.plot(x, x**exponent, style, color="black", linewidth=1.2, label=name, zorder=1)
    _finish(axes, "1/p", y_label)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", fontsize=8)
    axes.set_title("points: measured, 95 % intervals; lines: exact", fontsize=9)
    return figure


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
        axes.legend(fontsize=7)
    figure.axes[-1].set_axis_off()
    figure.axes[-1].text(0.0, 0.9, "points: measured, 95 % intervals\nlines: exact", va="top")
    return figure


def _gap(result: LabResult) -> Figure:
    figure = _figure(3, width=4.6)
    for axes, name in zip(figure.axes, ("samples", "states drawn", "iterations"), strict=True):
        for number, curve in enumerate(result.curves[f"{name} to gap"]):
            _draw(axes, curve, number, curve.label.rsplit(":", 1)[0])
        _finish(axes, "1/p at the start", f"{name} until half the gap is closed")
        axes.legend(fontsize=8)
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
        axes.set_yscale("log")
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
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.3, which="both")
