"""The picture of `resetrl analyze localization`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resetrl.analysis.localization import (
    Reset,
    by_depth,
    by_deviation,
    corrections,
    outcome_rates,
    uniform_rates,
)
from resetrl.analysis.tables import Runs
from resetrl.estimate import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
CLEAN, ERRONEOUS = "#0072B2", "#D55E00"


def write_plot(runs: Runs, file: Path) -> Path:
    """Outcomes, deviations, corrections by prefix, and by depth of the most telling run, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8), layout="constrained")
    axes = figure.subplots(2, 2)
    _outcomes(axes[0, 0], runs)
    _deviations(axes[0, 1], runs)
    _prefixes(axes[1, 0], runs)
    _depths(axes[1, 1], runs)
    for each in axes.flat:
        each.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=120)
    return file


def _bars(
    axes: Axes, places: Sequence[float], estimates: Sequence[Estimate], width: float, **style: Any
) -> None:
    values = [estimate.value for estimate in estimates]
    below = [estimate.value - estimate.low for estimate in estimates]
    above = [estimate.high - estimate.value for estimate in estimates]
    axes.bar(places, values, width, yerr=[below, above], capsize=2, error_kw={"lw": 1}, **style)


def _outcomes(axes: Axes, runs: Runs) -> None:
    width = 0.8 / len(runs)
    for place, (name, resets) in enumerate(runs.items()):
        rates = outcome_rates(resets)
        places = [column + (place + 0.5) * width - 0.4 for column in range(len(rates))]
        colour = COLOURS[place % len(COLOURS)]
        _bars(axes, places, list(rates.values()), width * 0.9, color=colour, label=name)
        uniform = list(uniform_rates(resets).values())
        label = "a uniform choice in the same seeds" if place == 0 else None
        axes.plot(places, uniform, "_", color="black", markersize=14, label=label)
    axes.set_xticks(range(4), ["exact", "early", "late", "clean prefix"])
    axes.set_ylabel("share of resets")
    axes.set_title("where resets go back to")
    axes.set_ylim(0, 1.35)  # room for the legend
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axes.legend(fontsize=8, frameon=False, loc="upper center")


def _deviations(axes: Axes, runs: Runs) -> None:
    width = 0.8 / len(runs)
    for place, (_, resets) in enumerate(runs.items()):
        found = by_deviation(resets)
        places = [deviation + (place + 0.5) * width - 0.4 for deviation in found]
        shares = [count / len(resets) for count, _ in found.values()]
        axes.bar(places, shares, width * 0.9, color=COLOURS[place % len(COLOURS)])
    axes.axvline(0, color="black", lw=0.5, zorder=0)
    axes.set_xlabel("thoughts behind the first wrong one (below 0: before it)")
    axes.set_ylabel("share of resets")
    axes.set_title("deviation")


def _prefixes(axes: Axes, runs: Runs) -> None:
    for place, resets in enumerate(runs.values()):
        found = corrections(resets)
        for side, estimate, colour in ((0, found.clean, CLEAN), (1, found.erroneous, ERRONEOUS)):
            if estimate is not None:
                _bars(axes, [place + side * 0.4 - 0.2], [estimate], 0.36, color=colour)
    axes.set_xticks(range(len(runs)), list(runs), rotation=15 if len(runs) > 2 else 0, fontsize=8)
    axes.set_xlim(-0.7, max(len(runs) - 0.3, 1.0))
    axes.set_ylabel("some suffix is right")
    axes.set_title("corrections from clean (blue) and erroneous (orange) prefixes")


def _num_comparable(resets: Sequence[Reset]) -> int:
    found = corrections(resets)
    return min(found.num_clean, found.num_erroneous)


def _depths(axes: Axes, runs: Runs) -> None:
    name, resets = max(runs.items(), key=lambda run: _num_comparable(run[1]))
    found = by_depth(resets)
    sides = (
        ("clean", CLEAN, {depth: each.clean for depth, each in found.items()}),
        ("erroneous", ERRONEOUS, {depth: each.erroneous for depth, each in found.items()}),
    )
    for place, (label, colour, estimates) in enumerate(sides):
        known = {depth: each for depth, each in estimates.items() if each is not None}
        depths = [depth + 0.1 * place - 0.05 for depth in known]
        values = [each.value for each in known.values()]
        below = [each.value - each.low for each in known.values()]
        above = [each.high - each.value for each in known.values()]
        axes.errorbar(depths, values, [below, above], fmt="o", color=colour, capsize=2, label=label)
    axes.set_xlabel("thoughts kept")
    axes.set_ylabel("some suffix is right")
    axes.set_title("corrections at equal depth" + (f": {name}" if len(runs) > 1 else ""))
    axes.set_ylim(-0.05, 1.25)  # room for the legend
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    names = [f"{label} prefix" for label, _, _ in sides]
    axes.legend(names, fontsize=8, frameon=False, ncols=2, loc="upper center")
