"""The algorithms: literal formulas, sampled against exact, steps that never make things worse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from resetrl.errors import ConfigError
from resetrl.theory import cpi
from resetrl.theory.cpi import PERFECT_ORACLE, RANDOM_RESETS, ResetOracle
from resetrl.theory.generators import Case, random_tree, rare_decision_chain
from resetrl.theory.mdp import (
    Floats,
    Ints,
    Solution,
    ThoughtMDP,
    expected_return,
    improvable,
    solve,
)
from resetrl.theory.sampling import ResetCounts, accepted_resets, count_resets, simulate_resets

ORACLES = (RANDOM_RESETS, PERFECT_ORACLE, ResetOracle(0.6, 0.2), ResetOracle(0.3, 0.9))


def cases() -> list[Case]:
    trees = [
        random_tree(0.3, 0.05, 4, 3, np.random.default_rng(seed), background=background)
        for seed in range(4)
        for background in (0.0, 0.8)
    ]
    entries = ("prompt", "thought")
    return [*trees, *(rare_decision_chain(0.3, 0.2, 5, 4, entered_by=entry) for entry in entries)]


def two_thoughts() -> tuple[ThoughtMDP, Floats]:
    mdp = ThoughtMDP(
        np.array([0, 1, 3]),
        np.array([[1, 2], [3, 3], [3, 3]]),
        np.array([[0.0, 1.0], [0.0, 1.0]]),
        np.array([1.0]),
    )
    return mdp, np.array([[0.25, 0.75], [0.5, 0.5], [0.9, 0.1]])


def test_policy_advantage_of_rr_and_caro_by_hand() -> None:
    mdp, policy = two_thoughts()
    solution = solve(mdp, policy)
    candidate = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    # rho = 1/2, 1/8, 3/8; advantages of the candidate 0.3, 0.5, 0.9
    rr = RANDOM_RESETS.acceptance(improvable(solution, 0.4))
    caro = PERFECT_ORACLE.acceptance(improvable(solution, 0.4))
    assert cpi.policy_advantage(solution, rr, candidate) == pytest.approx(0.55)
    assert cpi.policy_advantage(solution, caro, candidate) == pytest.approx(0.8)
    noisy = ResetOracle(0.5, 0.1).acceptance(improvable(solution, 0.4))
    np.testing.assert_allclose(noisy, [0.1, 0.5, 0.5])
    # accepted mass 0.05 + 0.0625 + 0.1875 = 0.3
    expected = (0.05 * 0.3 + 0.0625 * 0.5 + 0.1875 * 0.9) / 0.3
    assert cpi.policy_advantage(solution, noisy, candidate) == pytest.approx(expected)


def test_the_estimate_is_the_formula_on_literal_counts() -> None:
    mdp, policy = two_thoughts()
    candidate = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    counts = ResetCounts(
        tried=np.array([[2, 1], [1, 2], [0, 4]]),
        succeeded=np.array([[1, 0], [0, 2], [0, 4]]),
        draws=np.array(10),
    )
    estimate = cpi.estimate_advantage(mdp, policy, candidate, counts)
    # weights 2 (pi' - pi) of the successes: 1.5 once, 1.0 twice, 1.8 four times; N = 10
    assert estimate.advantage == pytest.approx((1.5 + 2 * 1.0 + 4 * 1.8) / 10)
    second = (1.5**2 + 2 * 1.0**2 + 4 * 1.8**2) / 10
    spread = 1.96 * np.sqrt((second - 1.07**2) / 10)
    assert estimate.half_width == pytest.approx(max(spread, 3 * 2 / 10), rel=1e-3)


def test_step_and_guarantee_by_hand() -> None:
    mdp = replace(two_thoughts()[0], reward_bound=5.0)
    assert cpi.step_size(mdp, np.array(0.4)) == pytest.approx(0.4 / (4 * 2 * 5))
    np.testing.assert_array_equal(cpi.step_size(mdp, np.array([-1.0, 1e9])), [0.0, 1.0])
    gain = cpi.guaranteed_improvement(mdp, np.array(0.5), np.array(0.4))
    assert gain == pytest.approx(0.5 * 0.16 / 40)


def test_the_mixture_moves_only_where_the_oracle_accepts() -> None:
    _, policy = two_thoughts()
    candidate = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    mixed = cpi.mix(policy, candidate, np.array([0.0, 1.0, 0.5]), np.array(0.2))
    np.testing.assert_allclose(mixed, [[0.25, 0.75], [0.4, 0.6], [0.81, 0.19]])


def test_ties_are_broken_at_random_and_untried_actions_are_not_chosen() -> None:
    rng = np.random.default_rng(0)
    rows = cpi.greedy(np.broadcast_to([1.0, 0.0, 1.0], (4000, 3)), rng)
    np.testing.assert_allclose(rows.mean(0), [0.5, 0.0, 0.5], atol=0.03)
    counts = ResetCounts(
        np.array([[3, 0], [0, 0], [1, 5]]), np.array([[0, 0], [0, 0], [1, 3]]), np.array(9)
    )
    policy = two_thoughts()[1]
    chosen = cpi.candidate_from(counts, policy, rng)
    np.testing.assert_array_equal(chosen, [[1.0, 0.0], policy[1], [1.0, 0.0]])


@pytest.mark.parametrize("oracle", ORACLES)
def test_the_exact_step_gains_at_least_what_is_guaranteed(oracle: ResetOracle) -> None:
    rng = np.random.default_rng(1)
    for case in cases():
        solution = solve(case.mdp, case.policy)
        acceptance = oracle.acceptance(improvable(solution, case.tau))
        candidate = cpi.greedy(solution.q_values, rng)
        advantage = cpi.policy_advantage(solution, acceptance, candidate)
        _, mass = accepted_resets(solution.resets, acceptance)
        new = cpi.mix(case.policy, candidate, acceptance, cpi.step_size(case.mdp, advantage))
        gain = expected_return(case.mdp, new) - solution.expected_return
        assert gain >= cpi.guaranteed_improvement(case.mdp, mass, advantage) > 0


def sampler_of(mdp: ThoughtMDP, rng: np.random.Generator) -> cpi.Sampler:
    def sampler(solution: Solution, acceptance: Floats, num_samples: Ints) -> ResetCounts:
        return count_resets(mdp, solution, acceptance, num_samples, rng)

    return sampler


@pytest.mark.parametrize("oracle", ORACLES)
def test_the_sampled_step_is_not_negative_beyond_sampling_error(oracle: ResetOracle) -> None:
    rng = np.random.default_rng(2)
    num_runs, worse = 40, 0
    for case in cases():
        solution = solve(case.mdp, np.repeat(case.policy[None], num_runs, axis=0))
        acceptance = oracle.acceptance(improvable(solution, case.tau))
        sampler = sampler_of(case.mdp, rng)
        step = cpi.iterate(case.mdp, solution, acceptance, sampler, 0.005, 64, rng)
        gains = expected_return(case.mdp, step.new_policy) - solution.expected_return
        worse += int((gains < -1e-12).sum())
        assert gains.mean() > 0
    # A step may lose only where the interval missed; 2.5 % of them miss on that side.
    assert worse <= 0.025 * num_runs * len(cases())


def test_a_policy_that_cannot_be_improved_is_left_as_it_is() -> None:
    mdp, _ = two_thoughts()
    best = np.array([[[0.5, 0.5], [0.0, 1.0], [0.0, 1.0]]])
    rng = np.random.default_rng(3)
    solution = solve(mdp, best)
    step = cpi.iterate(mdp, solution, np.ones((1, 3)), sampler_of(mdp, rng), 0.1, 64, rng)
    assert step.stopped.all()
    np.testing.assert_array_equal(step.new_policy, best)


def test_cpi_reaches_its_goal_and_never_falls_far() -> None:
    case = rare_decision_chain(0.4, 0.06, 4, 4, advantage=0.36)
    rng = np.random.default_rng(4)
    start = float(solve(case.mdp, case.policy).expected_return)
    history = cpi.run_cpi(
        case.mdp,
        case.policy,
        case.tau,
        PERFECT_ORACLE,
        sampler_of(case.mdp, rng),
        accuracy=1e-3,
        goal=start + 0.05,
        num_runs=5,
        max_iterations=500,
        rng=rng,
    )
    assert history.reached.all()
    assert (history.draws >= history.samples).all()
    assert np.diff(history.returns, axis=0).min() > -1e-3
    np.testing.assert_allclose(history.returns[0], start)


def test_cpi_stops_when_nothing_is_improvable_any_more() -> None:
    case = rare_decision_chain(0.4, 0.2, 4, 4)
    rng = np.random.default_rng(5)
    history = cpi.run_cpi(
        case.mdp,
        case.policy,
        case.tau,
        PERFECT_ORACLE,
        sampler_of(case.mdp, rng),
        accuracy=1e-3,
        goal=1.0,
        num_runs=3,
        max_iterations=2000,
        rng=rng,
    )
    assert not history.reached.any()
    assert (history.iterations < 2000).all()


@pytest.mark.parametrize("oracle", ORACLES)
def test_simulated_and_counted_resets_have_the_same_law(oracle: ResetOracle) -> None:
    case = random_tree(0.3, 0.1, 3, 3, np.random.default_rng(6))
    solution = solve(case.mdp, case.policy)
    acceptance = oracle.acceptance(improvable(solution, case.tau))
    resets, mass = accepted_resets(solution.resets, acceptance)
    num = 200_000
    rng = np.random.default_rng(7)
    simulated = simulate_resets(case.mdp, case.policy, acceptance, num, rng)
    counted = count_resets(case.mdp, solution, acceptance, num, rng)
    for counts in (simulated, counted):
        assert counts.num_samples == num
        expected = num * resets[:, None] / 3 * np.ones(3)
        deviation = (counts.tried - expected) / np.sqrt(np.maximum(expected, 1))
        assert np.abs(deviation).max() < 5
        expected = counts.tried * solution.q_values
        assert np.abs((counts.succeeded - expected) / np.sqrt(np.maximum(expected, 1))).max() < 5
        assert counts.draws * mass == pytest.approx(num, rel=0.02)


def test_estimated_moments_are_those_of_the_estimator() -> None:
    case = rare_decision_chain(0.3, 0.2, 4, 4)
    solution = solve(case.mdp, case.policy)
    acceptance = RANDOM_RESETS.acceptance(improvable(solution, case.tau))
    rng = np.random.default_rng(8)
    candidate = cpi.greedy(solution.q_values, rng)
    mean, variance = cpi.estimate_moments(case.mdp, solution, acceptance, candidate)
    num, repeats = 500, 4000
    counts = count_resets(case.mdp, solution, acceptance, np.full(repeats, num), rng)
    estimates = cpi.estimate_advantage(case.mdp, case.policy, candidate, counts).advantage
    assert estimates.mean() == pytest.approx(mean, abs=4 * np.sqrt(variance / num / repeats))
    assert estimates.var() * num == pytest.approx(variance, rel=0.1)


def test_rates_outside_zero_and_one_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"false_positive_rate = 1\.2 is not between 0 and 1"):
        ResetOracle(1.0, 1.2)
