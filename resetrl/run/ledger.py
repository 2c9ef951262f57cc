"""The ledger: what a run has cost so far, so that curves can be drawn against any of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from resetrl.types import StepRecord


@dataclass
class Ledger:
    """Totals over the steps of a run; part of every checkpoint, so a resume goes on counting."""

    rollouts: float = 0.0
    discarded_rollouts: float = 0.0
    prompt_tokens: float = 0.0
    cached_tokens: float = 0.0
    generated_tokens: float = 0.0
    seconds: float = 0.0
    flops: float = 0.0

    def add(self, record: StepRecord) -> None:
        """Count one more step."""
        self.rollouts += record.metrics["rollouts/drawn"]
        self.discarded_rollouts += record.metrics["rollouts/discarded"]
        for usage in record.phases.values():
            self.prompt_tokens += usage.prompt_tokens
            self.cached_tokens += usage.cached_tokens
            self.generated_tokens += usage.generated_tokens
            self.seconds += usage.seconds
            self.flops += usage.flops

    def metrics(self) -> dict[str, float]:
        """The totals as metrics, `total/generated_tokens` and so on."""
        return {f"total/{name}": value for name, value in asdict(self).items()}
