"""A finite-horizon Thought MDP as arrays, and its exact quantities by dynamic programming.

A thought is an action and appending it to the state is deterministic, as in a language model's
context; what is random is the policy and the verdict at the end (`methods`, section 8).

Shapes: S states, Y actions, H time steps; a leading `...` is a batch of policies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resetrl.errors import ConfigError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

BYTES_PER_CELL = 64  # next state, policy, values and a few temporaries of the same shape
DEFAULT_MAX_BYTES = 512 * 2**20


@dataclass(frozen=True)
class ThoughtMDP:
    """States are numbered layer by layer; layer t holds the states that can be entered at time t.

    `layer_starts` [H + 1]: layer t is `layer_starts[t]` up to `layer_starts[t + 1]`.
    `next_state` [S, Y]: the state entered, in the following layer; S stands for the end.
    `success` [S_last, Y]: probability that the verdict is positive, for the last layer's actions.
    `initial` [S_first]: distribution over the first layer (the prompts).
    `reward_bound` B: what a positive verdict pays; every return lies in {0, B}.

    Two steps, two actions, "the second thought must be action 1":
    `ThoughtMDP(array([0, 1, 3]), array([[1, 2], [3, 3], [3, 3]]), array([[0., 1.], [0., 1.]]),
    array([1.]), 1.0)`. Raises ConfigError for tables that do not describe such an MDP.
    """

    layer_starts: Ints
    next_state: Ints
    success: Floats
    initial: Floats
    reward_bound: float = 1.0

    def __post_init__(self) -> None:
        last, first = self.layer(self.horizon - 1), self.layer(0)
        num_last, num_first = last.stop - last.start, first.stop - first.start
        if self.success.shape != (num_last, self.num_actions):
            raise ConfigError(
                f"success has shape {self.success.shape}; the last layer needs "
                f"{(num_last, self.num_actions)}."
            )
        if self.initial.shape != (num_first,) or abs(float(self.initial.sum()) - 1) > 1e-9:
            raise ConfigError(
                f"initial has shape {self.initial.shape} and sum {self.initial.sum():.6g}; "
                f"it must be a distribution over the {num_first} states of the first layer."
            )
        if self.success.min() < 0 or self.success.max() > 1:
            raise ConfigError(
                f"success runs from {self.success.min():.6g} to {self.success.max():.6g}; "
                "probabilities lie between 0 and 1."
            )
        # The layer every state leads into; the last layer leads to the end marker S.
        layer_of = np.repeat(np.arange(self.horizon), np.diff(self.layer_starts))
        reached = np.append(layer_of, self.horizon)[self.next_state]
        if not (reached == layer_of[:, None] + 1).all():
            raise ConfigError("next_state must lead from each layer into the following one.")

    @property
    def horizon(self) -> int:
        return len(self.layer_starts) - 1

    @property
    def num_states(self) -> int:
        return int(self.layer_starts[-1])

    @property
    def num_actions(self) -> int:
        return int(self.next_state.shape[1])

    def layer(self, time: int) -> slice:
        """Returns the states of one time step as a slice of state numbers."""
        return slice(int(self.layer_starts[time]), int(self.layer_starts[time + 1]))


@dataclass(frozen=True)
class Solution:
    """Everything dynamic programming knows of one policy (or of a batch of them).

    `policy`, `q_values`, `advantages` [..., S, Y]; `values` [..., S];
    `resets` [..., S]: the on-policy reset distribution rho(s) = (1/H) sum_t P(s_t = s);
    `expected_return` [...].
    """

    policy: Floats
    values: Floats
    q_values: Floats
    advantages: Floats
    resets: Floats
    expected_return: Floats

    def at(self, states: Mask) -> Solution:
        """Returns the solution of one policy restricted to some states [S]."""
        return Solution(
            policy=self.policy[states],
            values=self.values[states],
            q_values=self.q_values[states],
            advantages=self.advantages[states],
            resets=self.resets[states],
            expected_return=self.expected_return,
        )

    def of(self, policies: Mask) -> Solution:
        """Returns the solution of some policies [R] of a batch."""
        return Solution(
            policy=self.policy[policies],
            values=self.values[policies],
            q_values=self.q_values[policies],
            advantages=self.advantages[policies],
            resets=self.resets[policies],
            expected_return=self.expected_return[policies],
        )


def solve(mdp: ThoughtMDP, policy: Floats) -> Solution:
    """Returns the exact values, advantages and reset distribution of `policy` [..., S, Y].

    Backwards: Q(s, a) = B success(s, a) in the last layer and V(next(s, a)) before it,
    V(s) = sum_a pi(a|s) Q(s, a), A = Q - V. Forwards: P(s_{t+1}) = sum P(s_t) pi(a|s_t).
    """
    values, q_values = evaluate(mdp, policy)
    return Solution(
        policy=policy,
        values=values,
        q_values=q_values,
        advantages=q_values - values[..., None],
        resets=visitation(mdp, policy) / mdp.horizon,
        expected_return=values[..., mdp.layer(0)] @ mdp.initial,
    )


def evaluate(mdp: ThoughtMDP, policy: Floats) -> tuple[Floats, Floats]:
    """Returns V [..., S] and Q [..., S, Y] of `policy` [..., S, Y]."""
    q_values = np.empty(policy.shape)
    values = np.empty(policy.shape[:-1])
    for time in reversed(range(mdp.horizon)):
        layer = mdp.layer(time)
        if time == mdp.horizon - 1:
            q_values[..., layer, :] = mdp.reward_bound * mdp.success
        else:
            q_values[..., layer, :] = values[..., mdp.next_state[layer]]
        values[..., layer] = (policy[..., layer, :] * q_values[..., layer, :]).sum(-1)
    return values, q_values


def expected_return(mdp: ThoughtMDP, policy: Floats) -> Floats:
    """Returns J [...] of `policy` [..., S, Y] without the forward pass."""
    values, _ = evaluate(mdp, policy)
    result: Floats = values[..., mdp.layer(0)] @ mdp.initial
    return result


def visitation(mdp: ThoughtMDP, policy: Floats) -> Floats:
    """Returns P(s is visited) [..., S]; each layer of it sums to 1."""
    batch = policy.reshape(-1, mdp.num_states, mdp.num_actions)
    visits = np.zeros(batch.shape[:-1])
    visits[:, mdp.layer(0)] = mdp.initial
    rows = np.arange(len(batch))[:, None]
    for time in range(mdp.horizon - 1):
        layer, following = mdp.layer(time), mdp.layer(time + 1)
        width = following.stop - following.start
        flow = visits[:, layer, None] * batch[:, layer]
        target = (mdp.next_state[layer] - following.start).ravel() + width * rows
        arrived = np.bincount(target.ravel(), flow.ravel(), minlength=len(batch) * width)
        visits[:, following] = arrived.reshape(-1, width)
    return visits.reshape(policy.shape[:-1])


def optimal_return(mdp: ThoughtMDP) -> float:
    """Returns J* = max over policies of the expected return."""
    best = np.zeros(mdp.num_states)
    for time in reversed(range(mdp.horizon)):
        layer = mdp.layer(time)
        last = time == mdp.horizon - 1
        q_values = mdp.reward_bound * mdp.success if last else best[mdp.next_state[layer]]
        best[layer] = q_values.max(-1)
    return float(best[mdp.layer(0)] @ mdp.initial)


def improvable(solution: Solution, tau: float) -> Mask:
    """Returns the improvable set as a mask [..., S]: some action has advantage > tau.

    Samanta et al., arXiv 2605.25507, Theorem 1.
    """
    mask: Mask = solution.advantages.max(-1) > tau
    return mask


def improvable_probability(solution: Solution, tau: float) -> Floats:
    """Returns p [...]: the probability that an on-policy reset state is improvable.

    Raises ConfigError where p is 0, that is where tau is above every reachable advantage.
    """
    probability: Floats = (solution.resets * improvable(solution, tau)).sum(-1)
    if (probability <= 0).any():
        reached = np.where(solution.resets[..., None] > 0, solution.advantages, -np.inf)
        raise ConfigError(
            f"tau = {tau:.6g} is above every advantage (the largest one reached is "
            f"{reached.max():.6g}), so no state is improvable; choose a smaller tau."
        )
    return probability


def check_table(what: str, num_states: int, num_actions: int, max_bytes: int) -> None:
    """Raises ConfigError when tables of that many states and actions would not fit."""
    needed = num_states * num_actions * BYTES_PER_CELL
    if needed > max_bytes:
        raise ConfigError(
            f"{what} has {num_states:,} states and {num_actions:,} actions; its tables need "
            f"{needed / 2**30:,.1f} GiB and the limit is {max_bytes / 2**30:,.1f} GiB: "
            "lower the horizon or the number of actions."
        )
