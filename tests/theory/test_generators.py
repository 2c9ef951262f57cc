"""Dials that cannot be had are refused in one sentence with the numbers."""

from __future__ import annotations

import numpy as np
import pytest

from resetrl.errors import ConfigError
from resetrl.theory.chain_task import FACTS, chain_task, fact_policy, first_wrong_thought_states
from resetrl.theory.generators import random_tree, rare_decision_chain
from resetrl.theory.mdp import solve


def tree(p: float = 0.2, tau: float = 0.05, horizon: int = 4, num_actions: int = 3) -> None:
    random_tree(p, tau, horizon, num_actions, np.random.default_rng(0))


@pytest.mark.parametrize("p", [0.0, 1.0, -0.5, 1.5])
def test_p_outside_zero_and_one_is_refused_by_every_generator(p: float) -> None:
    for build in (
        lambda: tree(p=p),
        lambda: rare_decision_chain(p, 0.1, 4, 4),
        lambda: chain_task(p, 0.1, 4, 2, 2, 0),
    ):
        with pytest.raises(ConfigError, match=rf"p = {p:.6g} was given.*strictly between 0 and 1"):
            build()


def test_p_beyond_what_the_mdp_can_reach_names_the_largest() -> None:
    with pytest.raises(ConfigError, match=r"p = 0\.9 cannot be reached.*probability is 0\.\d+"):
        tree(p=0.9)
    with pytest.raises(ConfigError, match=r"p = 0\.99 cannot be reached.*probability is 0\.\d+"):
        rare_decision_chain(0.99, 0.1, 4, 4)
    with pytest.raises(ConfigError, match=r"p = 0\.95 cannot be reached at tau = 0\.1"):
        chain_task(0.95, 0.1, 4, 2, 2, 0)


def test_tau_above_every_advantage_a_tree_can_hold_names_the_largest() -> None:
    with pytest.raises(ConfigError, match=r"tau = 0\.9 is above every advantage.*<= 0\.128205"):
        tree(tau=0.9)


def test_tau_above_the_chains_advantage_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"tau = 0\.3 with an advantage of 0\.2"):
        rare_decision_chain(0.2, 0.3, 4, 4, advantage=0.2)


def test_tables_that_do_not_fit_in_memory_are_refused_before_they_are_made() -> None:
    with pytest.raises(ConfigError, match=r"1,111,111,111 states and 10 actions; .* 662\.3 GiB"):
        tree(horizon=10, num_actions=10)
    with pytest.raises(ConfigError, match=r"horizon 1,000,000 and 3 actions has more than 2\^62"):
        tree(horizon=1_000_000)
    with pytest.raises(ConfigError, match=r"4,000,000,000 states .* limit is 0\.5 GiB"):
        rare_decision_chain(0.2, 0.1, 10**9, 4)
    with pytest.raises(ConfigError, match=r"states and 10 actions"):
        chain_task(0.2, 0.1, 8, 2, 10**6, 0)


def test_too_short_a_horizon_or_too_few_actions_are_refused() -> None:
    with pytest.raises(ConfigError, match="horizon = 1 and num_actions = 3"):
        tree(horizon=1)
    with pytest.raises(ConfigError, match="num_actions = 2 is below 3"):
        rare_decision_chain(0.2, 0.1, 4, 2)


def test_the_fact_policy_has_the_tasks_habits() -> None:
    policy = fact_policy()
    np.testing.assert_allclose(policy.sum(-1), 1.0)
    best = np.sort(policy, -1)
    easy = best[:, -1] == 1.0
    assert easy.sum() == 140
    # right 35 %, one wrong value 55 %, anything 10 %: 1 % for each of the ten values
    np.testing.assert_allclose(best[~easy][:, -2:], [[0.36, 0.56]] * 60)
    np.testing.assert_allclose(best[~easy][:, :-2], 0.01)
    assert policy[FACTS.index("3+4")].argmax() == 7 or not easy[FACTS.index("3+4")]


def test_the_step_checker_names_states_on_the_right_track_where_the_policy_is_unsure() -> None:
    case = chain_task(0.2, 0.1, 4, 2, 3, rng_seed=0)
    named = first_wrong_thought_states(case)
    solution = solve(case.mdp, case.policy)
    # Three hard questions with two hard facts each, along the one right chain of thoughts.
    assert named.sum() == 6
    assert (solution.resets[named] > 0).all()
