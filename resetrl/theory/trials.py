"""One setting of a measurement: a solved case with an oracle, and what repetitions of it show.

No criterion here mentions p, tau, H or |Y|: each algorithm is held to an accuracy relative to its
own signal, so that the exponents come out of the sampling and are not put in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr

from resetrl.theory import cpi
from resetrl.theory.cpi import ResetOracle
from resetrl.theory.generators import Case
from resetrl.theory.mdp import (
    Floats,
    Mask,
    Solution,
    expected_return,
    improvable,
    improvable_probability,
    solve,
)
from resetrl.theory.sampling import ResetCounts, count_resets

RELATIVE_ACCURACY = 0.5  # an estimate is accurate when it is within half of the true advantage
CERTAINTY = 0.9  # in at least this share of the repetitions
SHARP_CHOICE = 16  # times (B / A)^2 samples per improvable action: a candidate nearly exact
SHARP_ESTIMATE = 16  # times the samples to accuracy, for a step whose size is nearly exact
MAX_CELLS = 2_000_000  # counts held at a time
EXACT_CELLS = 60_000  # the same for the candidates that an exact counterpart is averaged over


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


def exact_gain(setup: Setup) -> float:
    """Returns the improvement of one noise-free iteration: exact candidate, exact advantage."""
    candidate = cpi.greedy(setup.solution.q_values, np.random.default_rng(0))
    advantage = cpi.policy_advantage(setup.solution, setup.acceptance, candidate)
    alpha = cpi.step_size(setup.case.mdp, advantage)
    return float(gains_of(setup, candidate[None], alpha[None])[0])


def exact_samples(setup: Setup, trial: Trial, rng: np.random.Generator) -> float:
    """Returns the exact counterpart of the samples to accuracy; NaN for a whole iteration.

    With the exact variance V_c of one sample for candidate c and the normal approximation the
    share of accurate estimates is mean_c 2 Phi(A_c sqrt(N / V_c) / 2) - 1; solved for N at 90 %.
    """
    if trial is improvement_is_had:
        return float("nan")
    near = setup.restricted()
    num = max(64, min(1024, EXACT_CELLS // near.solution.q_values.size))
    candidates = _candidates(near, num, rng, trial is advantage_is_accurate_abstaining)
    mean, variance = cpi.estimate_moments(near.case.mdp, near.solution, near.acceptance, candidates)
    signal = RELATIVE_ACCURACY * mean / np.sqrt(variance)

    def missing(log_samples: float) -> float:
        share = 2 * ndtr(signal * np.exp(log_samples / 2)) - 1
        return float(share.mean()) - CERTAINTY

    return float(np.exp(brentq(missing, -10.0, 80.0, xtol=1e-6)))


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
        gains.append(gains_of(setup, everywhere, alpha))
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


def gains_of(setup: Setup, candidate: Floats, alpha: Floats) -> Floats:
    mixed = cpi.mix(setup.case.policy, candidate, setup.acceptance, alpha)
    gains: Floats = expected_return(setup.case.mdp, mixed) - setup.solution.expected_return
    return gains


def _portions(setup: Setup, repeats: int) -> list[int]:
    """Returns the repetitions in portions whose count tables stay small."""
    size = max(1, MAX_CELLS // setup.solution.q_values.size)
    full, rest = divmod(repeats, size)
    return [size] * full + [rest] * (rest > 0)
