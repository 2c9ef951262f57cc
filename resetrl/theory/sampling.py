"""Reset samples: a reset state, a uniformly drawn thought, the rest on-policy, the verdict.

Two samplers with the same meaning. `simulate_resets` rolls out thought by thought. `count_resets`
uses that the samples are independent and that a verdict is a coin: how often each (state, action)
was tried is multinomial, how often it succeeded binomial. That is the exact law of the simulated
counts (a test compares them) at a cost that does not depend on the number of samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from resetrl.theory.mdp import Floats, Ints, Solution, ThoughtMDP


@dataclass(frozen=True)
class ResetCounts:
    """What a batch of N reset samples showed; with N = 2 samples at one of three states
    `ResetCounts(tried=[[1, 1], [0, 0], [0, 0]], succeeded=[[0, 1], [0, 0], [0, 0]], draws=5)`.

    `tried`, `succeeded` [..., S, Y]; `draws` [...]: on-policy states drawn until N were accepted.
    """

    tried: Ints
    succeeded: Ints
    draws: Ints

    @property
    def num_samples(self) -> Ints:
        total: Ints = self.tried.sum((-2, -1))
        return total

    def __add__(self, other: ResetCounts) -> ResetCounts:
        return ResetCounts(
            self.tried + other.tried,
            self.succeeded + other.succeeded,
            self.draws + other.draws,
        )


def accepted_resets(resets: Floats, acceptance: Floats) -> tuple[Floats, Floats]:
    """Returns the reset distribution [..., S] given acceptance [..., S], and its mass [...].

    rho_acc(s) = rho(s) acc(s) / p_acc with p_acc = sum_s rho(s) acc(s).
    """
    weighted = resets * acceptance
    mass = weighted.sum(-1)
    return weighted / mass[..., None], mass


def count_resets(
    mdp: ThoughtMDP,
    solution: Solution,
    acceptance: Floats,
    num_samples: int | Ints,
    rng: np.random.Generator,
) -> ResetCounts:
    """Returns the counts of `num_samples` [...] reset samples.

    The batch is that of `num_samples` and of the policies in `solution`, broadcast: either many
    repetitions with one policy or one repetition with each of many. `solution` may be restricted
    to the states that can be accepted.
    """
    num = np.asarray(num_samples)
    resets, mass = accepted_resets(solution.resets, acceptance)
    num_states, num_actions = solution.q_values.shape[-2:]
    flat = rng.multinomial(num, np.repeat(resets / num_actions, num_actions, axis=-1))
    tried = flat.reshape(*flat.shape[:-1], num_states, num_actions)
    chance = np.clip(solution.q_values / mdp.reward_bound, 0.0, 1.0)
    succeeded = rng.binomial(tried, chance)
    rejected = rng.negative_binomial(np.maximum(num, 1), np.minimum(mass, 1.0))
    return ResetCounts(tried, succeeded, np.where(num > 0, num + rejected, 0))


def simulate_resets(
    mdp: ThoughtMDP,
    policy: Floats,
    acceptance: Floats,
    num_samples: int,
    rng: np.random.Generator,
) -> ResetCounts:
    """Returns the counts of `num_samples` reset samples, every one of them rolled out.

    A trajectory is run on-policy, a reset time is drawn uniformly from 0..H-1, the oracle accepts
    the state with probability `acceptance` [S] or another trajectory is run; from an accepted
    state a uniformly drawn action is taken, then the policy goes on until the verdict.
    """
    cumulative = np.minimum(policy.cumsum(-1), 1.0)
    cumulative[:, -1] = 1.0
    starts = np.empty(0, dtype=np.int64)
    draws = 0
    while len(starts) < num_samples:
        batch = 2 * (num_samples - len(starts)) + 64
        states = _on_policy_states(mdp, cumulative, batch, rng)
        accepted = np.flatnonzero(rng.random(batch) < acceptance[states])
        needed = num_samples - len(starts)
        draws += int(accepted[needed - 1]) + 1 if len(accepted) >= needed else batch
        starts = np.concatenate([starts, states[accepted[:needed]]])
    actions = rng.integers(mdp.num_actions, size=num_samples)
    verdicts = _finish(mdp, cumulative, starts, actions, rng)
    shape = (mdp.num_states, mdp.num_actions)
    tried, succeeded = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    np.add.at(tried, (starts, actions), 1)
    np.add.at(succeeded, (starts, actions), verdicts)
    return ResetCounts(tried, succeeded, np.asarray(draws))


def _on_policy_states(
    mdp: ThoughtMDP, cumulative: Floats, num: int, rng: np.random.Generator
) -> Ints:
    states = rng.choice(len(mdp.initial), size=num, p=mdp.initial)
    times = rng.integers(mdp.horizon, size=num)
    for time in range(mdp.horizon - 1):
        going = np.flatnonzero(times > time)
        actions = _draw_actions(cumulative, states[going], rng)
        states[going] = mdp.next_state[states[going], actions]
    return states


def _finish(
    mdp: ThoughtMDP, cumulative: Floats, states: Ints, actions: Ints, rng: np.random.Generator
) -> Ints:
    states, actions = states.copy(), actions.copy()
    last = mdp.layer(mdp.horizon - 1)
    for _ in range(mdp.horizon - 1):
        going = np.flatnonzero(states < last.start)
        states[going] = mdp.next_state[states[going], actions[going]]
        actions[going] = _draw_actions(cumulative, states[going], rng)
    chance = mdp.success[states - last.start, actions]
    verdicts: Ints = (rng.random(len(states)) < chance).astype(np.int64)
    return verdicts


def _draw_actions(cumulative: Floats, states: Ints, rng: np.random.Generator) -> Ints:
    drawn: Ints = (rng.random(len(states))[:, None] >= cumulative[states]).sum(-1)
    return drawn
