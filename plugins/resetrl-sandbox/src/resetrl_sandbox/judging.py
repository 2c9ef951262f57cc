"""Runs programs and compares their answers, in a worker process of `resetrl.worker_pool`.

What a program wrote is read here, not in the trainer: the worker has limits of time and memory of
its own, and is replaced if it dies.
"""

from __future__ import annotations

import base64
import functools
import json
import signal
from collections.abc import Mapping, Sequence
from typing import Any

from resetrl_sandbox.comparison import same_output, same_value
from resetrl_sandbox.host import Job, Launcher, SandboxFailure

_SHOWN = 200
"""Characters of an answer or a message that a reason quotes."""

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
    launcher = _launcher(task["level"], json.dumps(task["packages"], sort_keys=True))
    tests: Sequence[Mapping[str, Any]] = task["tests"]
    inputs = [{name: test[name] for name in ("stdin", "args") if name in test} for test in tests]
    job = Job(task["program"], inputs, task["entry_point"], **task["limits"])
    try:
        outcomes = [
            _outcome(test, result, task["tolerance"])
            for test, result in zip(tests, launcher.run(job), strict=True)
        ]
    except SandboxFailure as error:
        launcher.close()
        _launcher.cache_clear()
        return {"error": str(error)}
    return {"tests": outcomes}


@functools.cache
def _launcher(level: str, packages: str) -> Launcher:
    return Launcher(level, json.loads(packages))


def _outcome(
    test: Mapping[str, Any], result: Mapping[str, Any], tolerance: float
) -> tuple[str, str]:
    """The status of one test, `passed` or what went wrong, and why."""
    if result["limit"]:
        return _LIMITS[result["limit"]]
    if result["status"] != 0:
        return "crashed", _how_it_ended(result["status"], result["stderr"])
    if "stdin" in test:
        given = base64.b64decode(result["stdout"]).decode("utf-8", "replace")
        same = same_output(given, test["output"], tolerance)
        return ("passed", "") if same else ("wrong", f"printed {_cut(given.strip())!r}")
    return _returned(base64.b64decode(result["answer"]), test["output"], tolerance)


def _returned(answer: bytes, expected: object, tolerance: float) -> tuple[str, str]:
    if not answer:
        return "no_answer", "the program ended before the function returned"
    try:
        same = same_value(json.loads(answer), expected, tolerance)
    except (ValueError, TypeError, KeyError, RecursionError):
        return "no_answer", "the program wrote what is no answer"
    shown = _cut(answer.decode("utf-8", "replace"))
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
