"""What the math verifier costs: answers per second, cold, warm and with bombs among them.

    python benchmarks/verifiers.py [--workers 2]

Prints Markdown for benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path

from resetrl.builtin.math_verifier import Math
from resetrl.testing import make_prompt, make_rollout
from resetrl.types import Rollout

PAIRS = Path(__file__).parents[1] / "tests" / "data" / "math_pairs.jsonl"
BOMBS = ("10^{10^{10}}", "9^{9^{9^{9}}}", "(10^9)!", "\\sum_{n=1}^{10^8} \\frac{1}{n^2}")


def boxed(answer: str, reference: str) -> Rollout:
    return make_rollout([f"\\boxed{{{answer}}}"], prompt=make_prompt("?", reference))


def tricky() -> list[Rollout]:
    """The table of the tests: every pair is another, most must be parsed."""
    pairs = [json.loads(line) for line in PAIRS.read_text(encoding="utf-8").splitlines()]
    random.Random(0).shuffle(pairs)  # the table is sorted by kind
    return [boxed(pair["answer"], pair["reference"]) for pair in pairs]


def typical(rng: random.Random, problems: int = 250, rollouts: int = 8) -> list[Rollout]:
    """Groups of 8 as in training: of the references 60 % are whole numbers, the rest fractions,
    radicals, expressions in pi and x; half of the answers are right, some in another writing."""
    groups = []
    for _ in range(problems):
        a, b = rng.randint(2, 99), rng.randint(2, 99)
        reference, same, wrong = rng.choices(
            [
                (f"{a * b}", f"{a * b}.0", [f"{a * b + k}" for k in range(1, 5)]),
                (
                    f"\\frac{{{a}}}{{{b}}}",
                    f"{a}/{b}",
                    [f"\\frac{{{a + k}}}{{{b}}}" for k in (1, 2)],
                ),
                (
                    f"{a}\\sqrt{{{b}}}",
                    f"\\sqrt{{{a * a * b}}}",
                    [f"{a + k}\\sqrt{{{b}}}" for k in (1, 2)],
                ),
                (f"{a}\\pi", f"\\pi \\cdot {a}", [f"{a + k}\\pi" for k in (1, 2)]),
                (f"{a}x+{b}", f"{b}+{a}x", [f"{a + k}x+{b}" for k in (1, 2)]),
            ],
            weights=[60, 16, 8, 8, 8],
        )[0]
        for _ in range(rollouts):
            answer = rng.choices([reference, same, rng.choice(wrong)], weights=[40, 10, 50])[0]
            groups.append(boxed(answer, reference))
    return groups


def rate(verifier: Math, rollouts: Sequence[Rollout]) -> str:
    started = time.perf_counter()
    verdicts = verifier.verify(rollouts)
    seconds = time.perf_counter() - started
    right = sum(verdict.correct for verdict in verdicts)
    return f"{len(rollouts)} | {right} | {seconds:.2f} | {len(rollouts) / seconds:,.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2, help="worker processes")
    workers = parser.parse_args().workers
    verifier = Math(num_workers=workers, time_limit=2.0)
    print("| answers | number | right | seconds | answers/s |\n|---|---|---|---|---|")
    print("| the first one: workers start |", rate(verifier, [boxed("x+1", "1+x")]))
    print("| typical, groups of 8 |", rate(verifier, typical(random.Random(0))))
    print("| the same, other numbers |", rate(verifier, typical(random.Random(1))))
    half = len(tricky()) // 2
    print("| tricky, each another: a first half |", rate(verifier, tricky()[:half]))
    print("| the other half, never seen |", rate(verifier, tricky()[half:]))
    forgetful = Math(num_workers=workers, time_limit=2.0)
    print("| both halves, parsers warm |", rate(forgetful, tricky()))
    print("| the same, remembered |", rate(forgetful, tricky()))
    bombs = [boxed(bomb, "5") for bomb in BOMBS]
    mixed = [*typical(random.Random(2)), *bombs]
    print("| typical, and 4 that need their 2 s |", rate(verifier, mixed))


if __name__ == "__main__":
    main()
