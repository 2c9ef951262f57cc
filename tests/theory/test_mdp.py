"""Exact quantities against literal values and against brute-force enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from resetrl.errors import ConfigError
from resetrl.theory.generators import Case, random_tree, rare_decision_chain
from resetrl.theory.mdp import (
    Floats,
    ThoughtMDP,
    improvable,
    improvable_probability,
    optimal_return,
    solve,
)


def two_thoughts() -> ThoughtMDP:
    """Two steps, two actions; the verdict is positive if the second thought is action 1."""
    return ThoughtMDP(
        layer_starts=np.array([0, 1, 3]),
        next_state=np.array([[1, 2], [3, 3], [3, 3]]),
        success=np.array([[0.0, 1.0], [0.0, 1.0]]),
        initial=np.array([1.0]),
    )


def random_mdp(rng: np.random.Generator) -> tuple[ThoughtMDP, Floats]:
    """Four steps, three actions, layers of 2, 3, 4 and 3 states that merge and split."""
    sizes = [2, 3, 4, 3]
    starts = np.cumsum([0, *sizes])
    next_state = np.full((12, 3), 12)
    for time in range(3):
        layer = slice(starts[time], starts[time + 1])
        shape = (sizes[time], 3)
        next_state[layer] = starts[time + 1] + rng.integers(sizes[time + 1], size=shape)
    mdp = ThoughtMDP(starts, next_state, rng.random((3, 3)), rng.dirichlet([1, 1]), 2.5)
    return mdp, rng.dirichlet(np.ones(3), size=12)


def enumerate_trajectories(
    mdp: ThoughtMDP, policy: Floats, start: int, first_action: int | None = None
) -> list[tuple[float, float, list[int]]]:
    """(probability, mean return, states) of every trajectory from a state, one after another."""
    time = int(np.searchsorted(mdp.layer_starts, start, side="right")) - 1
    last = int(mdp.layer_starts[-2])
    trajectories = []
    for actions in itertools.product(range(mdp.num_actions), repeat=mdp.horizon - time):
        if first_action is not None and actions[0] != first_action:
            continue
        probability, state, states = 1.0, start, [start]
        for number, action in enumerate(actions):
            if number > 0 or first_action is None:
                probability *= float(policy[state, action])
            if state >= last:
                gain = mdp.reward_bound * float(mdp.success[state - last, action])
            else:
                state = int(mdp.next_state[state, action])
                states.append(state)
        trajectories.append((probability, gain, states))
    return trajectories


def test_values_of_the_two_thought_problem_are_what_one_computes_by_hand() -> None:
    policy = np.array([[0.25, 0.75], [0.5, 0.5], [0.9, 0.1]])
    solution = solve(two_thoughts(), policy)
    np.testing.assert_allclose(solution.values, [0.25 * 0.5 + 0.75 * 0.1, 0.5, 0.1])
    np.testing.assert_allclose(solution.q_values, [[0.5, 0.1], [0.0, 1.0], [0.0, 1.0]])
    np.testing.assert_allclose(solution.resets, [0.5, 0.125, 0.375])
    np.testing.assert_allclose(solution.advantages[2], [-0.1, 0.9])
    assert solution.expected_return == pytest.approx(0.2)


def test_improvable_set_and_p_of_the_two_thought_problem() -> None:
    policy = np.array([[0.25, 0.75], [0.5, 0.5], [0.9, 0.1]])
    solution = solve(two_thoughts(), policy)
    np.testing.assert_array_equal(improvable(solution, 0.4), [False, True, True])
    np.testing.assert_array_equal(improvable(solution, 0.5), [False, False, True])
    assert improvable_probability(solution, 0.4) == pytest.approx(0.5)
    assert improvable_probability(solution, 0.5) == pytest.approx(0.375)


@pytest.mark.parametrize("seed", range(5))
def test_exact_quantities_agree_with_enumeration(seed: int) -> None:
    mdp, policy = random_mdp(np.random.default_rng(seed))
    solution = solve(mdp, policy)
    visits = np.zeros(mdp.num_states)
    for first, chance in enumerate(mdp.initial):
        for probability, _, states in enumerate_trajectories(mdp, policy, first):
            visits[states] += chance * probability
    np.testing.assert_allclose(solution.resets, visits / 4, atol=1e-10)
    for state in range(mdp.num_states):
        value = sum(p * gain for p, gain, _ in enumerate_trajectories(mdp, policy, state))
        assert abs(solution.values[state] - value) < 1e-10
        for action in range(mdp.num_actions):
            rest = enumerate_trajectories(mdp, policy, state, action)
            q_value = sum(p * gain for p, gain, _ in rest)
            assert abs(solution.q_values[state, action] - q_value) < 1e-10
            assert abs(solution.advantages[state, action] - (q_value - value)) < 1e-10
    returns = mdp.initial @ solution.values[:2]
    assert abs(solution.expected_return - returns) < 1e-10


def test_improvable_set_and_p_agree_with_enumeration() -> None:
    mdp, policy = random_mdp(np.random.default_rng(7))
    tau, p = 0.4, 0.0
    for first, chance in enumerate(mdp.initial):
        for probability, _, states in enumerate_trajectories(mdp, policy, first):
            for state in states:
                value = sum(q * g for q, g, _ in enumerate_trajectories(mdp, policy, state))
                best = max(
                    sum(q * g for q, g, _ in enumerate_trajectories(mdp, policy, state, action))
                    for action in range(3)
                )
                p += chance * probability * (best - value > tau) / mdp.horizon
    assert 0 < p < 1
    assert abs(improvable_probability(solve(mdp, policy), tau) - p) < 1e-10


def test_optimal_return_is_the_best_of_all_deterministic_policies() -> None:
    mdp = ThoughtMDP(
        np.array([0, 1, 3, 5]),
        np.array([[1, 2], [3, 4], [4, 3], [5, 5], [5, 5]]),
        np.array([[0.3, 0.2], [0.1, 0.7]]),
        np.ones(1),
    )
    choices = itertools.product(range(2), repeat=5)
    best = max(float(solve(mdp, np.eye(2)[list(each)]).expected_return) for each in choices)
    assert optimal_return(mdp) == pytest.approx(best, abs=1e-12) == 0.7


def test_a_batch_of_policies_is_solved_as_each_alone() -> None:
    rng = np.random.default_rng(3)
    mdp, first = random_mdp(rng)
    second = rng.dirichlet(np.ones(3), size=12)
    both = solve(mdp, np.stack([first, second]))
    for number, policy in enumerate((first, second)):
        alone = solve(mdp, policy)
        np.testing.assert_allclose(both.resets[number], alone.resets, atol=1e-14)
        np.testing.assert_allclose(both.q_values[number], alone.q_values, atol=1e-14)


def test_tau_above_every_advantage_names_the_largest_one() -> None:
    policy = np.array([[0.25, 0.75], [0.5, 0.5], [0.9, 0.1]])
    with pytest.raises(ConfigError, match=r"tau = 0\.95 .*largest one reached is 0\.9\)"):
        improvable_probability(solve(two_thoughts(), policy), 0.95)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("success", np.array([[0.0, 1.5], [0.0, 1.0]]), "from 0 to 1.5"),
        ("success", np.zeros((3, 2)), r"shape \(3, 2\)"),
        ("initial", np.array([0.5]), "sum 0.5"),
        ("next_state", np.array([[1, 3], [3, 3], [3, 3]]), "following one"),
    ],
)
def test_tables_that_describe_no_mdp_are_refused(field: str, value: Floats, message: str) -> None:
    tables = dict(vars(two_thoughts()))
    tables[field] = value
    with pytest.raises(ConfigError, match=message):
        ThoughtMDP(**tables)


def every_kind(p: float) -> list[Case]:
    from resetrl.theory.chain_task import chain_task

    return [
        random_tree(p, 0.05, 4, 3, np.random.default_rng(0)),
        random_tree(p, 0.05, 4, 3, np.random.default_rng(1), background=0.5),
        rare_decision_chain(p, 0.1, 6, 4),
        rare_decision_chain(p, 0.1, 6, 4, reward_bound=6.0),
        rare_decision_chain(p, 0.1, 6, 4, entered_by="thought"),
        chain_task(p, 0.1, 5, 3, 4, rng_seed=0),
    ]


@pytest.mark.parametrize("p", [0.4, 0.1, 0.01])
def test_every_generator_hits_the_dialled_p(p: float) -> None:
    for case in every_kind(p):
        solution = solve(case.mdp, case.policy)
        assert improvable_probability(solution, case.tau) == pytest.approx(p, abs=1e-10)
        mean = (case.policy * solution.advantages).sum(-1)
        np.testing.assert_allclose(mean, 0.0, atol=1e-12)


def test_outside_the_improvable_set_a_tree_has_the_dialled_small_advantages() -> None:
    for background, largest in ((0.0, 1e-12), (0.5, 0.025)):
        case = random_tree(0.2, 0.05, 4, 3, np.random.default_rng(0), background=background)
        solution = solve(case.mdp, case.policy)
        mask = improvable(solution, case.tau)
        assert solution.advantages[~mask].max() <= largest
        best = solution.advantages[mask].max(-1)
        assert best.min() >= 0.05 * 1.1 - 1e-12
        assert best.max() <= 0.05 * 1.3 + 1e-12


def test_the_chain_is_what_its_dials_say() -> None:
    case = rare_decision_chain(0.25, 0.1, 3, 4)
    # Lanes safe, decision, won, lost in each of three layers; action 1 decides.
    np.testing.assert_array_equal(case.mdp.layer_starts, [0, 4, 8, 12])
    np.testing.assert_array_equal(case.mdp.next_state[1], [5, 6, 7, 7])
    np.testing.assert_array_equal(case.mdp.next_state[0], [4, 4, 4, 4])
    np.testing.assert_array_equal(case.mdp.next_state[9], [12, 12, 12, 12])
    np.testing.assert_allclose(case.mdp.success[1], [0.5, 0.62, 0.44, 0.44])
    solution = solve(case.mdp, case.policy)
    np.testing.assert_allclose(solution.advantages[1], [0.0, 0.12, -0.06, -0.06], atol=1e-12)
