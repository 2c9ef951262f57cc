"""What a program writes in place of an answer costs it the test, and nobody else anything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from resetrl_sandbox import judging
from resetrl_sandbox.host import Job, Launcher
from resetrl_sandbox.inside.program import plain
from resetrl_sandbox.judging import judge
from resetrl_sandbox.levels import LEVELS, reach

LEVEL = reach().level
CONFINED = LEVELS.index(LEVEL) >= LEVELS.index("landlock_seccomp")

pytestmark = pytest.mark.skipif(not CONFINED, reason=f"this machine reaches only level {LEVEL}")

FORGED = "def f():\n    import os\n    os.write(3, b'''{}''')\n    os._exit(0)"
HONEST = "def f():\n    return {1: 1}"
DICT = {"args": [], "output": plain({1: 1})}


def task(program: str, *tests: dict[str, Any]) -> dict[str, Any]:
    return {
        "program": program,
        "tests": list(tests),
        "entry_point": "f",
        "limits": {"time_limit": 2.0},
        "tolerance": 1e-6,
        "level": LEVEL,
        "packages": {},
    }


@pytest.mark.parametrize(
    "answer",
    [
        '{"dict": [[{"complex": [1%s, 0]}, 1]]}' % ("0" * 400),
        '{"dict": [[{"complex": [1e400, {}]}, 1]]}',
        '{"dict": [[{"bytes": 3}, 1]]}',
        '{"dict": [[{"set": [1]}, 1]]}',
        '{"dict": 3}',
        '{"dict": [[' + '{"tuple": [' * 600 + "1" + "]}" * 600 + ", 1]]}",
        "[" * 3000 + "]" * 3000,
        '{"int": "0x' + "f" * 100_000 + '"}',
        "\\xff",
    ],
    ids=lambda answer: answer[:30],
)
def test_an_answer_that_cannot_be_read_fails_and_the_next_program_is_judged(answer: str) -> None:
    forged = judge(task(FORGED.format(answer), DICT))
    ((status, _),) = forged["tests"]
    assert status in ("no_answer", "wrong")
    assert judge(task(HONEST, DICT)) == {"tests": [("passed", "")]}


def test_a_conversation_that_breaks_off_costs_its_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Launcher.run

    def breaks_off(self: Launcher, job: Job) -> Iterator[dict[str, Any]]:
        yield next(run(self, job))
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(Launcher, "run", breaks_off)
        with pytest.raises(MemoryError):
            judge(task(HONEST, DICT, DICT))
    assert judge(task(HONEST, DICT)) == {"tests": [("passed", "")]}


def test_a_launcher_whose_host_has_gone_does_not_wait_for_its_program() -> None:
    launcher = Launcher(LEVEL, {})
    launcher._write(Job("import time; time.sleep(60)", [{"stdin": ""}], time_limit=60).line())
    assert launcher._process.stdin is not None
    launcher._process.stdin.close()
    launcher._process.wait(30)
    launcher.close()


def test_all_answers_of_a_program_have_a_size_to_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "_MOST_KEPT", 30)
    text = {"args": [], "output": "a" * 18}
    statuses = [
        status for status, _ in judge(task("def f(): return 'a' * 18", text, text))["tests"]
    ]
    assert statuses == ["passed", "output_limit"]


def test_the_tolerance_of_a_test_is_the_one_that_counts() -> None:
    loose = {"args": [], "output": 0.5, "tolerance": 1e-2}
    strict = {"args": [], "output": 0.5}
    outcomes = judge(task("def f(): return 0.501", loose, strict))["tests"]
    assert [status for status, _ in outcomes] == ["passed", "wrong"]
