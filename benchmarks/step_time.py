"""What a training step costs: batched against one by one, by phase, SRPO against GRPO.

    python benchmarks/step_time.py [--steps 10]

Prints Markdown for benchmarks/RESULTS.md. Nothing is written, tracked or evaluated.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from resetrl.interfaces import EngineCounters, Learner, Policy
from resetrl.plugins import Registry, load_plugins
from resetrl.run.compose import compose
from resetrl.run.loop import Trainer, build_trainer
from resetrl.types import Completion, Request, StepRecord

METHODS = ("srpo", "grpo", "rrpo", "oracle")


@dataclass
class Recorder:
    """A policy that passes requests on and remembers each call's."""

    policy: Policy
    waves: list[list[Request]] = field(default_factory=list)

    @property
    def counters(self) -> EngineCounters:
        return self.policy.counters

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        self.waves.append(list(requests))
        return self.policy.generate(requests)

    def sync(self, learner: Learner) -> bool:
        return self.policy.sync(learner)


def trainer_of(method: str, registry: Registry) -> Trainer:
    config = compose([f"method={method}"], registry)
    return build_trainer(config, Path(tempfile.gettempdir()), registry)


def batched_against_one_by_one(registry: Registry, repeats: int = 3) -> str:
    """All waves of one SRPO step, then the very same requests one after another, in turn."""
    trainer = trainer_of("srpo", registry)
    trainer._train(1)  # warm-up
    recorder = Recorder(trainer.session.policy)
    trainer.session = replace(trainer.session, policy=recorder)
    trainer._train(2)
    waves = recorder.waves
    alone = [[request] for wave in waves for request in wave]
    speeds = [
        (tokens_per_second(recorder.policy, waves), tokens_per_second(recorder.policy, alone))
        for _ in range(repeats)
    ]
    ratios = [fast / slow for fast, slow in speeds]
    return (
        f"| {len(alone)} requests, batched | {statistics.median(f for f, _ in speeds):,.0f} |\n"
        f"| the same, one after another | {statistics.median(s for _, s in speeds):,.0f} |\n"
        f"| ratio, median of {repeats} | {statistics.median(ratios):.1f} "
        f"({min(ratios):.1f} to {max(ratios):.1f}) |\n"
    )


def tokens_per_second(policy: Policy, waves: Sequence[Sequence[Request]]) -> float:
    started = time.perf_counter()
    completions = [completion for wave in waves for completion in policy.generate(wave)]
    seconds = time.perf_counter() - started
    return sum(completion.num_drawn for completion in completions) / seconds


def seconds_of(record: StepRecord) -> float:
    return sum(usage.seconds for usage in record.phases.values())


def step_costs(registry: Registry, steps: int) -> str:
    """The median step of each method, in turn within one process, and its phases."""
    trainers = {method: trainer_of(method, registry) for method in METHODS}
    records: dict[str, list[StepRecord]] = defaultdict(list)
    for step in range(1, steps + 2):
        for method, trainer in trainers.items():
            record = trainer._train(step)
            if step > 1:
                records[method].append(record)
    lines = [
        "| method | step, s | of GRPO | draw | localize | suffix | verify | learn | other "
        "| tokens/s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    medians = {m: statistics.median(map(seconds_of, records[m])) for m in METHODS}
    for method in METHODS:
        total = sum(map(seconds_of, records[method]))
        shares = [
            sum(r.phases[name].seconds for r in records[method] if name in r.phases) / total
            for name in ("draw", "localize", "suffix", "verify", "learn", "other")
        ]
        tokens = sum(u.generated_tokens for r in records[method] for u in r.phases.values())
        lines.append(
            f"| {method} | {medians[method]:.3f} | {medians[method] / medians['grpo']:.2f} | "
            + " | ".join(f"{share:.1%}" for share in shares)
            + f" | {tokens / total:,.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10, help="timed steps of each method")
    steps = parser.parse_args().steps
    registry = load_plugins()
    print("| generation | tokens/s |\n|---|---|")
    print(batched_against_one_by_one(registry))
    print(step_costs(registry, steps))


if __name__ == "__main__":
    main()
