"""How often the 95 % intervals of `resetrl compare` cover a difference that is known.

    python benchmarks/coverage.py [--repetitions 500]

Simulated runs: a problem has a difficulty, a method its own strengths on problems, a run seed its
own luck with a method, an answer its own chance. The true difference is that of the population:
other run seeds and, where answers are known, other problems. Prints Markdown for RESULTS.md.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from resetrl.compare.bootstrap import RESAMPLES, Array
from resetrl.compare.differences import difference
from resetrl.compare.groups import group_runs
from resetrl.compare.records import Question, RunData
from resetrl.estimate import TAILS, Estimate, percentile_estimate

PROBLEMS = 200
GAIN = 0.6
"""By how much the better method is better, in the logits of an answer's being right."""


@dataclass(frozen=True)
class World:
    """What varies: standard deviations in logits, of run seeds of both and of each method, of
    problems and of each method on a problem; `tasks` are strata."""

    name: str
    num_seeds: int = 5
    by_seed: float = 0.2
    by_method_seed: float = 0.15
    by_problem: float = 1.5
    by_method_problem: float = 0.5
    tasks: int = 1
    with_answers: bool = True
    same_seeds: bool = True
    with_alternatives: bool = False


WORLDS = (
    World("5 run seeds x 200 problems", with_alternatives=True),
    World("5 x 200, run seeds matter much", by_method_seed=0.4, with_alternatives=True),
    World(
        "5 x 200, run seeds matter little", by_seed=0.05, by_method_seed=0.0, with_alternatives=True
    ),
    World("3 x 200", num_seeds=3, with_alternatives=True),
    World("10 x 200", num_seeds=10, with_alternatives=True),
    World("5 run seeds, answers unknown", with_answers=False),
    World("3 run seeds, answers unknown", num_seeds=3, with_answers=False),
    World("2 tasks x 5 run seeds x 200 problems", tasks=2),
    World("5 against 5 other run seeds", with_answers=False, same_seeds=False),
)


def simulate(world: World, rng: np.random.Generator) -> tuple[list[RunData], float, list[Array]]:
    """Runs of both methods, the true difference, and the differences `[N, P]` of each task."""
    runs, truths, differences = [], [], []
    for task in range(world.tasks):
        answers, truth = _answers(world, rng)
        truths.append(truth)
        differences.append(answers[1] - answers[0])
        for method in (0, 1):
            for seed in range(world.num_seeds):
                number = seed if world.same_seeds or not method else seed + world.num_seeds
                runs.append(_run(world, task, method, number, answers[method][seed]))
    return runs, float(np.mean(truths)), differences


def _answers(world: World, rng: np.random.Generator) -> tuple[Array, float]:
    """`[2, N, P]` answers and the true difference: over problems too where answers are known."""
    n, p = world.num_seeds, PROBLEMS
    own = rng.normal(0, world.by_method_problem, (2, 1, p))
    problem = 0.5 + rng.normal(0, world.by_problem, (1, 1, p)) + own
    seed = rng.normal(0, world.by_method_seed, (2, n, 1))
    shared = rng.normal(0, world.by_seed, (1 if world.same_seeds else 2, n, 1))
    gain = GAIN * np.array([0, 1])[:, None, None]
    answers = (rng.random((2, n, p)) < _right(gain + problem + seed + shared)).astype(float)
    if world.with_answers:
        return answers, _population_difference(world)
    sd = np.hypot(world.by_method_seed, world.by_seed)
    chances = _over_normal(lambda z: _right(gain[:, 0] + problem[:, 0] + sd * z)).mean(axis=1)
    return answers, float(chances[1] - chances[0])


def _population_difference(world: World) -> float:
    parts = (world.by_seed, world.by_method_seed, world.by_problem, world.by_method_problem)
    sd = float(np.sqrt(np.square(parts).sum()))
    chances = _over_normal(lambda z: _right(np.array([0.5, 0.5 + GAIN]) + sd * z))
    return float(chances[1] - chances[0])


def _over_normal(function: Callable[[float], Array]) -> Array:
    """The mean of a function of a standard normal variable, by Gauss and Hermite."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    values = np.stack([function(node) for node in nodes])
    return np.asarray(np.tensordot(weights / weights.sum(), values, axes=1))


def _right(logits: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-logits)))


def _run(world: World, task: int, method: int, seed: int, answers: Array) -> RunData:
    name = f"m{method}"
    known = {f"p{i}": float(score) for i, score in enumerate(answers)}
    return RunData(
        run_id=f"{name}-{task}-{seed}",
        name=f"{name}-{task}-{seed}",
        status="FINISHED",
        tags={"method": name, "seed": str(seed), "eval_set": f"e{task}"},
        params={"seed": str(seed), "task.name": f"t{task}"},
        steps=(0, 100),
        xs=(0.0, 100.0),
        values=(0.5, float(answers.mean())),
        answers=known if world.with_answers else {},
        answers_step=100,
        problems=f"e{task}",
    )


def measure(world: World, repetitions: int, rng: np.random.Generator) -> dict[str, Array]:
    """Whether each kind of interval covered the truth, and its width: `[repetitions, 2]`."""
    rows: dict[str, list[tuple[float, float]]] = {}
    for _ in range(repetitions):
        runs, truth, differences = simulate(world, rng)
        found = {"ours": our_interval(runs)}
        if world.with_alternatives:
            found |= alternatives(differences[0], world.with_answers, rng)
        for name, each in found.items():
            covered = float(each.low <= truth <= each.high)
            rows.setdefault(name, []).append((covered, each.high - each.low))
    return {name: np.array(pairs) for name, pairs in rows.items()}


def our_interval(runs: list[RunData]) -> Estimate:
    base, other = group_runs(runs, Question(baseline="m0")).groups
    finals = [
        {s: np.array([run.values[-1] for run in members]) for s, members in group.strata.items()}
        for group in (base, other)
    ]
    return difference(other, finals[1], base, finals[0], "last").interval


def alternatives(
    values: Array, with_answers: bool, rng: np.random.Generator
) -> dict[str, Estimate]:
    """What one could have done instead, on differences `[N, P]`."""
    n, p = values.shape
    by_seed = values.mean(axis=1)
    mean = float(values.mean())
    seeds = rng.multinomial(n, np.full(n, 1 / n), RESAMPLES) / n
    found = {"percentile, run seeds": percentile_estimate(mean, seeds @ by_seed)}
    found["bootstrap-t, run seeds"] = _studentised(by_seed, seeds)
    weights = rng.beta(0.5, 1.5, (RESAMPLES, n))
    found["beta bootstrap-t, run seeds"] = _studentised(
        by_seed, weights / weights.sum(axis=1, keepdims=True)
    )
    if with_answers:
        problems = rng.integers(0, p, (RESAMPLES, p))
        resampled = np.take_along_axis(seeds @ values, problems, axis=1).mean(axis=1)
        found["percentile, run seeds and problems"] = percentile_estimate(mean, resampled)
    return found


def _studentised(values: Array, weights: Array) -> Estimate:
    """Bootstrap-t, by counts or by Beta(1/2, 3/2) weights (Owen, arXiv 2508.10083)."""
    mean, spread = float(values.mean()), float(values.std())
    means = weights @ values
    spreads = np.sqrt((weights * (values[None] - means[:, None]) ** 2).sum(axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.nan_to_num((means - mean) / spreads, nan=0.0, posinf=np.inf, neginf=-np.inf)
    low, high = np.quantile(ratios, TAILS, method="inverted_cdf")
    return Estimate(mean, mean - float(high) * spread, mean - float(low) * spread)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=500)
    repetitions = parser.parse_args().repetitions
    started = time.perf_counter()
    print("| simulated | interval | covers | median width |\n|---|---|---|---|")
    for number, world in enumerate(WORLDS):
        measured = measure(world, repetitions, np.random.default_rng(number))
        for name, rows in measured.items():
            median = np.median(rows[:, 1])
            width = f"{median:.3f}" if median < 2 else "unbounded"
            print(f"| {world.name} | {name} | {rows[:, 0].mean():.1%} | {width} |", flush=True)
    load = os.getloadavg()[0]
    print(
        f"\n{repetitions} repetitions each, {time.perf_counter() - started:.0f} s, load {load:.1f}"
    )


if __name__ == "__main__":
    main()
