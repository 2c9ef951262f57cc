"""Measures what each phase of a step costs: seconds, requests and tokens."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass

from resetrl.interfaces import EngineCounters
from resetrl.types import PhaseUsage


@dataclass
class Work:
    """Tokens a phase computes outside of the engine: learned from, or only scored."""

    learned_tokens: int = 0
    scored_tokens: int = 0


class Meter:
    """Collects the ledger rows of one step.

    Tokens are differences of the engine's own counters, so the ledger cannot disagree with the
    engine. FLOPs are estimated as 2 x parameters for each token computed or scored; for each one
    learned from twice that, and 2 x the trained parameters, which are fewer with adapters.
    A phase inside another (a localization inside a selection) is not possible: phases are flat.
    """

    def __init__(
        self, counters: EngineCounters, num_parameters: int, num_trained: int | None = None
    ) -> None:
        self._counters = counters
        self._num_parameters = num_parameters
        self._num_trained = num_parameters if num_trained is None else num_trained
        self._usage: dict[str, PhaseUsage] = {}
        self._started = time.perf_counter()

    @contextmanager
    def phase(self, name: str) -> Iterator[Work]:
        """Charge what happens inside to a phase; a phase may be entered several times.

        What passes through the model without the engine is to be noted in the `Work` it yields.
        """
        before, start, work = astuple(self._counters), time.perf_counter(), Work()
        yield work
        seconds = time.perf_counter() - start
        requests, prompt, cached, generated = (
            after - earlier for after, earlier in zip(astuple(self._counters), before, strict=True)
        )
        passed_forward = prompt + generated + work.scored_tokens
        learned = (4.0 * self._num_parameters + 2.0 * self._num_trained) * work.learned_tokens
        flops = 2.0 * self._num_parameters * passed_forward + learned
        spent = self._usage.get(name, PhaseUsage())
        self._usage[name] = PhaseUsage(
            requests=spent.requests + requests,
            prompt_tokens=spent.prompt_tokens + prompt,
            cached_tokens=spent.cached_tokens + cached,
            generated_tokens=spent.generated_tokens + generated,
            learned_tokens=spent.learned_tokens + work.learned_tokens,
            seconds=spent.seconds + seconds,
            flops=spent.flops + flops,
        )

    def usage(self) -> dict[str, PhaseUsage]:
        """Every phase so far, and as `other` the seconds that belong to none of them."""
        total = time.perf_counter() - self._started
        other = total - sum(usage.seconds for usage in self._usage.values())
        return {**self._usage, "other": PhaseUsage(seconds=other)}
