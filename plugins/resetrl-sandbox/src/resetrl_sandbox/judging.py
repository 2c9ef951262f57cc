"""Runs programs and compares their answers, in a worker process of `resetrl.worker_pool`.

What a program wrote is read here, not in the trainer: the worker has limits of time and memory of
its own, and is replaced if it dies.
"""

from __future__ import annotations

import base64
import functools
import json
import signal
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from resetrl_sandbox.comparison import same_output, same_value
from resetrl_sandbox.host import Job, Launcher, SandboxFailure

_SHOWN = 200
"""Characters of an answer or a message that a reason quotes."""

_MOST_KEPT = 256 << 20
"""Bytes of answers that are kept for all tests of a program, well below a worker's memory."""

_UNREADABLE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What reading a made-up answer may raise: a fault of the program, never of the sandbox."""

_LIMITS = {
    "cpu": ("timeout", "more than its CPU seconds"),
    "wall": ("timeout", "no end within twice its CPU seconds"),
    "program": ("timeout", "the program's seconds for all tests were spent"),
    "output": ("output_limit", "more output than allowed"),
}


def judge(task: Mapping[str, Any]) -> dict[str, Any]:
    """`{"tests": [[status, why], ...]}`, or `{"error": why}` if the sandbox itself failed.

    The task holds the program, its tests with what is expected, limits, level and packages.
    """
    tests: Sequence[Mapping[str, Any]] = task["tests"]
    inputs = [{name: test[name] for name in ("stdin", "args") if name in test} for test in tests]
    job = Job(task["program"], inputs, task["entry_point"], **task["limits"])
    packages = json.dumps(task["packages"], sort_keys=True)
    launcher = _launcher(task["level"], packages, job.memory_mb)
    try:
        # All before any is compared: the sandbox's deadline counts nothing but the sandbox.
        results = _kept(tests, launcher.run(job))
    except SandboxFailure as error:
        _forget(launcher)
        return {"error": str(error)}
    except BaseException:  # it would take the next program for the rest of this one
        _forget(launcher)
        raise
    pairs = zip(tests, results, strict=True)
    usual = task["tolerance"]
    return {"tests": [_outcome(test, res, test.get("tolerance", usual)) for test, res in pairs]}


def _kept(
    tests: Sequence[Mapping[str, Any]], results: Iterator[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Results with what their tests compare as bytes, `given`, and not the other output."""
    kept, size = [], 0
    for test, result in zip(tests, results, strict=True):
        both = result.pop("stdout", ""), result.pop("answer", "")
        result["given"] = base64.b64decode(both["stdin" not in test])
        size += len(result["given"])
        if size > _MOST_KEPT:
            result.update(limit="output", given=b"")
        kept.append(result)
    return kept


def _forget(launcher: Launcher) -> None:
    """End a launcher whose conversation is unfinished; the next program gets another."""
    _launcher.cache_clear()
    launcher.close()


@functools.cache
def _launcher(level: str, packages: str, memory_mb: int) -> Launcher:
    return Launcher(level, json.loads(packages), memory_mb)


def _outcome(
    test: Mapping[str, Any], result: Mapping[str, Any], tolerance: float
) -> tuple[str, str]:
    """The status of one test, `passed` or what went wrong, and why."""
    if result["limit"]:
        return _LIMITS[result["limit"]]
    if result["status"] != 0:
        return "crashed", _how_it_ended(result["status"], result["stderr"])
    compare = _printed if "stdin" in test else _returned
    try:
        return compare(result["given"], test["output"], tolerance)
    except _UNREADABLE:
        return "no_answer", "the program wrote what is no answer"


def _printed(given: bytes, expected: str, tolerance: float) -> tuple[str, str]:
    text = given.decode("utf-8", "replace")
    same = same_output(text, expected, tolerance)
    return ("passed", "") if same else ("wrong", f"printed {_cut(text.strip())!r}")


def _returned(given: bytes, expected: object, tolerance: float) -> tuple[str, str]:
    if not given:
        return "no_answer", "the program ended before the function returned"
    same = same_value(json.loads(given), expected, tolerance)
    shown = _cut(given.decode("utf-8", "replace"))
    return ("passed", "") if same else ("wrong", f"returned {shown}")


def _how_it_ended(status: int, errors: str) -> str:
    if status >= 0:
        lines = errors.strip().splitlines()
        return _cut(lines[-1]) if lines else f"exit status {status}"
    try:
        return f"ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"ended by signal {-status}"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
