"""CPI-RR, CPI-CARO and CPI with an imperfect oracle: one algorithm, three acceptance rules.

The paper is Samanta et al., arXiv 2605.25507 (Theorem 1); conservative policy iteration is
Kakade & Langford, "Approximately Optimal Approximate Reinforcement Learning", ICML 2002. With
acc(s) the probability that the oracle accepts a state, RR has acc = 1, CARO has acc = 1 on the
improvable set I and 0 elsewhere, an imperfect oracle its true and false positive rate.
Restricting both the draws and the update by acc gives all three from the same formulas, and
acc = 1 is Kakade and Langford's algorithm.

Shapes as in `mdp`: S states, Y actions; `...` is a batch of policies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from resetrl.errors import ConfigError
from resetrl.theory.mdp import Floats, Ints, Mask, Solution, ThoughtMDP, improvable, solve
from resetrl.theory.sampling import ResetCounts, accepted_resets

NORMAL_95 = 1.959963984540054  # two-sided 95 % of the normal distribution


@dataclass(frozen=True)
class ResetOracle:
    """Answers "is this state improvable?": yes with one rate where it is, with another where not.

    Self-localization is such an oracle: `ResetOracle(0.6, 0.1)` finds 60 % of the improvable
    states and names a tenth of the others. Answers are independent from query to query.
    """

    true_positive_rate: float = 1.0
    false_positive_rate: float = 0.0

    def __post_init__(self) -> None:
        for name in ("true_positive_rate", "false_positive_rate"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} = {getattr(self, name):.6g} is not between 0 and 1.")

    def acceptance(self, is_improvable: Mask) -> Floats:
        """Returns acc(s) [..., S]."""
        return np.where(is_improvable, self.true_positive_rate, self.false_positive_rate)


RANDOM_RESETS = ResetOracle(1.0, 1.0)
PERFECT_ORACLE = ResetOracle(1.0, 0.0)


def greedy(q_values: Floats, rng: np.random.Generator, tolerance: float = 1e-9) -> Floats:
    """Returns a greedy policy [..., S, Y], each row one-hot; ties are broken at random.

    Kakade & Langford 2002, sec. 4.1 (the greedy policy chooser). Random ties are what a candidate
    from samples does where nothing matters; always taking the first action would be a hint.
    """
    best = q_values >= q_values.max(-1, keepdims=True) - tolerance
    chosen = np.where(best, rng.random(q_values.shape), -1.0).argmax(-1)
    policy: Floats = np.eye(q_values.shape[-1])[chosen]
    return policy


def candidate_from(counts: ResetCounts, policy: Floats, rng: np.random.Generator) -> Floats:
    """Returns the greedy candidate [..., S, Y] of the sampled mean returns.

    Untried actions are not chosen; where nothing was tried the policy stays as it is.
    """
    means = np.where(counts.tried > 0, counts.succeeded / np.maximum(counts.tried, 1), -1.0)
    seen: Mask = counts.tried.max(-1) > 0
    return np.where(seen[..., None], greedy(means, rng), policy)


def policy_advantage(solution: Solution, acceptance: Floats, candidate: Floats) -> Floats:
    """Returns the exact policy advantage [...] of a candidate over the accepted reset states.

    A(pi') = E_{s ~ rho_acc} sum_a pi'(a|s) A_pi(s, a); Kakade & Langford 2002, Definition 3.1,
    with rho_acc in place of the discounted visitation. For CARO it is above tau; for RR only
    p tau is promised (Samanta et al., Theorem 1): that factor p is all there is to the theorem.
    """
    resets, _ = accepted_resets(solution.resets, acceptance)
    per_state = (candidate * solution.advantages).sum(-1)
    result: Floats = (resets * per_state).sum(-1)
    return result


@dataclass(frozen=True)
class Estimate:
    """An estimated policy advantage [...] and the half-width of its 95 % interval [...]."""

    advantage: Floats
    half_width: Floats


def estimate_advantage(
    mdp: ThoughtMDP, policy: Floats, candidate: Floats, counts: ResetCounts
) -> Estimate:
    """Returns the importance-weighted estimate of a candidate's policy advantage.

    A_hat = (1/N) sum_i |Y| (pi'(a_i|s_i) - pi(a_i|s_i)) G_i with a_i uniform and G_i in {0, B}.
    It is unbiased, one batch of samples serves every candidate, and its second moment is at most
    2 |Y| B^2 (Kakade & Langford 2002, sec. 7.1): here the bound's |Y| and (H R)^2 come from.
    The half-width is at least 3 |Y| B / N, because an outcome not seen in N samples may still
    have probability 3 / N.
    """
    weights = mdp.num_actions * mdp.reward_bound * (candidate - policy)
    num = np.maximum(counts.num_samples, 1)
    mean = (weights * counts.succeeded).sum((-2, -1)) / num
    variance = (weights**2 * counts.succeeded).sum((-2, -1)) / num - mean**2
    half_width = NORMAL_95 * np.sqrt(np.maximum(variance, 0.0) / num)
    floor = 3 * mdp.num_actions * mdp.reward_bound / num
    return Estimate(mean, np.maximum(half_width, floor))


def estimate_moments(
    mdp: ThoughtMDP, solution: Solution, acceptance: Floats, candidate: Floats
) -> tuple[Floats, Floats]:
    """Returns the exact mean and variance [...] of one term of `estimate_advantage`.

    E = A(pi'), E of the square = |Y| B sum_s rho_acc(s) sum_a (pi'(a|s) - pi(a|s))^2 Q(s, a).
    """
    resets, _ = accepted_resets(solution.resets, acceptance)
    mean = policy_advantage(solution, acceptance, candidate)
    squares = ((candidate - solution.policy) ** 2 * solution.q_values).sum(-1)
    second = mdp.num_actions * mdp.reward_bound * (resets * squares).sum(-1)
    return mean, second - mean**2


def step_size(mdp: ThoughtMDP, advantage: Floats) -> Floats:
    """Returns the conservative step alpha [...] = A / (4 H B), at most 1 and at least 0.

    With pi_new = (1 - alpha acc) pi + alpha acc pi' and the performance difference lemma,
    J(pi_new) - J(pi) >= alpha H p_acc A - 2 alpha^2 H^2 p_acc B, because at most a share
    alpha p_acc H of the trajectories has left pi and an advantage is at most B in size. This step
    maximises the bound, which is then `guaranteed_improvement` (Kakade & Langford 2002, Theorem
    4.1 and Corollary 4.2, for a finite horizon; Samanta et al., Theorem 1, with B = H R).
    """
    return np.clip(advantage / (4 * mdp.horizon * mdp.reward_bound), 0.0, 1.0)


def guaranteed_improvement(mdp: ThoughtMDP, mass: Floats, advantage: Floats) -> Floats:
    """Returns p_acc A^2 / (8 B) [...], a lower bound on what the conservative step gains.

    With B = H R: at least p^2 tau^2 / (8 H R) for RR (p_acc = 1, A >= p tau) and
    p tau^2 / (8 H R) for CARO (p_acc = p, A >= tau); Samanta et al., Theorem 1.
    """
    return mass * advantage**2 / (8 * mdp.reward_bound)


def mix(policy: Floats, candidate: Floats, acceptance: Floats, alpha: Floats) -> Floats:
    """Returns the conservative mixture (1 - alpha acc) pi + alpha acc pi' [..., S, Y].

    Kakade & Langford 2002, eq. 4.1, restricted to where the oracle accepts.
    """
    rate = alpha[..., None, None] * acceptance[..., None]
    result: Floats = policy + rate * (candidate - policy)
    return result


Sampler = Callable[[Solution, Floats, Ints], ResetCounts]
"""Draws reset samples: (solution [...], acceptance [..., S], number of samples [...]) -> counts."""


@dataclass(frozen=True)
class Iteration:
    """One sampled iteration of a batch of runs, every field [...] but the policy.

    `new_policy` [..., S, Y]; `samples` reset samples used; `draws` reset states drawn, rejected
    ones included; `stopped`: the stopping rule held and the policy was left as it is.
    """

    new_policy: Floats
    estimate: Estimate
    alpha: Floats
    samples: Ints
    draws: Ints
    stopped: Mask


def iterate(
    mdp: ThoughtMDP,
    solution: Solution,
    acceptance: Floats,
    sampler: Sampler,
    accuracy: float,
    first_batch: int,
    rng: np.random.Generator,
) -> Iteration:
    """Returns one iteration for a batch of policies [R, S, Y]; knows neither p nor tau nor rho.

    Half of the samples choose the candidate, the other half estimate its advantage, so that the
    estimate is not the winner's own. The number of samples is doubled until the half-width of
    the estimate is below half the estimate or below accuracy / 3. Stopping rule: estimate below
    2 accuracy / 3. Otherwise the step is taken for the lower end of the interval,
    alpha = (A_hat - half-width) / (4 H B) (Kakade & Langford 2002, sec. 4.1, steps 2 to 4, where
    the half-width is accuracy / 3).
    """
    num = np.full(len(solution.policy), first_batch, dtype=np.int64)
    choosing = sampler(solution, acceptance, num)
    estimating = sampler(solution, acceptance, num)
    while True:
        candidate = candidate_from(choosing, solution.policy, rng)
        estimate = estimate_advantage(mdp, solution.policy, candidate, estimating)
        wanted = np.maximum(estimate.advantage / 2, accuracy / 3)
        unsure = estimate.half_width > wanted
        if not unsure.any():
            break
        more = np.where(unsure, estimating.num_samples, 0)
        choosing += sampler(solution, acceptance, more)
        estimating += sampler(solution, acceptance, more)
    stopped = estimate.advantage < 2 * accuracy / 3
    safe = np.where(stopped, 0.0, estimate.advantage - estimate.half_width)
    alpha = step_size(mdp, safe)
    return Iteration(
        new_policy=mix(solution.policy, candidate, acceptance, alpha),
        estimate=estimate,
        alpha=alpha,
        samples=choosing.num_samples + estimating.num_samples,
        draws=choosing.draws + estimating.draws,
        stopped=stopped,
    )


@dataclass(frozen=True)
class History:
    """Runs of CPI until their stopping rule or goal: returns [iterations + 1, R] and, summed over
    the iterations that each run made, `samples`, `draws`, `iterations` [R]; `reached` [R]: goal."""

    returns: Floats
    samples: Ints
    draws: Ints
    iterations: Ints
    reached: Mask


def run_cpi(
    mdp: ThoughtMDP,
    policy: Floats,
    tau: float,
    oracle: ResetOracle,
    sampler: Sampler,
    accuracy: float,
    goal: float,
    num_runs: int,
    max_iterations: int,
    rng: np.random.Generator,
) -> History:
    """Runs CPI `num_runs` times from `policy` [S, Y] until J >= goal or the stopping rule holds.

    The oracle is asked about the current policy in every iteration. A run also stops when the
    oracle accepts nothing any more, that is when no state is improvable.
    """
    policies = np.repeat(policy[None], num_runs, axis=0)
    samples = np.zeros(num_runs, dtype=np.int64)
    draws, iterations = samples.copy(), samples.copy()
    active = np.ones(num_runs, dtype=bool)
    returns, reached = [], ~active
    batch = 32
    for _ in range(max_iterations + 1):
        solution = solve(mdp, policies)
        returns.append(solution.expected_return)
        acceptance = oracle.acceptance(improvable(solution, tau))
        reached = solution.expected_return >= goal
        active = active & ~reached & ((solution.resets * acceptance).sum(-1) > 0)
        if not active.any() or len(returns) > max_iterations:
            break
        acting = solution.of(active)
        step = iterate(mdp, acting, acceptance[active], sampler, accuracy, batch, rng)
        batch = max(32, int(step.samples.min()) // 4)
        samples[active] += step.samples
        draws[active] += step.draws
        iterations[active] += 1
        policies[active] = step.new_policy
        active[active] = ~step.stopped
    return History(np.array(returns), samples, draws, iterations, reached)
