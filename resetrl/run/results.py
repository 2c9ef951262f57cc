"""What every run comes to as plain numbers, for whoever searches or compares."""

from __future__ import annotations

from resetrl.run.context import Evaluation
from resetrl.run.ledger import Ledger
from resetrl.run.tracking.facts import evaluation_metrics
from resetrl.types import PhaseUsage

_EVALUATION = Evaluation(step=0, accuracy=0.0, reward=0.0, judged=(), usage=PhaseUsage())

METRICS = tuple(
    name
    for name in (*evaluation_metrics(_EVALUATION), *Ledger().metrics())
    if name.startswith(("eval/", "total/"))
)
"""The metrics that every run has at its end: `eval/accuracy`, `total/generated_tokens`, ..."""
