"""The ledger: what a run has cost so far, so that curves can be drawn against any of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from resetrl.types import PhaseUsage, StepRecord

_SPENT = ("requests", "prompt_tokens", "cached_tokens", "generated_tokens", "seconds", "flops")


@dataclass
class Ledger:
    """Totals over the steps of a run; part of every checkpoint, so a resume goes on counting.

    `rollouts` were drawn, `trained_rollouts` and `discarded_rollouts` of them; the tokens are
    those of all phases of the steps, also of asking where to go back to, which alone computed
    `localization_tokens` (prompts and replies). `seconds` are those of the steps,
    `verify_seconds` of them the verifier's. What evaluations cost is no cost of training and
    kept apart; together the two are what the engine has done.
    """

    rollouts: float = 0.0
    trained_rollouts: float = 0.0
    discarded_rollouts: float = 0.0
    requests: float = 0.0
    prompt_tokens: float = 0.0
    cached_tokens: float = 0.0
    generated_tokens: float = 0.0
    localization_tokens: float = 0.0
    learned_tokens: float = 0.0
    seconds: float = 0.0
    verify_seconds: float = 0.0
    flops: float = 0.0
    evaluation_requests: float = 0.0
    evaluation_prompt_tokens: float = 0.0
    evaluation_cached_tokens: float = 0.0
    evaluation_generated_tokens: float = 0.0
    evaluation_seconds: float = 0.0
    evaluation_flops: float = 0.0

    def add(self, record: StepRecord) -> None:
        """Count one more step."""
        self.rollouts += record.metrics["rollouts/drawn"]
        self.trained_rollouts += record.metrics["rollouts/trained"]
        self.discarded_rollouts += record.metrics["rollouts/discarded"]
        for usage in record.phases.values():
            self._spend(usage, "")
            self.learned_tokens += usage.learned_tokens
        localize = record.phases.get("localize", PhaseUsage())
        self.localization_tokens += localize.prompt_tokens + localize.generated_tokens
        self.verify_seconds += record.phases.get("verify", PhaseUsage()).seconds

    def add_evaluation(self, usage: PhaseUsage) -> None:
        """Count one more evaluation."""
        self._spend(usage, "evaluation_")

    def _spend(self, usage: PhaseUsage, kind: str) -> None:
        for name in _SPENT:
            setattr(self, kind + name, getattr(self, kind + name) + getattr(usage, name))

    @classmethod
    def from_metrics(cls, metrics: Mapping[str, float]) -> Ledger:
        """The ledger whose `metrics()` are among these; a total that is not there is 0."""
        return cls(**{f.name: metrics.get(f"total/{f.name}", 0.0) for f in fields(cls)})

    def metrics(self) -> dict[str, float]:
        """The totals as metrics, `total/generated_tokens` and so on."""
        return {f"total/{name}": value for name, value in asdict(self).items()}

    def step_metrics(self) -> dict[str, float]:
        """Those of the metrics that a step changes."""
        evaluation = self.evaluation_metrics()
        return {name: value for name, value in self.metrics().items() if name not in evaluation}

    def evaluation_metrics(self) -> dict[str, float]:
        """Those of the metrics that an evaluation changes: `total/evaluation_seconds`, ..."""
        return {
            name: value
            for name, value in self.metrics().items()
            if name.startswith("total/evaluation_")
        }
