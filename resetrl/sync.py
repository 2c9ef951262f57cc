"""Brings the learner's new parameters to the policy, and proves by a probe that they arrived.

The probe is a short fixed request: the log-probabilities with which the policy draws its tokens
must be those the learner gives them. It passes through whatever the policy's rollouts pass
through, caches included, so that stale parameters and stale caches both show.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from resetrl.errors import SyncError
from resetrl.interfaces import Sleeper
from resetrl.types import Group, Limits, Problem, Prompt, Request, Rollout, Sampling, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resetrl.method import Session

PROBE_PROMPT_LEN = 64
"""Tokens of the probe's prompt: more than one block of any engine's prefix cache."""

PROBE_COMPLETION_LEN = 16
"""Tokens drawn by the probe, EOS permitting."""


def synchronise(session: Session) -> Mapping[str, float]:
    """Have the policy draw from the learner's present parameters; returns the probe's metrics.

    `sync/probe_gap` is the mean absolute difference of the probe's log-probabilities, policy
    against learner, in nats. Nothing is done, and nothing returned, where the policy reads the
    learner's own parameters. Raises SyncError if the gap exceeds `session.sync_tolerance`.
    """
    if not session.policy.sync(session.learner):
        return {}
    gap = probe_gap(session)
    if not gap <= session.sync_tolerance:
        raise SyncError(
            f"after a weight sync the policy's log-probabilities are {gap:.2g} nats a token off "
            f"the learner's, more than sync_tolerance={session.sync_tolerance:g}: its parameters "
            "or its prefix cache are stale, or the tolerance is below the rounding of this model"
        )
    return {"sync/probe_gap": gap}


def rest(session: Session) -> None:
    """Have a policy on the learner's device give its memory up; `synchronise` wakes it."""
    if isinstance(session.policy, Sleeper):
        session.policy.sleep()


def probe_gap(session: Session) -> float:
    """Mean absolute difference, in nats a token, of policy and learner on a fixed request."""
    from resetrl.batch import build_batch  # torch: a configuration needs none

    request = _probe(session)
    (completion,) = session.policy.generate([request])
    prompt = Prompt(Problem("sync-probe", "", ""), request.prompt_ids)
    group = Group("probe", (Rollout(prompt, completion),), (Verdict(0.0, False),))
    batch = build_batch([group], [[0.0]], temperature=request.sampling.temperature)
    mask = batch.loss_mask
    learned = session.learner.logprobs(batch).cpu()
    return float((learned[mask] - batch.old_logprobs[mask]).abs().mean())


def _probe(session: Session) -> Request:
    """The first held-out problem, repeated to the probe's length: the same in every sync."""
    question = session.task.problems("eval")[0].question
    token_ids = session.tokenizer.encode(question, add_special_tokens=False)
    repeated = (token_ids * PROBE_PROMPT_LEN)[:PROBE_PROMPT_LEN]
    return Request(
        prompt_ids=tuple(repeated),
        rng_seed=0,
        sampling=Sampling(temperature=1.0, top_p=1.0),
        limits=Limits(max_thoughts=0, max_completion_len=PROBE_COMPLETION_LEN),
    )
