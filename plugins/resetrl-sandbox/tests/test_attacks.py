"""Every attack is held, and what none of them may touch is as it was."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from resetrl_sandbox.attacks import ATTACKS, Attack
from resetrl_sandbox.check import Result, run_attacks
from resetrl_sandbox.levels import LEVELS, reach

LEVEL = reach().level
CONFINED = LEVELS.index(LEVEL) >= LEVELS.index("landlock_seccomp")

pytestmark = pytest.mark.skipif(not CONFINED, reason=f"this machine reaches only level {LEVEL}")


@pytest.fixture(scope="module")
def results() -> Mapping[str, Result]:
    return {result.attack.name: result for result in run_attacks(LEVEL)}


@pytest.mark.parametrize("name", [attack.name for attack in ATTACKS])
def test_the_attack_is_held(name: str, results: Mapping[str, Result]) -> None:
    assert results[name].breach == "", results[name].happened


def test_at_least_ten_attacks_forge_a_result() -> None:
    assert sum(attack.forged for attack in ATTACKS) >= 10


def test_an_attack_that_works_is_noticed() -> None:
    won = Attack("print", "print('ESCAPED')")
    slow = Attack("slow", "while True: pass", held=("wrong",))
    reports = [result.breach for result in run_attacks(LEVEL, [won, slow])]
    assert reports == ["it reached its aim", "it should have ended as wrong"]
