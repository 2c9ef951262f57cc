"""The verifier `math`: mathematical equality with the reference, judged in worker processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from resetrl.answers import Answer, boxed_answer, unbraced_answer, verdict_on
from resetrl.builtin.math_numbers import equal_numbers
from resetrl.types import Rollout, Verdict
from resetrl.worker_pool import Failed, WorkerPool, WorkerSettings, shared_pool

Pair = tuple[str, str]
"""An answer and the reference it is compared with."""

_MOST_KNOWN = 100_000
"""Comparisons remembered: the same answers come back in every epoch and evaluation."""


@dataclass
class Math:
    """Right if the last closed box equals the reference, both LaTeX, as mathematics.

    `\\frac{2}{4}` is `0.5`, `x=5` is 5, `5 \\text{ cm}` is 5 and `50\\%` is both 50 and 0.5; a
    decimal must agree with an exact value to six decimals; units are not compared. Answers that
    are not literally the reference are compared by math-verify in worker processes. One that
    exceeds a limit is wrong, with the status `timeout` or `out_of_memory`: if it were left out,
    a policy could hide its failures behind answers that nobody can evaluate.

    time_limit: seconds for the comparison of one answer.
    memory_mb: megabytes of address space a worker may use (on Linux).
    num_workers: worker processes, shared by all verifiers with equal options.
    lenient: without a closed box, also take `\\boxed 4`.
    """

    time_limit: float = 5.0
    memory_mb: int = 1024
    num_workers: int = 2
    lenient: bool = False
    _known: dict[Pair, Answer] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.time_limit > 0:
            raise ValueError(f"time_limit is {self.time_limit}: choose more than 0 seconds")
        for name, least in (("memory_mb", 256), ("num_workers", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}: choose at least {least}")

    def verify(self, rollouts: Sequence[Rollout]) -> list[Verdict]:
        """One verdict a rollout; raises TrainingError if the workers do not start."""
        answers = [self._answer(rollout.completion.text) for rollout in rollouts]
        references = [rollout.prompt.problem.reference.strip() for rollout in rollouts]
        judged = self._judge(answers, references)
        return [
            _verdict(answer, reference, judged)
            for answer, reference in zip(answers, references, strict=True)
        ]

    def longest(self, rollouts: Sequence[Rollout]) -> float:
        """Seconds, if every comparison hangs."""
        return self._pool().longest(len(rollouts))

    def _pool(self) -> WorkerPool:
        settings = WorkerSettings(
            "resetrl.builtin.math_worker:judge",
            self.time_limit,
            self.memory_mb,
            warm_up="resetrl.builtin.math_warmup:warm_up",
        )
        return shared_pool(settings, self.num_workers)

    def _answer(self, text: str) -> Answer:
        answer = boxed_answer(text)
        return unbraced_answer(text) if self.lenient and answer.text is None else answer

    def _judge(self, answers: Sequence[Answer], references: Sequence[str]) -> dict[Pair, Answer]:
        """The answer with its status for each different pair that has to be compared."""
        pairs = dict.fromkeys(
            (answer.text, reference)
            for answer, reference in zip(answers, references, strict=True)
            if answer.text is not None and reference and answer.text != reference
        )
        judged = {pair: self._known[pair] for pair in pairs if pair in self._known}
        for answer, reference in pairs:
            equal = equal_numbers(answer, reference)
            if equal is not None:
                judged[answer, reference] = Answer(answer, "right" if equal else "wrong")
        asked = [pair for pair in pairs if pair not in judged]
        results = self._pool().map(
            [{"answer": answer, "reference": reference} for answer, reference in asked]
        )
        for pair, result in zip(asked, results, strict=True):
            if isinstance(result, Failed):  # may come out otherwise on a less busy machine
                judged[pair] = Answer(pair[0], result.status, result.why)
            else:
                judged[pair] = Answer(pair[0], result["status"], result.get("why", ""))
                self._known[pair] = judged[pair]
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
        return judged


def _verdict(answer: Answer, reference: str, judged: Mapping[Pair, Answer]) -> Verdict:
    if answer.text is not None and not reference:
        answer = Answer(answer.text, "wrong", "the reference is empty")
    elif answer.text is not None and answer.text != reference:
        answer = judged[answer.text, reference]
    correct = answer.text is not None and answer.status in ("given", "right")
    return verdict_on(answer, reference, correct=correct)
