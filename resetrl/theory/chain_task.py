"""The MDP of the built-in `chain` task under a tabular policy with the task's own bad habits.

State: the problem, the number of operations done, the running value as written so far. Action:
the result written for the next operation (|Y| = 10). The boxed answer copies the running value,
so the verdict is positive where the last result is the right one. Easy facts are always right,
hard ones (30 % of the 200) as `resetrl.tiny.data.Habits` has it: right 35 %, one fixed wrong
value 55 %, anything 10 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import numpy as np

from resetrl.builtin.chain import OPERATORS, draw_question, hard_facts, result_of
from resetrl.errors import ConfigError
from resetrl.theory.generators import Case, check_dials
from resetrl.theory.mdp import (
    DEFAULT_MAX_BYTES,
    Floats,
    Ints,
    Mask,
    ThoughtMDP,
    check_table,
    improvable,
    solve,
)
from resetrl.tiny.data import Habits, habitual_value

NUM_VALUES = 10
FACTS = tuple(
    f"{left}{operator}{right}"
    for operator in OPERATORS
    for left in range(NUM_VALUES)
    for right in range(NUM_VALUES)
)


@dataclass(frozen=True)
class ChainCase(Case):
    """The task's MDP, with the right result [S] of the fact that each state asks for."""

    right_results: Ints


def chain_task(
    p: float,
    tau: float,
    operations: int,
    num_hard: int,
    num_problems: int,
    rng_seed: int,
    max_bytes: int = DEFAULT_MAX_BYTES,
) -> ChainCase:
    """Returns the task's MDP over `num_problems` questions with hard facts and as many without.

    p is set by the share of questions that have `num_hard` hard facts among their operations;
    without hard facts the policy is always right and nothing is improvable.
    Raises ConfigError for a p that not even hard questions alone reach.
    """
    check_dials(p, operations, NUM_VALUES)
    num_states = 2 * num_problems * operations * NUM_VALUES
    check_table(
        f"The chain task with {2 * num_problems:,} problems of {operations:,} operations",
        num_states,
        NUM_VALUES,
        max_bytes,
    )
    rng = Random(rng_seed)
    questions = [draw_question(operations, num_hard, rng) for _ in range(num_problems)]
    questions += [draw_question(operations, 0, rng) for _ in range(num_problems)]
    is_hard = np.arange(2 * num_problems) < num_problems
    everything_hard = _build(questions, is_hard / num_problems, tau)
    solution = solve(everything_hard.mdp, everything_hard.policy)
    occupancy = float((solution.resets * improvable(solution, tau)).sum())
    if p >= occupancy:
        raise ConfigError(
            f"p = {p:.6g} cannot be reached at tau = {tau:.6g}: when every question has "
            f"{num_hard} hard facts the probability is {occupancy:.6g}; choose a smaller p or tau."
        )
    share = p / occupancy
    return _build(questions, np.where(is_hard, share, 1 - share) / num_problems, tau)


def first_wrong_thought_states(case: ChainCase) -> Mask:
    """Returns the states [S] that the task's step checker would reset to.

    They are the states from which a wrong thought can be the first wrong one: every result so
    far is the right one and the policy is not certain of the next. A step checker resets before
    the first wrong thought, so it never names the states behind a mistake.
    """
    mdp, horizon = case.mdp, case.mdp.horizon
    on_track = np.zeros(mdp.num_states, dtype=bool)
    on_track[mdp.layer(0)] = mdp.initial > 0
    for time in range(horizon - 1):
        here = np.flatnonzero(on_track[mdp.layer(time)]) + mdp.layer_starts[time]
        on_track[mdp.next_state[here, case.right_results[here]]] = True
    states: Mask = on_track & (case.policy.max(-1) < 1)
    return states


def fact_policy() -> Floats:
    """Returns pi(result | fact) [200, 10], in the order of `FACTS`."""
    habits = Habits()
    right = np.array([result_of(fact) for fact in FACTS])
    habitual = np.array([habitual_value(fact) for fact in FACTS])
    hard = np.array([fact in hard_facts() for fact in FACTS])
    anything = (1 - habits.hard_right - habits.hard_habit) / NUM_VALUES
    policy = np.where(hard[:, None], anything, 0.0) * np.ones(NUM_VALUES)
    rows = np.arange(len(FACTS))
    policy[rows, right] += np.where(hard, habits.hard_right, 1.0)
    policy[rows, habitual] += np.where(hard, habits.hard_habit, 0.0)
    return policy


def _build(questions: list[str], weights: Floats, tau: float) -> ChainCase:
    num_problems, operations = len(questions), len(questions[0]) // 2
    width = num_problems * NUM_VALUES
    starts = np.arange(operations + 1) * width
    fact_ids = _fact_ids(questions)
    problem = np.repeat(np.arange(num_problems), NUM_VALUES)
    following = starts[1:, None] + problem * NUM_VALUES
    next_state = following.reshape(-1, 1) + np.arange(NUM_VALUES)
    next_state[starts[-2] :] = starts[-1]
    results = np.array([result_of(fact) for fact in FACTS])
    value = np.array([int(question[0]) for question in questions])
    initial = np.zeros(width)
    initial[np.arange(num_problems) * NUM_VALUES + value] = weights
    for time in range(operations):
        value = results[fact_ids[time, np.arange(num_problems), value]]
    success = (value[problem][:, None] == np.arange(NUM_VALUES)).astype(float)
    mdp = ThoughtMDP(starts, next_state, success, initial)
    flat = fact_ids.ravel()
    return ChainCase(mdp, fact_policy()[flat], tau, right_results=results[flat])


def _fact_ids(questions: list[str]) -> Ints:
    """Returns the fact to be computed [operations, problems, values], as an index into FACTS."""
    operator = np.array([[OPERATORS.index(sign) for sign in each[1::2]] for each in questions]).T
    right = np.array([[int(digit) for digit in each[2::2]] for each in questions]).T
    left = np.arange(NUM_VALUES)
    ids: Ints = operator[..., None] * NUM_VALUES**2 + left * NUM_VALUES + right[..., None]
    return ids
