"""The learning curve of a run, drawn from its journal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resetrl.run.tracking.files import cannot_write
from resetrl.run.tracking.journal import JournalRecord, read_journal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Points = list[tuple[int, float]]

HELD_OUT, DRAWS, EXACT, CLEAN = "#0072B2", "#56B4E9", "#D55E00", "#009E73"
FURTHER = ("#CC79A7", "#E69F00")
"""Colours told apart by colour-blind readers (Okabe and Ito, 2008)."""

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e5e5",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
}


def learning_curve(journal: Path, out: Path, title: str = "") -> None:
    """Draw held-out accuracy and accuracy of training draws over steps into the PNG `out`.

    Accuracies that a sampler adds to evaluations, of a second turn for instance, are drawn too.
    Where the journal holds localization quality it has a second panel. Raises ResetrlError if
    there is no journal or the file cannot be written.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    records = read_journal(journal)
    quality = {
        "localization/exact": ("at the first error", EXACT),
        "localization/clean_prefix": ("no later than the first error", CLEAN),
    }
    localized = {name: points for name in quality if (points := series(records, name))}
    with rc_context(STYLE):
        num_panels = 2 if localized else 1
        figure = Figure(figsize=(4.2 * num_panels, 3.1), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, num_panels, squeeze=False)[0]
        _draw_accuracy(panels[0], records)
        if localized:
            for name, points in localized.items():
                label, colour = quality[name]
                _draw_smoothed(panels[1], points, label, colour)
            _finish_axes(panels[1], "localization (share of resets)")
        if title:
            figure.suptitle(title, fontsize=10)
        draft = out.with_name(f".draft_{out.name}")
        try:
            figure.savefig(draft, format="png", dpi=200)
            draft.replace(out)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise cannot_write(out, error) from error


def series(records: Sequence[JournalRecord], name: str) -> Points:
    """The values of one metric as (step, value), oldest first."""
    return [(record.step, record.metrics[name]) for record in records if name in record.metrics]


def smoothed(points: Points) -> Points:
    """Centred means over a tenth of the points, at least five; fewer towards the ends.

    Example: `[(1, 0.0), (2, 1.0), (3, 0.5)]` becomes `[(1, 0.5), (2, 0.5), (3, 0.5)]`.
    """
    reach = max(len(points) // 20, 2)
    means = []
    for position, (step, _) in enumerate(points):
        window = points[max(position - reach, 0) : position + reach + 1]
        means.append((step, sum(value for _, value in window) / len(window)))
    return means


def _draw_accuracy(axes: Axes, records: Sequence[JournalRecord]) -> None:
    draws, held_out = series(records, "draws/accuracy"), series(records, "eval/accuracy")
    if draws:
        _draw_smoothed(axes, draws, "training draws", DRAWS)
    if held_out:
        axes.plot(
            *zip(*held_out, strict=True), "o-", color=HELD_OUT, label="held-out", ms=4, lw=1.8
        )
    for colour, name in zip(FURTHER, further_accuracies(records), strict=False):
        points, label = series(records, name), name.removeprefix("eval/").removesuffix("_accuracy")
        axes.plot(
            *zip(*points, strict=True), "s--", color=colour, label=label.replace("_", " "), ms=3.5
        )
    _finish_axes(axes, "accuracy")


def further_accuracies(records: Sequence[JournalRecord]) -> list[str]:
    """The metrics `eval/<what>_accuracy` of a journal, in the order they came up."""
    names = dict.fromkeys(name for record in records for name in record.metrics)
    return [name for name in names if re.fullmatch(r"eval/\w+_accuracy", name)]


def _draw_smoothed(axes: Axes, points: Points, label: str, colour: str) -> None:
    """The raw values lightly, their running mean on top."""
    axes.plot(*zip(*points, strict=True), color=colour, alpha=0.25, lw=0.8)
    axes.plot(*zip(*smoothed(points), strict=True), color=colour, lw=1.4, label=label)


def _finish_axes(axes: Axes, ylabel: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("training step")
    axes.set_ylabel(ylabel)
    axes.set_ylim(0, 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, steps=[1, 2, 5, 10]))
    if axes.lines:  # above the data, never on it
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, fontsize=8)
