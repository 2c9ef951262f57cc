"""What a run says at its end."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from resetrl.run.curves import series
from resetrl.run.tracking.journal import JOURNAL, read_journal

if TYPE_CHECKING:
    from resetrl.run.loop import Outcome


def print_summary(outcome: Outcome, console: Console) -> None:
    """Held-out accuracy from first to last, what it cost, and where to look next.

    Of a pruned run, which has come to nothing, only that.
    """
    if outcome.pruned:
        console.print(outcome.pruned, markup=False)
        return
    last = outcome.evaluations[-1]
    first_step, first = _first_accuracy(outcome)
    ledger = outcome.ledger
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_row(
        "accuracy",
        f"[bold]{last.accuracy:.3f}[/] on {len(last.judged)} held-out problems after "
        f"{last.step} steps; {first:.3f} after {first_step} "
        f"([bold]{last.accuracy - first:+.3f}[/])",
    )
    table.add_row(
        "cost",
        f"{ledger.seconds:.0f} s in steps, {ledger.rollouts:,.0f} rollouts drawn "
        f"({ledger.discarded_rollouts:,.0f} not trained), "
        f"{ledger.generated_tokens:,.0f} tokens generated; evaluations "
        f"{ledger.evaluation_seconds:.0f} s, {ledger.evaluation_generated_tokens:,.0f} tokens",
    )
    if outcome.budget is not None:
        table.add_row("ended", f"after step {outcome.steps}, with {outcome.budget}")
    console.print()
    console.print(table)
    places = {
        "weights": f"{outcome.checkpoint} (hash {outcome.weights_hash})",
        "curve": str(outcome.folder / "learning_curve.png"),
        "resets": f"resetrl show {shlex.quote(str(outcome.folder))}",
        "MLflow": "" if outcome.tracking is None else outcome.tracking.command,
    }
    for name, place in places.items():
        if place:  # in one piece, to be copied
            console.print(f"{name:8}  {place}", markup=False, soft_wrap=True)


def _first_accuracy(outcome: Outcome) -> tuple[int, float]:
    """Step and accuracy of the run's first evaluation, which a resumed run has in its journal."""
    return series(read_journal(outcome.folder / JOURNAL), "eval/accuracy")[0]
