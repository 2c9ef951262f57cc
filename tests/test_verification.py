"""A verifier that raises or hangs costs the rollouts it fails on, and the run goes on."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import threading
import time
import warnings
from collections.abc import Callable, Sequence

import pytest
from test_step import boxed, make_method, make_prompts, make_session

from resetrl.builtin.verifiers import Exact
from resetrl.errors import ResetrlWarning, TrainingError
from resetrl.plugins import load_plugins
from resetrl.run.build import build_task, build_verifier
from resetrl.run.compose import compose, to_run_config
from resetrl.splits import GroupSplit
from resetrl.step import train_step
from resetrl.testing import ScriptedPolicy, make_prompt, make_rollout
from resetrl.types import Group, Rollout, Sampled, Verdict
from resetrl.verification import GuardedVerifier, TimeExpired, interrupted_after, without_errors

RIGHT = Verdict(1.0, True)
BROKEN = Verdict(0.0, False, error="ValueError: odd")


@dataclasses.dataclass
class Fails:
    """Exact, but it does something else with a rollout that holds `!`."""

    fail: Callable[[], object]
    calls: list[int] = dataclasses.field(default_factory=list)

    def verify(self, rollouts: Sequence[Rollout]) -> list[Verdict]:
        self.calls.append(len(rollouts))
        if any("!" in rollout.completion.text for rollout in rollouts):
            self.fail()
        return Exact().verify(rollouts)


def odd() -> None:
    raise ValueError("odd")


def hang() -> None:
    while True:
        with contextlib.suppress(Exception):
            time.sleep(0.01)


def guarded(fail: Callable[[], object], time_limit: float = 60.0) -> GuardedVerifier:
    return GuardedVerifier(Fails(fail), "verifier mine of mine 1.0", time_limit)


def rollout(answer: str, uid: str = "p") -> Rollout:
    return make_rollout([answer], prompt=make_prompt("0+1", "1", uid))


def test_a_verifier_that_works_is_called_once_for_all() -> None:
    verifier = guarded(odd)
    verdicts = verifier.verify([rollout(boxed(1)), rollout(boxed(2))])
    assert [verdict.correct for verdict in verdicts] == [True, False]
    assert verifier.verifier.calls == [2]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("fail", "error"), [(odd, "ValueError: odd"), (hang, "no verdict within 0.2 s")]
)
def test_the_rollout_it_fails_on_is_an_error_and_the_others_are_judged(
    fail: Callable[[], None], error: str
) -> None:
    verifier = guarded(fail, time_limit=0.2)
    with pytest.warns(ResetrlWarning) as warned:
        first, second, third = verifier.verify(
            [rollout(boxed(1), "a"), rollout("!", "b"), rollout(boxed(2), "c")]
        )
    assert (first.correct, third.correct, first.error, third.error) == (True, False, "", "")
    assert second == Verdict(
        0.0,
        False,
        {"extracted": None, "why": f"the verifier failed: {error}", "status": "error"},
        error,
    )
    assert [str(warning.message) for warning in warned] == [
        "verifier mine of mine 1.0 failed on 1 of 3 rollouts, which are left out (prompts b): "
        + error
    ]


@pytest.mark.parametrize(("own", "error"), [(30.0, ""), (0.1, "no verdict within 0.2 s")])
def test_a_verifier_with_longer_limits_of_its_own_is_not_interrupted_before(
    own: float, error: str
) -> None:
    class Limited(Fails):
        def longest(self, rollouts: Sequence[Rollout]) -> float:
            return own * len(rollouts)

    verifier = GuardedVerifier(Limited(lambda: time.sleep(0.6)), "limited", 0.2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResetrlWarning)
        (verdict,) = verifier.verify([rollout("!")])
    assert verdict.error == error


def test_a_verifier_that_fails_on_everything_stops_the_run() -> None:
    rollouts = [rollout("!", uid) for uid in ("a", "b") for _ in range(8)]
    with pytest.raises(TrainingError) as raised:
        guarded(odd).verify(rollouts)
    assert str(raised.value) == (
        "verifier mine of mine 1.0 fails on every rollout so far (prompts a, b): ValueError: odd; "
        "repair it, or give it longer with verifier_timeout=..."
    )
    with pytest.warns(ResetrlWarning):  # one prompt may be at fault for all of its own rollouts
        assert all(verdict.error for verdict in guarded(odd).verify(rollouts[:8]))


def test_what_is_raised_on_purpose_stops_the_run() -> None:
    def refuse() -> None:
        raise TrainingError("the workers do not start")

    with pytest.raises(TrainingError, match="the workers do not start"):
        guarded(refuse).verify([rollout("!"), rollout("!")])


def test_a_missing_verdict_is_no_rollouts_fault() -> None:
    class Loses:
        def verify(self, rollouts: Sequence[Rollout]) -> list[Verdict]:
            return [RIGHT]

    verifier = GuardedVerifier(Loses(), "verifier loses of mine 1.0", 60.0)
    with pytest.raises(
        TrainingError, match=r"loses of mine 1.0 returned 1 verdicts for 2 rollouts"
    ):
        verifier.verify([rollout("a"), rollout("b")])


def test_an_interruption_keeps_the_alarm_of_the_program_around_it() -> None:
    rung: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: rung.append(number))
    signal.setitimer(signal.ITIMER_REAL, 3600.0)
    try:
        with pytest.raises(TimeExpired), interrupted_after(0.05):
            hang()
        left, _ = signal.setitimer(signal.ITIMER_REAL, 0)
        assert 0 < left <= 3600.0 and rung == []
    finally:
        signal.signal(signal.SIGALRM, before)


def test_outside_of_the_main_thread_nothing_is_interrupted() -> None:
    verdicts: list[Verdict] = []
    verifier = guarded(odd, time_limit=0.001)
    thread = threading.Thread(target=lambda: verdicts.extend(verifier.verify([rollout(boxed(1))])))
    thread.start()
    thread.join()
    assert [verdict.correct for verdict in verdicts] == [True]


def test_groups_lose_the_rollouts_that_could_not_be_judged() -> None:
    rollouts = tuple(rollout(str(n)) for n in range(3))
    whole = Group("base", rollouts, (RIGHT,) * 3)
    smaller = Group("pair", rollouts, (RIGHT, BROKEN, RIGHT), shaped_rewards=(0.5, 0.0, 0.25))
    gone = Group("base", rollouts, (RIGHT, BROKEN, BROKEN))
    sampled = without_errors(Sampled([whole, smaller, gone], draws=()))
    assert sampled.groups == [
        whole,
        Group("pair", (rollouts[0], rollouts[2]), (RIGHT, RIGHT), shaped_rewards=(0.5, 0.25)),
    ]
    assert sampled.left_out == [(rollouts[1], BROKEN), *zip(rollouts, gone.verdicts, strict=True)]
    with pytest.raises(TrainingError, match=r"no group is left to train on: .* prompts p;"):
        without_errors(Sampled([gone], draws=()))


def test_a_step_trains_the_other_rollouts_and_counts_what_it_left_out() -> None:
    """One prompt of 0+1: draw 2 and suffix 3 cannot be judged; draw 2 becomes no seed."""
    draws = [["a", boxed(1)], ["!", boxed(9)], ["c", boxed(9)], ["d", boxed(1)]]
    suffixes = [["e", boxed(1)], ["f", boxed(2)], ["!", boxed(2)], ["h", boxed(1)]]
    policy = ScriptedPolicy([*draws, *suffixes])
    session = dataclasses.replace(make_session(policy), verifier=guarded(odd))
    method = make_method(GroupSplit(4, (4,)), First())
    with pytest.warns(ResetrlWarning):
        record = train_step(1, make_prompts(1), method, session)
    base, reset = record.groups
    assert base.rewards == (1.0, 0.0, 1.0)
    assert reset.rewards == (1.0, 0.0, 1.0)
    assert reset.reset_state is not None
    assert reset.reset_state.seed.completion.thoughts[0] == "c</thought>"
    assert len(record.draws) == 4
    wanted = {
        "verdict/error": 2.0,
        "answer/error": 0.25,
        "answer/right": 0.5,
        "answer/wrong": 0.25,
        "rollouts/trained": 6.0,
        "rollouts/drawn": 8.0,
        "rollouts/discarded": 2.0,
        "draws/accuracy": 2 / 3,
    }
    assert {name: record.metrics[name] for name in wanted} == pytest.approx(wanted)


@dataclasses.dataclass
class First:
    """Goes back to the bare prompt."""

    def select(self, seeds: Sequence[Rollout], context: object) -> list[object]:
        from resetrl.types import Selection

        return [Selection(1, "first") for _ in seeds]


def test_a_verifier_may_have_a_say_in_the_tags_of_a_run() -> None:
    class Tagged(Exact):
        def tags(self) -> dict[str, str]:
            return {"sandbox_level": "namespaces"}

    assert GuardedVerifier(Tagged(), "tagged", 1.0).tags() == {"sandbox_level": "namespaces"}
    assert GuardedVerifier(Exact(), "exact", 1.0).tags() == {}


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ([], "verifier 'exact' of resetrl "),
        (["verifier=yes_no"], "verifier 'yes_no' of resetrl "),
    ],
)
def test_a_run_guards_its_verifier_and_knows_where_it_comes_from(
    overrides: list[str], name: str
) -> None:
    registry = load_plugins()
    config = to_run_config(compose([*overrides, "verifier_timeout=7"], registry))
    verifier = build_verifier(config, registry, build_task(config, registry))
    assert isinstance(verifier, GuardedVerifier)
    assert verifier.name.startswith(name) and verifier.time_limit == 7.0
