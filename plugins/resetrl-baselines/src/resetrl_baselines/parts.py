"""Parts of rollouts that are trained on their own: a tree's segment, a thought."""

from __future__ import annotations

import dataclasses

from resetrl.types import Completion, Rollout, Verdict


def unfinished(rollout: Rollout) -> Rollout:
    """The rollout as a part of others, which go on from its end."""
    completion = dataclasses.replace(rollout.completion, stop="unfinished")
    return dataclasses.replace(rollout, completion=completion)


def thought_of(rollout: Rollout, number: int) -> Rollout:
    """The 1-based thought of a rollout behind those before it; the last keeps a closing EOS.

    Its tokens alone are drawn ones, so its thoughts before are the prefix that carries no gradient.
    """
    whole = rollout.completion
    prefix_len = len(whole.first_thoughts(number - 1).token_ids)
    if number >= len(whole.thoughts):
        last = dataclasses.replace(whole, prefix_len=prefix_len)
        return dataclasses.replace(rollout, completion=last)
    kept = whole.first_thoughts(number)
    part = Completion(
        token_ids=kept.token_ids,
        logprobs=kept.logprobs,
        thought_ends=kept.thought_ends,
        thoughts=whole.thoughts[:number],
        stop="unfinished",
        text="".join(whole.thoughts[:number]),
        prefix_len=prefix_len,
    )
    return dataclasses.replace(rollout, completion=part)


def part_verdict(value: float | None) -> Verdict:
    """What stands for a verdict of a part: its value, the mean reward of what goes on from it.

    Without a value, because the verifier failed on all of that, it is an error as theirs are.
    """
    if value is None:
        return unjudged("nothing that goes on from it could be judged")
    return Verdict(value, False, {"why": "mean reward of what goes on from it"})


def unjudged(why: str) -> Verdict:
    """A verdict that leaves a rollout out of its group."""
    return Verdict(0.0, False, {"why": why}, error=why)
