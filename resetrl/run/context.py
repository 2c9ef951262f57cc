"""What observers of a run are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from resetrl.types import PhaseUsage, Rollout, Verdict

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class RunContext:
    """A run as its observers see it.

    `config` is the resolved configuration (the identity of the run), `folder` holds everything
    the run writes, `start_step` is 0 or the step of the checkpoint it resumes from, `plugins` is
    the manifest of all plugins loaded.
    """

    name: str
    folder: Path
    config: Mapping[str, object]
    start_step: int
    total_steps: int
    plugins: Sequence[Mapping[str, str]]
    console: Console


@dataclass(frozen=True)
class Evaluation:
    """The held-out problems answered once each, without resets, after `step` training steps.

    `judged[i]` is the rollout of the i-th held-out problem and its verdict; `usage` is what
    drawing and judging them took. `metrics` are what the sampler added
    (`resetrl.interfaces.SelfEvaluation`), without the prefix `eval/`; `totals` are what all
    evaluations of the run have cost with this one, `{"total/evaluation_seconds": 4.1, ...}`.
    `is_last` where the run ends with it, be it by its steps or by a budget.
    """

    step: int
    accuracy: float
    reward: float
    judged: Sequence[tuple[Rollout, Verdict]]
    usage: PhaseUsage
    metrics: Mapping[str, float] = field(default_factory=dict)
    totals: Mapping[str, float] = field(default_factory=dict)
    is_last: bool = False

    @property
    def seconds(self) -> float:
        return self.usage.seconds
