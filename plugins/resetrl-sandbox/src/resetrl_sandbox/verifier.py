"""The verifier `code`: the program of a completion against all tests of its problem, shut in."""

from __future__ import annotations

import importlib.util
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from resetrl.answers import fenced_program
from resetrl.types import Problem, Rollout, Verdict
from resetrl.worker_pool import Failed, WorkerPool, WorkerSettings, shared_pool
from resetrl_sandbox.formats import read_tests
from resetrl_sandbox.levels import MinLevel, SandboxError, level_at_least

Reward = Literal["graded", "all_or_nothing"]

_WORKER_MB = 1024
"""Memory of the process that compares answers; the program's own is `memory_mb`."""

_SLACK = 30.0
"""Seconds beyond a program's own, after which its worker counts as broken."""


@dataclass
class Code:
    """Right if the program between the last two lines with ``` passes all tests of its problem.

    Tests are in the problem's details (docs/verifiers.md). Each runs in a fresh process of a
    sandbox that never holds what is expected; answers are compared outside. A program that fails,
    hangs, or tries anything is wrong; only a failure of the sandbox leaves a rollout out.

    time_limit: CPU seconds for each test; twice that, and one more, on the clock.
    program_limit: seconds on the clock for all tests of a program; tests left then have failed.
    memory_mb: megabytes of address space of a program.
    output_kb: kilobytes a test may print or return.
    tolerance: by which numbers with a fraction may differ, absolute or relative.
    reward: `graded` is the share of tests passed, `all_or_nothing` 1 only if all are.
    packages: installed packages programs may import besides the standard library, as in [numpy].
    min_level: refuse to run programs where the machine allows less than this.
    num_workers: programs run at a time.
    """

    time_limit: float = 4.0
    program_limit: float = 30.0
    memory_mb: int = 512
    output_kb: int = 1024
    tolerance: float = 1e-6
    reward: Reward = "graded"
    packages: list[str] = field(default_factory=list)
    min_level: MinLevel = "namespaces"
    num_workers: int = 2

    def __post_init__(self) -> None:
        for name, least in (("time_limit", 0.1), ("program_limit", 0.1), ("memory_mb", 64)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}: choose at least {least}")
        for name in ("output_kb", "num_workers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: choose at least 1")
        if self.tolerance < 0:
            raise ValueError(f"tolerance is {self.tolerance}: choose 0 or more")

    def tags(self) -> Mapping[str, str]:
        """The sandbox level, for a run's tags; raises SandboxError below `min_level`."""
        return {"sandbox_level": level_at_least(self.min_level)}

    def example(self) -> Problem:
        """A problem as this verifier needs it, whose reference is right."""
        return Problem(
            "example",
            "Print the sum of the numbers.",
            "\n```python\nprint(sum(map(int, input().split())))\n```\n",
            {"tests": [{"input": "1 2", "output": "3", "type": "stdin"}]},
        )

    def verify(self, rollouts: Sequence[Rollout]) -> list[Verdict]:
        """One verdict a rollout.

        Raises SandboxError if the machine does not reach `min_level` or lacks a package, and
        DataError if a problem has no tests that can be used.
        """
        level = level_at_least(self.min_level)
        packages = folders_of(self.packages)
        programs = [fenced_program(rollout.completion.text) for rollout in rollouts]
        tasks = [
            self._task(rollout.prompt.problem, program, level, packages)
            for rollout, program in zip(rollouts, programs, strict=True)
        ]
        asked = [task for task in tasks if task["program"]]
        judged = iter(self._pool().map(asked))
        return [self._verdict(task, next(judged) if task["program"] else None) for task in tasks]

    def longest(self, rollouts: Sequence[Rollout]) -> float:
        """Seconds, if every program hangs."""
        return self._pool().longest(len(rollouts))

    def _pool(self) -> WorkerPool:
        settings = WorkerSettings(
            "resetrl_sandbox.judging:judge", self.program_limit + _SLACK, _WORKER_MB
        )
        return shared_pool(settings, self.num_workers)

    def _task(
        self, problem: Problem, program: str, level: str, packages: Mapping[str, str]
    ) -> dict[str, Any]:
        tests, entry_point = read_tests(problem.details, f"problem {problem.uid}")
        limits = ("time_limit", "program_limit", "memory_mb", "output_kb")
        return {
            "program": program,
            "tests": tests,
            "entry_point": entry_point,
            "limits": {name: getattr(self, name) for name in limits},
            "tolerance": self.tolerance,
            "level": level,
            "packages": packages,
        }

    def _verdict(self, task: Mapping[str, Any], judged: Any) -> Verdict:
        program, level = task["program"] or None, task["level"]
        details: dict[str, object] = {"extracted": program, "level": level}
        if judged is None:
            why = "no program between two lines with ```"
            return Verdict(0.0, False, {**details, "status": "no_answer", "why": why})
        error = judged.why if isinstance(judged, Failed) else judged.get("error")
        if error:
            why = f"the sandbox failed: {error}"
            return Verdict(0.0, False, {**details, "status": "error", "why": why}, error=why)
        statuses = [status for status, _ in judged["tests"]]
        fraction = statuses.count("passed") / len(statuses)
        first = next((f for f in enumerate(judged["tests"], 1) if f[1][0] != "passed"), None)
        details |= {
            "status": "right" if first is None else first[1][0],
            "why": "" if first is None else f"test {first[0]}: {first[1][1]}",
            "tests": statuses,
            "counts": dict(Counter(statuses)),
            "pass_fraction": fraction,
            "all_passed": first is None,
        }
        reward = fraction if self.reward == "graded" else float(first is None)
        return Verdict(reward, first is None, details)


def folders_of(packages: Sequence[str]) -> dict[str, str]:
    """Where each package is installed; raises SandboxError if one is not, or is a single file."""
    folders = {}
    for name in packages:
        spec = importlib.util.find_spec(name)
        if spec is None or not spec.submodule_search_locations:
            raise SandboxError(
                f"packages names {name!r}, which is no installed package: install it, or leave it "
                "out"
            )
        folders[name] = os.path.realpath(spec.submodule_search_locations[0])
    return folders
