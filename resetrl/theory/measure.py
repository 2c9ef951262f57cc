"""The measurements as curves: samples to an accuracy, improvement per iteration, samples to a gap.

Each goes through a sweep of cases, repeats a trial (`trials`) and keeps bootstrap replicates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from resetrl.errors import ResetrlError
from resetrl.theory import cpi, trials
from resetrl.theory.cpi import ResetOracle
from resetrl.theory.curves import (
    Curve,
    combine,
    crossing,
    instance_weights,
    reaches,
    resampled_means,
)
from resetrl.theory.generators import Case
from resetrl.theory.mdp import (
    Floats,
    Ints,
    Solution,
    ThoughtMDP,
    expected_return,
    optimal_return,
)
from resetrl.theory.sampling import ResetCounts, count_resets
from resetrl.theory.trials import CERTAINTY, Setup, Trial

LARGEST_BUDGET = 2**40


@dataclass(frozen=True)
class Effort:
    """How much to sample: repetitions per instance and setting, bootstrap replicates."""

    repeats: int
    bootstraps: int
    rng_seed: int


@dataclass(frozen=True)
class Sweep:
    """Cases [K][I] over the settings x [K] of one dial; an instance keeps its place in a row."""

    x_name: str
    x: Floats
    cases: Sequence[Sequence[Case]]

    @property
    def num_instances(self) -> int:
        return len(self.cases[0])


def samples_curve(
    label: str, sweep: Sweep, oracle: ResetOracle, trial: Trial, effort: Effort
) -> Curve:
    """Returns the number of reset samples with which 90 % of the repetitions succeed.

    The number is found by looking: powers of 4 until enough repetitions succeed, then a grid of
    ratio sqrt(2) around it with fresh repetitions, and `curves.crossing` of 90 % there. The exact
    counterpart is `trials.exact_samples`.
    """

    def measure(setup: Setup, rng: np.random.Generator) -> tuple[float, Floats, float]:
        rough = 32
        while not reaches(trial(setup, rough, effort.repeats // 2, rng), CERTAINTY):
            rough *= 4
            if rough > LARGEST_BUDGET:
                raise ResetrlError(f"{label}: {rough:,} samples are not enough; enlarge tau or p.")
        levels = np.asarray(rough * 2.0 ** np.arange(-4, 1.5, 0.5), dtype=np.float64)
        shown = [trial(setup, max(2, round(level)), effort.repeats, rng) for level in levels]
        within = np.stack(shown, axis=-1).astype(np.float64)
        shares = resampled_means(within, effort.bootstraps, rng)
        point = float(crossing(levels, np.asarray(within.mean(0), dtype=np.float64), CERTAINTY))
        return point, crossing(levels, shares, CERTAINTY), trials.exact_samples(setup, trial, rng)

    return _curve(label, sweep, oracle, effort, measure)


def improvement_curve(label: str, sweep: Sweep, oracle: ResetOracle, effort: Effort) -> Curve:
    """Returns the mean exact improvement J(pi_new) - J(pi) of one sampled conservative step.

    The advantages are to be accurate, as the claim presumes. For each algorithm that is
    16 (B / A)^2 choosing samples per action of an improvable state (A: their mean best advantage)
    and 16 times the samples to accuracy for the estimate.
    """

    def measure(setup: Setup, rng: np.random.Generator) -> tuple[float, Floats, float]:
        choosing, estimating = trials.sharp_budgets(setup, rng)
        gains = trials.sampled_gains(setup, choosing, estimating, effort.repeats, rng)
        means = resampled_means(gains, effort.bootstraps, rng)
        return float(gains.mean()), means, trials.exact_gain(setup)

    return _curve(label, sweep, oracle, effort, measure)


def line_search_curve(label: str, sweep: Sweep, oracle: ResetOracle, effort: Effort) -> Curve:
    """Returns the exact improvement when the best step in 1/500, 2/500 ... 1 is known and taken."""
    steps = np.linspace(0.002, 1.0, 500)

    def measure(setup: Setup, rng: np.random.Generator) -> tuple[float, Floats, float]:
        candidate = cpi.greedy(setup.solution.q_values, rng)
        gains = trials.gains_of(setup, np.broadcast_to(candidate, (500, *candidate.shape)), steps)
        best = float(gains.max())
        return best, np.full(effort.bootstraps, best), best

    return _curve(label, sweep, oracle, effort, measure)


def gap_curves(
    label: str, sweep: Sweep, oracle: ResetOracle, effort: Effort, share: float
) -> tuple[Curve, Curve, Curve]:
    """Returns reset samples, reset states drawn and iterations until the gap is closed.

    That is until J* - J is `share` of what it was. Each run decides its own number of samples per
    iteration (`cpi.iterate`), knowing no p. The exact counterpart is a noise-free run whose
    iterations each take their exact samples to accuracy.
    """
    rng = np.random.default_rng(effort.rng_seed)
    totals: list[list[Floats]] = [[], [], []]
    exact = []
    for row in sweep.cases:
        exact.append(_exact_run_to_gap(row[0], oracle, share, rng))
        history = _run_to_gap(row[0], oracle, effort.repeats, share, rng)
        for total, runs in zip(
            totals, (history.samples, history.draws, history.iterations), strict=True
        ):
            total.append(runs.astype(float))
    curves = []
    names = ("samples", "draws", "iterations")
    for name, total, known in zip(names, totals, np.array(exact).T, strict=True):
        replicates = np.stack([resampled_means(runs, effort.bootstraps, rng) for runs in total])
        means = np.array([runs.mean() for runs in total])
        curves.append(Curve(f"{label}: {name}", sweep.x_name, sweep.x, means, replicates.T, known))
    return curves[0], curves[1], curves[2]


def _curve(
    label: str,
    sweep: Sweep,
    oracle: ResetOracle,
    effort: Effort,
    measure: Callable[[Setup, np.random.Generator], tuple[float, Floats, float]],
) -> Curve:
    rng = np.random.default_rng(effort.rng_seed)
    weights = instance_weights(effort.bootstraps, sweep.num_instances, rng)
    rows = [[measure(trials.set_up(case, oracle), rng) for case in row] for row in sweep.cases]
    points = np.array([[point for point, _, _ in row] for row in rows])
    replicates = np.array([np.stack([each for _, each, _ in row], axis=-1) for row in rows])
    exact = np.array([[value for _, _, value in row] for row in rows])
    return combine(label, sweep.x_name, sweep.x, points, replicates, exact, weights)


def _run_to_gap(
    case: Case, oracle: ResetOracle, num_runs: int, share: float, rng: np.random.Generator
) -> cpi.History:
    mdp: ThoughtMDP = case.mdp

    def sampler(solution: Solution, acceptance: Floats, num_samples: Ints) -> ResetCounts:
        return count_resets(mdp, solution, acceptance, num_samples, rng)

    history = cpi.run_cpi(
        mdp,
        case.policy,
        case.tau,
        oracle,
        sampler,
        accuracy=1e-4 * mdp.reward_bound,
        goal=_goal(case, share),
        num_runs=num_runs,
        max_iterations=50_000,
        rng=rng,
    )
    if not history.reached.all():
        raise ResetrlError(
            f"{int((~history.reached).sum())} of {num_runs} runs stopped before the optimality "
            f"gap fell to {share:.2g} of its start; choose a smaller tau or a larger share."
        )
    return history


def _exact_run_to_gap(
    case: Case, oracle: ResetOracle, share: float, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Returns samples, draws and iterations of a run that knows every advantage."""
    goal = _goal(case, share)
    samples = draws = iterations = 0.0
    while float(expected_return(case.mdp, case.policy)) < goal:
        setup = trials.set_up(case, oracle)
        needed = trials.exact_samples(setup, trials.advantage_is_accurate, rng)
        candidate = cpi.greedy(setup.solution.q_values, rng)
        advantage = cpi.policy_advantage(setup.solution, setup.acceptance, candidate)
        alpha = cpi.step_size(case.mdp, advantage)
        new = cpi.mix(case.policy, candidate, setup.acceptance, alpha)
        case = replace(case, policy=new)
        samples, draws, iterations = samples + needed, draws + needed / setup.mass, iterations + 1
    return samples, draws, iterations


def _goal(case: Case, share: float) -> float:
    best = optimal_return(case.mdp)
    return best - share * (best - float(expected_return(case.mdp, case.policy)))
