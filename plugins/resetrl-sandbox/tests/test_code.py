"""The verifier `code`: verdicts on programs, and what a failure of which side comes to."""

from __future__ import annotations

from typing import Any

import pytest
from resetrl_sandbox.levels import LEVELS, SandboxError, level_at_least, reach
from resetrl_sandbox.verifier import Code

from resetrl.errors import ConfigError, DataError
from resetrl.plugins import load_plugins
from resetrl.run.build import build_component
from resetrl.testing import check_verifier, make_rollout
from resetrl.types import Problem, Prompt, Rollout, Verdict

LEVEL = reach().level
CONFINED = LEVELS.index(LEVEL) >= LEVELS.index("landlock_seccomp")

pytestmark = pytest.mark.skipif(not CONFINED, reason=f"this machine reaches only level {LEVEL}")

SUMS = [
    {"input": "1 2", "output": "3\n", "type": "stdin"},
    {"input": "-1 1", "output": "0", "type": "stdin"},
    {"input": "5", "output": "5", "type": "stdin"},
    {"input": "", "output": "0", "type": "stdin"},
]


def code(**options: Any) -> Code:
    return Code(**{"min_level": "landlock_seccomp", **options})


def rollout(program: str, *tests: dict[str, object], entry_point: str = "") -> Rollout:
    details = {"tests": list(tests), "entry_point": entry_point}
    prompt = Prompt(Problem("p", "?", "?", details), (0,))
    return make_rollout([f"Here:\n```python\n{program}\n```\nDone."], prompt=prompt)


def verdict_of(program: str, *tests: dict[str, object], entry_point: str = "") -> Verdict:
    (verdict,) = code().verify([rollout(program, *tests, entry_point=entry_point)])
    return verdict


def call(*arguments: object, gives: object) -> dict[str, object]:
    return {"input": list(arguments), "output": gives, "type": "functional"}


def test_a_program_that_passes_every_test_is_right() -> None:
    program = "print(sum(map(int, input().split())))"
    (verdict,) = code().verify([rollout(program, *SUMS[:3])])
    assert (verdict.reward, verdict.correct, verdict.error) == (1.0, True, "")
    assert verdict.details == {
        "extracted": program,
        "level": verdict.details["level"],
        "status": "right",
        "why": "",
        "tests": ["passed"] * 3,
        "counts": {"passed": 3},
        "pass_fraction": 1.0,
        "all_passed": True,
    }


@pytest.mark.parametrize(("reward", "value"), [("graded", 0.75), ("all_or_nothing", 0.0)])
def test_all_tests_run_after_one_has_failed(reward: str, value: float) -> None:
    program = "a, b = map(int, (input() + ' 0').split()[:2])\nprint(a + b if a > 0 else 7)"
    tests = [SUMS[1], *SUMS[:1], SUMS[2], SUMS[2]]
    (verdict,) = code(reward=reward).verify([rollout(program, *tests)])
    assert (verdict.reward, verdict.correct) == (value, False)
    assert verdict.details["tests"] == ["wrong", "passed", "passed", "passed"]
    assert verdict.details["pass_fraction"] == 0.75
    assert (verdict.details["status"], verdict.details["why"]) == ("wrong", "test 1: printed '7'")


def test_functions_and_methods_are_called_with_copies_of_their_arguments() -> None:
    function = "def f(xs: List[int], k):\n    xs.append(k)\n    return tuple(xs)"
    method = "class Solution:\n    def f(self, xs, k):\n        return sorted(xs + [k])"
    tests = [call([1], 2, gives=[1, 2]), call([], 0, gives=[0])]
    for program in (function, method):
        assert verdict_of(program, *tests, entry_point="f").correct


def test_one_program_may_have_tests_of_both_types() -> None:
    program = "def f(x): return x + 1\nif __name__ == '__main__': print(f(int(input())))"
    both = [{"input": "1", "output": "2", "type": "stdin"}, call(1, gives=2)]
    assert verdict_of(program, *both, entry_point="f").correct


@pytest.mark.parametrize(
    ("program", "status", "why"),
    [
        ("def f(x): return 1", "wrong", "test 1: returned 1"),
        ("def f(x): 1 / 0", "crashed", "test 1: ZeroDivisionError: division by zero"),
        ("def g(x): return 2", "crashed", "test 1: NameError: the program defines no f"),
        ("def f(x: return", "crashed", "test 1: SyntaxError: invalid syntax"),
        ("import resetrl", "crashed", "test 1: ModuleNotFoundError: No module named 'resetrl'"),
        ("def f(x): return f", "crashed", "test 1: TypeError: the answer holds function, which is"),
        ("def f(x): exit()", "no_answer", "test 1: the program ended before the function returned"),
    ],
)
def test_a_program_that_fails_is_told_why(program: str, status: str, why: str) -> None:
    verdict = verdict_of(program, call(2, gives=2), entry_point="f")
    assert (verdict.reward, verdict.correct, verdict.error) == (0.0, False, "")
    assert verdict.details["status"] == status
    assert str(verdict.details["why"]).startswith(why)


def test_time_is_a_failure_of_the_program_and_not_of_the_sandbox() -> None:
    verifier = code(time_limit=0.2, program_limit=3.0)
    spin = rollout("while True: pass", *SUMS[:1])
    late = rollout("import time\nprint(3, flush=True)\ntime.sleep(60)", *SUMS)
    first, second = verifier.verify([spin, late])
    assert (first.details["status"], first.error) == ("timeout", "")
    assert second.details["tests"] == ["timeout"] * 4
    assert (second.reward, second.error) == (0.0, "")


def test_threads_and_exit_handlers_run_to_their_end() -> None:
    program = (
        "import atexit, threading\natexit.register(print, 2)\n"
        "threading.Thread(target=print, args=(1,)).start()"
    )
    assert verdict_of(program, {"input": "", "output": "1\n2", "type": "stdin"}).correct


@pytest.mark.parametrize(
    ("program", "output"),
    [
        ("print(10**5000)", "1" + "0" * 5000),
        ("print(int(input()) % 7)", "5"),
        ("print(open(0).read()[:3])", "111"),
    ],
    ids=["printed", "read", "as a file"],
)
def test_numbers_may_have_any_length_and_input_be_read_as_a_file(program: str, output: str) -> None:
    assert verdict_of(program, {"input": "1" * 5002, "output": output, "type": "stdin"}).correct


@pytest.mark.parametrize(
    ("program", "gives"),
    [
        ("def f(): return deque([1, 2])", [1, 2]),
        ("def f(): return 10**5000", 10**5000),
        ("def f(): return str(10**5000)", "1" + "0" * 5000),
    ],
    ids=["deque", "number", "its digits"],
)
def test_a_deque_is_its_list_and_a_whole_number_has_no_limit(program: str, gives: object) -> None:
    assert verdict_of(program, call(gives=gives), entry_point="f").correct


def test_a_generator_is_no_answer_and_says_so() -> None:
    verdict = verdict_of("def f(): return (i for i in [1])", call(gives=[1]), entry_point="f")
    assert verdict.details["status"] == "crashed"
    assert str(verdict.details["why"]).startswith("test 1: TypeError: the answer holds generator")


def test_tests_of_a_program_share_no_state() -> None:
    program = "import sys\nsys.seen = getattr(sys, 'seen', 0) + 1\nprint(sys.seen)"
    test = {"input": "", "output": "1", "type": "stdin"}
    assert verdict_of(program, test, test).correct


def test_without_a_program_there_is_no_answer() -> None:
    prompt = Prompt(Problem("p", "?", "?", {"tests": SUMS}), (0,))
    (verdict,) = code().verify([make_rollout(["print(3)"], prompt=prompt)])
    assert (verdict.reward, verdict.details["status"]) == (0.0, "no_answer")
    assert verdict.details["why"] == "no program between two lines with ```"


def test_problems_without_usable_tests_stop_the_run_by_name() -> None:
    with pytest.raises(DataError, match="problem p has no test case: nothing could fail"):
        code().verify([rollout("print(1)")])


def test_a_sandbox_that_fails_leaves_the_rollout_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resetrl_sandbox.verifier.level_at_least", lambda least: "nowhere")
    (verdict,) = code().verify([rollout("print(3)", *SUMS[:1])])
    assert verdict.error.startswith("the sandbox failed: ")
    assert verdict.details["status"] == "error"


def test_too_low_a_level_is_refused_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    reasons = {"rlimits": ""}
    monkeypatch.setattr("resetrl_sandbox.levels.why_not", lambda level: reasons.get(level, "no"))
    with pytest.raises(
        SandboxError,
        match=r"reaches level rlimits on this machine, below min_level=namespaces "
        r"\(namespaces: no; .*\): allow user namespaces .* or choose min_level=rlimits if",
    ):
        Code().verify([rollout("print(3)", *SUMS[:1])])
    assert level_at_least("rlimits") == "rlimits"


def test_the_level_is_a_tag_of_the_run() -> None:
    assert code().tags() == {"sandbox_level": LEVEL}


def test_a_batch_of_programs_that_all_hang_may_take_its_time() -> None:
    rollouts = [rollout("while True: pass", *SUMS)] * 4
    assert code(program_limit=30.0, num_workers=2).longest(rollouts) == 120 + 2 * 2 * (60 + 10)


def test_named_packages_can_be_imported_and_others_cannot() -> None:
    pytest.importorskip("numpy")
    program = "import numpy.linalg\nprint(numpy.linalg.det(numpy.eye(2)))"
    one = rollout(program, {"input": "", "output": "1", "type": "stdin"})
    assert code(packages=["numpy"]).verify([one])[0].correct
    assert not code().verify([one])[0].correct
    with pytest.raises(SandboxError, match="packages names 'numpie', which is no installed"):
        code(packages=["numpie"]).verify([one])


def test_it_keeps_the_contract_of_verifiers() -> None:
    check_verifier(code())


def test_resetrl_finds_it_with_typed_options() -> None:
    registry = load_plugins()
    assert build_component(registry, "verifier", {"name": "code", "reward": "graded"}) == Code()
    for options, sentence in (
        ({"reward": "some"}, "verifier.reward is 'some': choose graded, all_or_nothing"),
        ({"time_limit": 0.0}, "time_limit is 0.0: choose at least 0.1"),
        ({"num_workers": 0}, "num_workers is 0: choose at least 1"),
        ({"tolerance": -1.0}, "tolerance is -1.0: choose 0 or more"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            build_component(registry, "verifier", {"name": "code", **options})
