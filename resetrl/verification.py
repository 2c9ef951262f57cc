"""What a verifier's failure may cost: the rollouts it fails on, not the run.

A verifier is a plugin and may raise or hang on what a policy wrote. Such a rollout is neither
right nor wrong, so it gets no reward: it is marked as an error, counted, and left out of its
group (`without_errors`). A hang in Python code is interrupted; one in C code that never returns
to the interpreter is not, and belongs into a worker process (`resetrl.worker_pool`).
"""

from __future__ import annotations

import signal
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from resetrl.errors import ResetrlError, ResetrlWarning, TrainingError, list_names
from resetrl.interfaces import LimitedVerifier, TaggedVerifier, Verifier
from resetrl.ranks import ALONE, Ranks
from resetrl.types import Group, Rollout, Sampled, Verdict

_HOPELESS = 8
"""Failures in a row, from the first rollout on, behind which there is no use in going on."""


@dataclass(frozen=True)
class GuardedVerifier:
    """A verifier whose failures are verdicts with an error.

    `name` says which verifier of which distribution and file it is. The whole batch is verified
    at once; only if that raises or takes longer than `time_limit` seconds, each rollout is
    verified alone, with the same limit. A `LimitedVerifier` is given as long as its own limits
    add up to, if that is more. Outside of the main thread nothing is interrupted.
    """

    verifier: Verifier
    name: str
    time_limit: float

    def verify(self, rollouts: Sequence[Rollout]) -> list[Verdict]:
        """One verdict a rollout.

        Raises TrainingError if the verifier fails on all of the first rollouts, of two prompts
        or more, or does not return one verdict a rollout: then no rollout is at fault.
        """
        verdicts = self._attempt(rollouts)
        if isinstance(verdicts, str):
            verdicts = [_error(verdicts)] if len(rollouts) == 1 else self._one_by_one(rollouts)
            self._warn(rollouts, verdicts)
        return verdicts

    def tags(self) -> Mapping[str, str]:
        """What the verifier has to say in a run's tags, mostly nothing."""
        return self.verifier.tags() if isinstance(self.verifier, TaggedVerifier) else {}

    def _one_by_one(self, rollouts: Sequence[Rollout]) -> list[Verdict]:
        verdicts: list[Verdict] = []
        for rollout in rollouts:
            attempt = self._attempt([rollout])
            verdicts.append(_error(attempt) if isinstance(attempt, str) else attempt[0])
            failed = rollouts[: len(verdicts)]
            uids = [each.prompt.uid for each in failed]
            hopeless = len(failed) >= _HOPELESS and len(set(uids)) > 1
            if hopeless and all(each.error for each in verdicts):
                raise TrainingError(
                    f"{self.name} fails on every rollout so far (prompts {list_names(uids, 5)}): "
                    f"{verdicts[-1].error}; repair it, or give it longer with verifier_timeout=..."
                )
        return verdicts

    def _attempt(self, rollouts: Sequence[Rollout]) -> list[Verdict] | str:
        """The verdicts, or what went wrong."""
        time_limit = self.time_limit
        try:
            if isinstance(self.verifier, LimitedVerifier):
                time_limit = max(time_limit, self.verifier.longest(rollouts))
            with interrupted_after(time_limit):
                verdicts = self.verifier.verify(rollouts)
        except ResetrlError:
            raise  # on purpose, and no fault of a rollout
        except TimeExpired:
            return f"no verdict within {time_limit:g} s"
        except Exception as error:  # a plugin may fail in any way; all are reported alike
            return f"{type(error).__name__}: {error}"
        if len(verdicts) != len(rollouts):
            raise TrainingError(
                f"{self.name} returned {len(verdicts)} verdicts for {len(rollouts)} rollouts: it "
                "must return one a rollout, in order"
            )
        return verdicts

    def _warn(self, rollouts: Sequence[Rollout], verdicts: Sequence[Verdict]) -> None:
        failed = [(r, v.error) for r, v in zip(rollouts, verdicts, strict=True) if v.error]
        if failed:
            uids = [rollout.prompt.uid for rollout, _ in failed]
            warnings.warn(
                f"{self.name} failed on {len(failed)} of {len(rollouts)} rollouts, which are left "
                f"out (prompts {list_names(uids, 5)}): {failed[0][1]}",
                ResetrlWarning,
                stacklevel=3,
            )


def _error(why: str) -> Verdict:
    details = {"extracted": None, "why": f"the verifier failed: {why}", "status": "error"}
    return Verdict(0.0, False, details, error=why)


class TimeExpired(BaseException):
    """Interrupts what takes too long; no Exception, so that `except Exception` lets it pass."""


@contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    """Raise TimeExpired in the block after so many seconds, and each second from then on.

    It reaches Python code and calls that wait; in another thread than the main one it does
    nothing. An alarm of the surrounding program is kept.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    is_open = True

    def expire(signal_number: int, frame: object) -> None:
        if is_open:
            raise TimeExpired

    started = time.monotonic()
    handler = signal.signal(signal.SIGALRM, expire)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        is_open = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left:
            passed = time.monotonic() - started
            signal.setitimer(signal.ITIMER_REAL, max(left - passed, 1e-3), interval)


def without_errors(sampled: Sampled, ranks: Ranks = ALONE) -> Sampled:
    """What was sampled, but for the rollouts that could not be judged.

    A group that shrinks to one rollout has nothing to compare and goes too; both kinds of
    rollouts are `left_out`, and counted. Raises TrainingError if no group is left on any rank.
    """
    groups: list[Group] = []
    left_out: list[tuple[Rollout, Verdict]] = list(sampled.left_out)
    for group in sampled.groups:
        judged = [place for place, verdict in enumerate(group.verdicts) if not verdict.error]
        if len(judged) == len(group.rollouts):
            groups.append(group)
            continue
        kept = judged if len(judged) > 1 else []
        if kept:
            groups.append(_part(group, kept))
        pairs = zip(group.rollouts, group.verdicts, strict=True)
        left_out += [pair for place, pair in enumerate(pairs) if place not in kept]
    had, have = ranks.total(len(sampled.groups)), ranks.total(len(groups))
    if had and not have:
        uids = list_names([group.prompt.uid for group in sampled.groups])
        raise TrainingError(
            f"no group is left to train on: the verifier failed on rollouts of prompts {uids}; "
            "repair it or leave these problems out"
        )
    return replace(sampled, groups=groups, left_out=left_out)


def _part(group: Group, places: Sequence[int]) -> Group:
    shaped = group.shaped_rewards
    return replace(
        group,
        rollouts=tuple(group.rollouts[place] for place in places),
        verdicts=tuple(group.verdicts[place] for place in places),
        shaped_rewards=None if shaped is None else tuple(shaped[place] for place in places),
    )
