"""The measurements: samples to an accuracy, improvement per iteration, samples to a gap.

No criterion here mentions p, tau, H or |Y|: each algorithm is held to an accuracy relative to its
own signal, so that the exponents come out of the sampling and are not put in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from resetrl.errors import ResetrlError
from resetrl.theory import cpi
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
    Mask,
    Solution,
    ThoughtMDP,
    expected_return,
    improvable,
    improvable_probability,
    optimal_return,
    solve,
)
from resetrl.theory.sampling import ResetCounts, count_resets

RELATIVE_ACCURACY = 0.5  # an estimate is accurate when it is within half of the true advantage
CERTAINTY = 0.9  # in at least this share of the repetitions
NORMAL_90 = 1.6448536269514722  # two-sided 90 % of the normal distribution
SHARP_CHOICE = 16  # times (B / A)^2 samples per improvable action: a candidate nearly exact
SHARP_ESTIMATE = 16  # times the samples to accuracy, for a step whose size is nearly exact
MAX_CELLS = 2_000_000  # counts held at a time
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


@dataclass(frozen=True)
class Setup:
    """A case with its exact solution, the oracle's acceptance [S] and the improvable set [S]."""

    case: Case
    solution: Solution
    acceptance: Floats
    is_improvable: Mask

    @property
    def mass(self) -> float:
        """p_acc: the probability that an on-policy reset state is accepted."""
        return float((self.solution.resets * self.acceptance).sum())

    @property
    def reachable(self) -> Mask:
        """The states [S] that can be drawn and accepted."""
        return np.asarray(self.solution.resets * self.acceptance > 0)

    def restricted(self) -> Setup:
        """Returns the setup for the reachable states only; all that an estimate depends on."""
        states = self.reachable
        return replace(
            self,
            solution=self.solution.at(states),
            acceptance=self.acceptance[states],
            is_improvable=self.is_improvable[states],
        )


def set_up(case: Case, oracle: ResetOracle) -> Setup:
    """Returns the case solved; raises ConfigError where tau is above every advantage."""
    solution = solve(case.mdp, case.policy)
    improvable_probability(solution, case.tau)
    mask = improvable(solution, case.tau)
    return Setup(case, solution, oracle.acceptance(mask), mask)


Trial = Callable[[Setup, int, int, np.random.Generator], Mask]
"""(setup, samples, repetitions, rng) -> which repetitions [M] succeeded with so many samples."""


def advantage_is_accurate(
    setup: Setup, num_samples: int, repeats: int, rng: np.random.Generator
) -> Mask:
    """Whether the estimated policy advantage of a greedy candidate is within half of the true one.

    The candidate is greedy for the exact Q, ties broken at random in every repetition.
    """
    return _estimates(setup, num_samples, repeats, rng, abstain=False)


def advantage_is_accurate_abstaining(
    setup: Setup, num_samples: int, repeats: int, rng: np.random.Generator
) -> Mask:
    """The same for a candidate that keeps the policy wherever no advantage is above tau."""
    return _estimates(setup, num_samples, repeats, rng, abstain=True)


def improvement_is_had(
    setup: Setup, num_samples: int, repeats: int, rng: np.random.Generator
) -> Mask:
    """Whether the whole sampled iteration gains at least half of what a noise-free one gains.

    Half of the samples choose the candidate, half estimate its advantage, as in `cpi.iterate`.
    """
    gains = sampled_gains(setup, num_samples // 2, num_samples // 2, repeats, rng)
    return np.asarray(gains >= exact_gain(setup) / 2)


def samples_curve(
    label: str, sweep: Sweep, oracle: ResetOracle, trial: Trial, effort: Effort
) -> Curve:
    """Returns the number of reset samples with which 90 % of the repetitions succeed.

    The number is found by looking: powers of 4 until enough repetitions succeed, then a grid of
    ratio sqrt(2) around it with fresh repetitions, and `curves.crossing` of 90 % there. The exact
    counterpart (for a fixed candidate) is (1.645 / 0.5)^2 Var / A^2, from the exact
    variance of one sample and the normal approximation.
    """

    def measure(setup: Setup, rng: np.random.Generator) -> tuple[float, Floats, float]:
        rough = 32
        while not reaches(trial(setup, rough, effort.repeats // 2, rng), CERTAINTY):
            rough *= 4
            if rough > LARGEST_BUDGET:
                raise ResetrlError(f"{label}: {rough:,} samples are not enough; enlarge tau or p.")
        levels = rough * 2.0 ** np.arange(-4, 2.5, 0.5)
        within = np.stack(
            [trial(setup, max(2, round(level)), effort.repeats, rng) for level in levels], axis=-1
        )
        shares = resampled_means(within.astype(float), effort.bootstraps, rng)
        point = float(crossing(levels, within.mean(0), CERTAINTY))
        return point, crossing(levels, shares, CERTAINTY), exact_samples(setup, trial, rng)

    return _curve(label, sweep, oracle, effort, measure)


def improvement_curve(label: str, sweep: Sweep, oracle: ResetOracle, effort: Effort) -> Curve:
    """Returns the mean exact improvement J(pi_new) - J(pi) of one sampled conservative step.

    The advantages are to be accurate, as the claim presumes. For each algorithm that is 16 (B / A)^2
    choosing samples per action of an improvable state (A: their mean best advantage), and 16 times
    the samples to accuracy for the estimate.
    """

    def measure(setup: Setup, rng: np.random.Generator) -> tuple[float, Floats, float]:
        choosing, estimating = sharp_budgets(setup, rng)
        gains = sampled_gains(setup, choosing, estimating, effort.repeats, rng)
        means = resampled_means(gains, effort.bootstraps, rng)
        return float(gains.mean()), means, exact_gain(setup)

    return _curve(label, sweep, oracle, effort, measure)


def line_search_curve(label: str, sweep: Sweep, oracle: ResetOracle, effort: Effort) -> Curve:
    """Returns the exact improvement when the best step in 1/500, 2/500 ... 1 is known and taken."""
    steps = np.linspace(0.002, 1.0, 500)

    def measure(setup: Setup, rng: np.random.Generator) -> tuple[float, Floats, float]:
        candidate = cpi.greedy(setup.solution.q_values, rng)
        gains = _gains(setup, np.broadcast_to(candidate, (500, *candidate.shape)), steps)
        best = float(gains.max())
        return best, np.full(effort.bootstraps, best), best

    return _curve(label, sweep, oracle, effort, measure)


def gap_curves(
    label: str, sweep: Sweep, oracle: ResetOracle, effort: Effort, share: float
) -> tuple[Curve, Curve, Curve]:
    """Returns reset samples, reset states drawn and iterations until J* - J is `share` of its start.

    Each run decides its own number of samples per iteration (`cpi.iterate`), knowing no p.
    """
    rng = np.random.default_rng(effort.rng_seed)
    totals: list[list[Floats]] = [[], [], []]
    for row in sweep.cases:
        history = _run_to_gap(row[0], oracle, effort.repeats, share, rng)
        for total, runs in zip(
            totals, (history.samples, history.draws, history.iterations), strict=True
        ):
            total.append(runs.astype(float))
    curves = []
    for name, total in zip(("samples", "draws", "iterations"), totals, strict=True):
        replicates = np.stack([resampled_means(runs, effort.bootstraps, rng) for runs in total])
        means = np.array([runs.mean() for runs in total])
        nothing = np.full(len(means), np.nan)
        curves.append(Curve(f"{label}: {name}", sweep.x_name, sweep.x, means, replicates.T, nothing))
    return curves[0], curves[1], curves[2]


def exact_gain(setup: Setup) -> float:
    """Returns the improvement of one noise-free iteration: exact candidate, exact advantage."""
    candidate = cpi.greedy(setup.solution.q_values, np.random.default_rng(0))
    advantage = cpi.policy_advantage(setup.solution, setup.acceptance, candidate)
    alpha = cpi.step_size(setup.case.mdp, advantage)
    return float(_gains(setup, candidate[None], alpha[None])[0])


def exact_samples(setup: Setup, trial: Trial, rng: np.random.Generator) -> float:
    """Returns the normal approximation to the samples to accuracy; NaN for a whole iteration."""
    if trial is improvement_is_had:
        return float("nan")
    abstain = trial is advantage_is_accurate_abstaining
    near = setup.restricted()
    candidates = _candidates(near, 64, rng, abstain)
    mean, variance = cpi.estimate_moments(near.case.mdp, near.solution, near.acceptance, candidates)
    return float((NORMAL_90 / RELATIVE_ACCURACY) ** 2 * np.mean(variance / mean**2))


def sharp_budgets(setup: Setup, rng: np.random.Generator) -> tuple[int, int]:
    """Returns choosing and estimating samples with which candidate and step are nearly exact."""
    share = float((setup.solution.resets * setup.acceptance)[setup.is_improvable].sum())
    best = setup.solution.advantages[setup.is_improvable].max(-1).mean()
    cells = setup.is_improvable.sum() * setup.case.mdp.num_actions
    choosing = SHARP_CHOICE * (setup.case.mdp.reward_bound / best) ** 2 * cells * setup.mass / share
    estimating = SHARP_ESTIMATE * exact_samples(setup, advantage_is_accurate, rng)
    return int(np.ceil(choosing)), int(np.ceil(estimating))


def sampled_gains(
    setup: Setup, choosing: int, estimating: int, repeats: int, rng: np.random.Generator
) -> Floats:
    """Returns J(pi_new) - J(pi) [M] of sampled iterations with so many samples for each half."""
    mdp, near = setup.case.mdp, setup.restricted()
    policy = near.solution.policy
    gains = []
    for num in _portions(setup, repeats):
        candidate = cpi.candidate_from(_count(near, choosing, num, rng), policy, rng)
        counts = _count(near, estimating, num, rng)
        estimate = cpi.estimate_advantage(mdp, policy, candidate, counts)
        alpha = cpi.step_size(mdp, estimate.advantage - estimate.half_width)
        everywhere = np.repeat(setup.case.policy[None], num, axis=0)
        everywhere[:, setup.reachable] = candidate
        gains.append(_gains(setup, everywhere, alpha))
    return np.concatenate(gains)


def _estimates(
    setup: Setup, num_samples: int, repeats: int, rng: np.random.Generator, abstain: bool
) -> Mask:
    accurate = []
    near = setup.restricted()
    for num in _portions(near, repeats):
        candidates = _candidates(near, num, rng, abstain)
        truth = cpi.policy_advantage(near.solution, near.acceptance, candidates)
        counts = _count(near, num_samples, num, rng)
        estimate = cpi.estimate_advantage(near.case.mdp, near.solution.policy, candidates, counts)
        accurate.append(np.abs(estimate.advantage - truth) <= RELATIVE_ACCURACY * truth)
    return np.concatenate(accurate)


def _candidates(setup: Setup, num: int, rng: np.random.Generator, abstain: bool) -> Floats:
    q_values = setup.solution.q_values
    candidates = cpi.greedy(np.broadcast_to(q_values, (num, *q_values.shape)), rng)
    if not abstain:
        return candidates
    return np.where(setup.is_improvable[:, None], candidates, setup.solution.policy)


def _count(setup: Setup, num_samples: int, num: int, rng: np.random.Generator) -> ResetCounts:
    budget = np.full(num, num_samples, dtype=np.int64)
    return count_resets(setup.case.mdp, setup.solution, setup.acceptance, budget, rng)


def _gains(setup: Setup, candidate: Floats, alpha: Floats) -> Floats:
    mixed = cpi.mix(setup.case.policy, candidate, setup.acceptance, alpha)
    gains: Floats = expected_return(setup.case.mdp, mixed) - setup.solution.expected_return
    return gains


def _portions(setup: Setup, repeats: int) -> list[int]:
    """Returns the repetitions in portions whose count tables stay small."""
    size = max(1, MAX_CELLS // setup.solution.q_values.size)
    full, rest = divmod(repeats, size)
    return [size] * full + [rest] * (rest > 0)


def _curve(
    label: str,
    sweep: Sweep,
    oracle: ResetOracle,
    effort: Effort,
    measure: Callable[[Setup, np.random.Generator], tuple[float, Floats, float]],
) -> Curve:
    rng = np.random.default_rng(effort.rng_seed)
    weights = instance_weights(effort.bootstraps, sweep.num_instances, rng)
    rows = [[measure(set_up(case, oracle), rng) for case in row] for row in sweep.cases]
    points = np.array([[point for point, _, _ in row] for row in rows])
    replicates = np.array([np.stack([each for _, each, _ in row], axis=-1) for row in rows])
    exact = np.array([[value for _, _, value in row] for row in rows])
    return combine(label, sweep.x_name, sweep.x, points, replicates, exact, weights)


def _run_to_gap(
    case: Case, oracle: ResetOracle, num_runs: int, share: float, rng: np.random.Generator
) -> cpi.History:
    mdp: ThoughtMDP = case.mdp
    start = float(solve(mdp, case.policy).expected_return)
    goal = optimal_return(mdp) - share * (optimal_return(mdp) - start)

    def sampler(solution: Solution, acceptance: Floats, num_samples: Ints) -> ResetCounts:
        return count_resets(mdp, solution, acceptance, num_samples, rng)

    history = cpi.run_cpi(
        mdp,
        case.policy,
        case.tau,
        oracle,
        sampler,
        accuracy=1e-4 * mdp.reward_bound,
        goal=goal,
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
