"""Draws the learning curves of runs and prints their table, for the README.

    python learning_curves.py --out learning_curves.png runs/score-seed0 runs/score-seed1 ...

Runs of one method are one line, the mean over its seeds; each seed is a thin one. The left panel
counts training steps, the right one all tokens generated for training.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from resetrl.run.curves import STYLE

COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
SECOND_TURN = "second turn"


@dataclass(frozen=True)
class Curve:
    """One run: its evaluations as (step, thousand tokens generated until then, accuracy)."""

    method: str
    lr: float
    points: tuple[tuple[int, float, float], ...]
    second_turn: tuple[float, ...]
    totals: dict[str, float]


def read_curve(folder: Path) -> Curve:
    """The curve of a run folder."""
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    points, second_turn, totals = [], [], {"total/generated_tokens": 0.0}
    for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        metrics = record["metrics"]
        totals |= {name: value for name, value in metrics.items() if name.startswith("total/")}
        if "eval/accuracy" in metrics:
            tokens = totals["total/generated_tokens"]
            points.append((record["step"], tokens / 1000, metrics["eval/accuracy"]))
            if "eval/second_turn_accuracy" in metrics:
                second_turn.append(metrics["eval/second_turn_accuracy"])
    return Curve(
        config["method"], config["learner"]["lr"], tuple(points), tuple(second_turn), totals
    )


def draw(curves: Sequence[Curve], out: Path) -> None:
    """The two panels, as a PNG."""
    with rc_context(STYLE):
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, 2, sharey=True)
        for colour, method in zip(COLOURS, dict.fromkeys(c.method for c in curves), strict=False):
            mine = [curve for curve in curves if curve.method == method]
            for panel, column in zip(panels, (0, 1), strict=True):
                _draw_method(panel, mine, column, method, colour)
        for panel, label in zip(
            panels, ("training step", "thousand tokens generated"), strict=True
        ):
            panel.set_xlabel(label)
            panel.set_ylim(0.3, 1)
        panels[0].set_ylabel("held-out accuracy")
        panels[0].legend(loc="lower right", fontsize=8)
        figure.savefig(out, format="png", dpi=110)


def _draw_method(panel: Any, mine: Sequence[Curve], column: int, method: str, colour: str) -> None:
    def across(values: Sequence[Sequence[float]]) -> list[float]:
        return [fmean(point) for point in zip(*values, strict=True)]

    for curve in mine:
        xs, ys = [p[column] for p in curve.points], [p[2] for p in curve.points]
        panel.plot(xs, ys, color=colour, alpha=0.25, lw=0.8)
    xs = across([[p[column] for p in curve.points] for curve in mine])
    ys = across([[p[2] for p in curve.points] for curve in mine])
    panel.plot(xs, ys, color=colour, lw=1.8, label=method)
    if mine[0].second_turn:
        second = across([curve.second_turn for curve in mine])
        panel.plot(xs, second, "--", color=colour, lw=1.2, label=f"{method}, {SECOND_TURN}")


def table(curves: Sequence[Curve]) -> str:
    """Markdown: accuracy before and after, mean over seeds, and what it cost a run."""
    rows = [
        "| method | lr | accuracy before | after, each seed | rollouts drawn | tokens generated |"
    ]
    rows.append("|---|---|---|---|---|---|")
    for method in dict.fromkeys(curve.method for curve in curves):
        mine = [curve for curve in curves if curve.method == method]
        before = fmean(curve.points[0][2] for curve in mine)
        after = ", ".join(f"{curve.points[-1][2]:.3f}" for curve in mine)
        rollouts = fmean(curve.totals["total/rollouts"] for curve in mine)
        tokens = fmean(curve.totals["total/generated_tokens"] for curve in mine)
        rows.append(
            f"| `{method}` | {mine[0].lr:g} | {before:.3f} | {after} | {rollouts:,.0f} "
            f"| {tokens:,.0f} |"
        )
        if mine[0].second_turn:
            after = ", ".join(f"{c.second_turn[-1]:.3f}" for c in mine)
            rows.append(f"| its {SECOND_TURN} | | {mine[0].second_turn[0]:.3f} | {after} | | |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="run folders")
    parser.add_argument("--out", type=Path, default=Path("learning_curves.png"))
    arguments = parser.parse_args()
    curves = [read_curve(folder) for folder in arguments.runs]
    draw(curves, arguments.out)
    print(table(curves))


if __name__ == "__main__":
    main()
