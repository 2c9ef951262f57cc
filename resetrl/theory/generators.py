"""Thought MDPs with dials: p, tau, the horizon H and the number of actions |Y| are set, not found.

Both generators work from the top down. Transitions are deterministic, so Q(s, a) is the value of
the state that a leads to: advantages can be *prescribed* state by state (with mean zero under the
policy), the values below follow, and the last layer's success probabilities make them come true.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from resetrl.errors import ConfigError
from resetrl.theory.mdp import DEFAULT_MAX_BYTES, Floats, Ints, Mask, ThoughtMDP, check_table

TREE_EXCESS = (1.1, 1.3)  # a tree's improvable states have their best advantage in there, x tau
TREE_DENSITY = 0.9  # share of improvable states in the deeper layers of their subtree
SAFE, DECISION, WON, LOST = range(4)  # the lanes of the chain
Entry = Literal["prompt", "thought"]
START_VALUE = 0.5  # every policy here starts at half the reward bound: the noisiest verdict


@dataclass(frozen=True)
class Case:
    """An MDP with the policy to be improved and the tau it is looked at with."""

    mdp: ThoughtMDP
    policy: Floats
    tau: float


def random_tree(
    p: float,
    tau: float,
    horizon: int,
    num_actions: int,
    rng: np.random.Generator,
    reward_bound: float = 1.0,
    background: float = 0.0,
    max_bytes: int = DEFAULT_MAX_BYTES,
) -> Case:
    """Returns a |Y|-ary tree with random policy whose on-policy reset states are improvable w.p. p.

    The improvable states lie below the root's action 0: that subtree's first two layers and 90 %
    of the others, drawn at random. The probability of that action sets p. Their best action, the
    one the policy likes least, has an advantage of 1.1 to 1.3 tau. Elsewhere every advantage is 0
    or, with `background` b > 0, the best one is between 0 and b tau (b < 1). One generator state
    gives one tree at every p.
    Raises ConfigError for a p, tau, horizon or number of actions that cannot be had.
    """
    check_dials(p, horizon, num_actions)
    if horizon * np.log2(num_actions) > 62:
        raise ConfigError(
            f"A random tree of horizon {horizon:,} and {num_actions:,} actions has more than "
            f"2^62 states and the limit is {max_bytes / 2**30:,.1f} GiB: lower the horizon or the "
            "number of actions."
        )
    num_states = (num_actions**horizon - 1) // (num_actions - 1)
    check_table(f"A random tree of horizon {horizon:,}", num_states, num_actions, max_bytes)
    _check_tree_tau(tau, horizon, num_actions, reward_bound)
    starts = np.cumsum([0, *(num_actions**time for time in range(horizon))])
    next_state = np.arange(1, num_states * num_actions + 1).reshape(num_states, num_actions)
    next_state = np.minimum(next_state, num_states)

    policy = rng.dirichlet(np.full(num_actions, 2.0), size=num_states)
    improvable = _improvable_nodes(starts, num_actions, rng)
    excess = rng.uniform(*TREE_EXCESS, size=num_states)
    faint = background * rng.uniform(size=num_states)
    policy[0] = _root_policy(p, policy, improvable, starts)

    best = np.where(improvable, excess, faint) * tau
    best[0] = 0.0
    advantages = _prescribe(policy, best)
    values = np.full(num_states, START_VALUE * reward_bound)
    for time in range(horizon - 1):
        layer = slice(starts[time], starts[time + 1])
        values[next_state[layer]] = values[layer, None] + advantages[layer]
    last = slice(starts[horizon - 1], starts[horizon])
    success = (values[last, None] + advantages[last]) / reward_bound
    mdp = ThoughtMDP(starts, next_state, success, np.ones(1), reward_bound)
    return Case(mdp, policy, tau)


def rare_decision_chain(
    p: float,
    tau: float,
    horizon: int,
    num_actions: int,
    reward_bound: float = 1.0,
    advantage: float | None = None,
    entered_by: Entry = "prompt",
    max_bytes: int = DEFAULT_MAX_BYTES,
) -> Case:
    """Returns a chain in which one rarely taken action, at one rarely entered place, matters.

    In the decision lane action 0 (taken almost always) goes on, action 1 wins `advantage` (1.2 tau
    by default), the other actions lose; in the safe lane nothing matters. p is set by how often
    the decision lane is entered: by the prompt, out of the policy's reach, or by the first
    thought, so that p moves when the policy learns to like the lane.
    Raises ConfigError for a p, tau, horizon or number of actions that cannot be had.
    """
    check_dials(p, horizon, num_actions)
    if num_actions < 3:
        raise ConfigError(
            f"The rare-decision chain has actions to go on, to win and to lose; "
            f"num_actions = {num_actions} is below 3."
        )
    check_table(f"A chain of horizon {horizon:,}", 4 * horizon, num_actions, max_bytes)
    gain = 1.2 * tau if advantage is None else advantage
    largest = (1 - START_VALUE) * reward_bound
    if not 0 < tau < gain <= largest:
        raise ConfigError(
            f"tau = {tau:.6g} with an advantage of {gain:.6g}: the chain needs "
            f"0 < tau < advantage <= {largest:.6g} (half the reward bound), or no state is "
            "improvable."
        )
    habit = np.full(num_actions, 1 / (2 * horizon * (num_actions - 1)))
    habit[0] = 1 - 1 / (2 * horizon)
    by_thought = entered_by == "thought"
    steps = horizon - 1 if by_thought else horizon
    entry = _entry(p, float((habit[0] ** np.arange(steps)).sum() / horizon))
    lanes = _lanes(num_actions)
    first_lanes = 1 if by_thought else 4
    starts = np.cumsum([0, first_lanes, *[4] * (horizon - 1)])
    next_state = np.full((int(starts[-1]), num_actions), starts[-1])
    lane_layers = starts[:-1] if not by_thought else starts[1:-1]
    following = lane_layers[1:, None, None] + lanes
    next_state[lane_layers[0] : lane_layers[-1]] = following.reshape(-1, num_actions)
    policy = np.tile(habit, (int(starts[-1]), 1))
    initial = np.array([1 - entry, entry, 0.0, 0.0])
    if by_thought:
        initial = np.ones(1)
        next_state[0] = 1 + np.array([DECISION, *[SAFE] * (num_actions - 1)])
        policy[0] = _split(entry, np.ones(num_actions - 1))
    lane_values = START_VALUE + np.array([0.0, 0.0, gain, -gain / (num_actions - 2)]) / reward_bound
    mdp = ThoughtMDP(starts, next_state, lane_values[lanes], initial, reward_bound)
    return Case(mdp, policy, tau)


def _lanes(num_actions: int) -> Ints:
    """Returns the lane [4, Y] that each action leads to from each lane."""
    lanes = np.repeat(np.arange(4)[:, None], num_actions, axis=1)
    lanes[DECISION] = [DECISION, WON, *[LOST] * (num_actions - 2)]
    return lanes


def check_dials(p: float, horizon: int, num_actions: int) -> None:
    """Raises ConfigError unless 0 < p < 1, H >= 2 and |Y| >= 2."""
    if not 0 < p < 1:
        raise ConfigError(
            f"p = {p:.6g} was given; p, the probability that a reset state is improvable, must "
            "lie strictly between 0 and 1: at 0 the oracle has nothing to accept, at 1 it "
            "accepts everything and CPI-CARO is CPI-RR."
        )
    if horizon < 2 or num_actions < 2:
        raise ConfigError(
            f"horizon = {horizon} and num_actions = {num_actions}; both must be at least 2."
        )


def _check_tree_tau(tau: float, horizon: int, num_actions: int, reward_bound: float) -> None:
    room = (1 - START_VALUE) * reward_bound
    largest = room / (TREE_EXCESS[1] * (horizon - 1))
    if not 0 < tau <= largest:
        raise ConfigError(
            f"tau = {tau:.6g} is above every advantage that a tree of horizon {horizon} with "
            f"{num_actions} actions and returns up to {reward_bound:.6g} can hold, or not "
            f"positive; choose 0 < tau <= {largest:.6g}."
        )


def _improvable_nodes(starts: Ints, num_actions: int, rng: np.random.Generator) -> Mask:
    chosen = rng.random(int(starts[-1])) < TREE_DENSITY
    in_subtree = np.zeros(int(starts[-1]), dtype=bool)
    for time in range(1, len(starts) - 1):
        in_subtree[starts[time] : starts[time] + num_actions ** (time - 1)] = True
    chosen[: starts[min(3, len(starts) - 1)]] = True  # so that a p of 1/2 can be had in any tree
    nodes: Mask = chosen & in_subtree
    return nodes


def _root_policy(p: float, policy: Floats, improvable: Mask, starts: Ints) -> Floats:
    horizon = len(starts) - 1
    reach, occupancy = np.ones(1), 0.0  # the subtree's layers, as if the root always entered it
    for time in range(1, horizon):
        here = slice(int(starts[time]), int(starts[time]) + len(reach))
        occupancy += float(reach @ improvable[here]) / horizon
        reach = (reach[:, None] * policy[here]).ravel()
    return _split(_entry(p, occupancy), policy[0, 1:])


def _entry(p: float, occupancy: float) -> float:
    if p >= occupancy:
        raise ConfigError(
            f"p = {p:.6g} cannot be reached: with every trajectory led to the improvable states "
            f"the probability is {occupancy:.6g}; choose a smaller p."
        )
    return p / occupancy


def _split(first: float, others: Floats) -> Floats:
    return np.concatenate([[first], (1 - first) * others / others.sum()])


def _prescribe(policy: Floats, best: Floats) -> Floats:
    """Returns advantages [S, Y]: `best` for the least likely action, mean zero under the policy."""
    least = policy.argmin(-1)[:, None]
    chance = np.take_along_axis(policy, least, -1)
    advantages = np.repeat(-best[:, None] * chance / (1 - chance), policy.shape[1], axis=1)
    np.put_along_axis(advantages, least, best[:, None], -1)
    return advantages
