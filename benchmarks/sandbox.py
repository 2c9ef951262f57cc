"""What the sandbox costs and whether it holds under load.

`python benchmarks/sandbox.py` measures the overhead of one program (a warm launcher, an empty
test), programs/s with two workers, and rounds of 1,000 hostile and 1,000 honest programs: no
verdict may be wrong, no process left, and memory must be back where it began. A round's own
programs and verdicts make the heap as large as they need it, of which the allocators keep some for
the next: so memory has to be steady after rounds of the same size, and what of it is in use from
the first round on.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

from resetrl_sandbox.attacks import ATTACKS, Attack
from resetrl_sandbox.check import Bait
from resetrl_sandbox.host import Job, Launcher
from resetrl_sandbox.levels import MinLevel, level_at_least
from resetrl_sandbox.verifier import Code

from resetrl.testing import make_rollout
from resetrl.types import Problem, Prompt, Rollout
from resetrl.worker_pool import WorkerSettings, shared_pool

HONEST = "def f(x):\n    return {add} + x * x\n"
STUBBORN = ("timeout", "output_limit")
"""Endings that take as long as the limits allow: each such attack comes only once."""


def overhead(level: str, programs: int) -> list[float]:
    """Milliseconds of each program, from sending it to its proven result, one after another."""
    launcher = Launcher(level, {})
    job = Job("def f(x): return x", [{"args": [1]}], entry_point="f")
    times = []
    for _ in range(programs):
        started = time.perf_counter()
        list(launcher.run(job))
        times.append((time.perf_counter() - started) * 1000)
        time.sleep(0.02)  # what a run does between two programs of a worker
    launcher.close()
    return times[5:]


def rollout(number: int, program: str, test: Mapping[str, object]) -> Rollout:
    problem = Problem(f"p{number}", "?", "?", {"tests": [test], "entry_point": "f"})
    return make_rollout([f"```python\n{program}\n```"], prompt=Prompt(problem, (0,)))


def honest_one(number: int) -> Rollout:
    test = {"input": [7], "output": 49 + number, "type": "functional"}
    return rollout(number, HONEST.format(add=number), test)


def hostile_one(number: int, attack: Attack, expected: int, bait: Bait) -> Rollout:
    test: dict[str, object] = {"input": [7], "output": expected, "type": "functional"}
    if not attack.forged:
        test = {"input": json.dumps(bait.known), "output": "ESCAPED", "type": "stdin"}
    return rollout(number, attack.program, test)


def mixture(each: int, bait: Bait) -> list[tuple[Rollout, bool]]:
    """Honest and hostile programs in random order, and whether each is right."""
    rng = random.Random(0)
    quick = [attack for attack in ATTACKS if not set(attack.held) & set(STUBBORN)]
    slow = [attack for attack in ATTACKS if set(attack.held) & set(STUBBORN)]
    hostile = [*slow, *(rng.choice(quick) for _ in range(each - len(slow)))]
    both = [(honest_one(number), True) for number in range(each)]
    for number, attack in enumerate(hostile, start=each):
        both.append((hostile_one(number, attack, rng.randrange(10**9, 10**12), bait), False))
    rng.shuffle(both)
    return both


def processes_below(process: int) -> list[int]:
    """Descendants of a process, itself left out."""
    found, waiting = [], [process]
    while waiting:
        for task in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            children = [int(child) for child in task.read_text().split()]
            found += children
            waiting += children
    return found


def memory_mb(processes: list[int]) -> float:
    """Resident memory that only these processes have, in MB."""
    total = 0
    for process in processes:
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Private_Clean", "Private_Dirty")):
                total += int(line.split()[1])
    return total / 1024


class _HeapSizes(ctypes.Structure):
    """`struct mallinfo2`."""

    _fields_ = [("sizes", ctypes.c_size_t * 10)]


def in_use() -> str:
    """What of this process's memory holds something, by its two allocators."""
    mallinfo = ctypes.CDLL(None).mallinfo2  # glibc 2.33
    mallinfo.restype = _HeapSizes
    used, free = mallinfo().sizes[7:9]  # uordblks, fordblks
    return (
        f"in use {used / 2**20:.2f} MB of malloc's ({free / 2**20:.1f} free), "
        f"{sys.getallocatedblocks()} blocks of Python's"
    )


def one_round(code: Code, each: int) -> None:
    """Judge as many honest as hostile programs; print what was wrong and what memory is left."""
    with Bait() as bait:
        pairs = mixture(each, bait)
        started = time.perf_counter()
        verdicts = code.verify([rollout for rollout, _ in pairs])
        seconds = time.perf_counter() - started
        breaches = list(bait.breaches())
    judged = zip(verdicts, pairs, strict=True)
    wrong = [verdict.details for verdict, (_, right) in judged if verdict.correct != right]
    errors = [verdict.error for verdict in verdicts if verdict.error]
    print(
        f"{len(pairs)} programs in {seconds:.0f} s: {len(wrong)} wrong verdicts, "
        f"{len(errors)} errors, {len(breaches)} breaches"
    )
    for fault in [*wrong, *errors][:5]:
        print(fault)
    del pairs, verdicts, judged
    gc.collect()
    time.sleep(1)
    below = processes_below(os.getpid())
    print(
        f"  memory {memory_mb([os.getpid()]):.1f} MB, {in_use()}; {len(below)} processes below "
        f"with {memory_mb(below):.1f} MB",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=int, default=300)
    parser.add_argument("--each", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--min-level", choices=get_args(MinLevel), default="rlimits")
    options = parser.parse_args()
    level = level_at_least(options.min_level)
    print(f"level {level}, load {os.getloadavg()[0]:.1f}")

    times = overhead(level, options.programs)
    p95 = statistics.quantiles(times, n=20)[-1]
    print(f"overhead: median {statistics.median(times):.1f} ms, p95 {p95:.1f} ms")

    code = Code(time_limit=0.5, program_limit=10, min_level=options.min_level)
    honest = [honest_one(number) for number in range(options.programs)]
    code.verify(honest[:8])
    started = time.perf_counter()
    verdicts = code.verify(honest)
    seconds = time.perf_counter() - started
    assert all(verdict.correct for verdict in verdicts)
    print(f"{len(honest) / seconds:.1f} programs/s with {code.num_workers} workers")
    del honest, verdicts

    for _ in range(options.rounds):
        one_round(code, options.each)
    settings = WorkerSettings("resetrl_sandbox.judging:judge", code.program_limit + 30.0, 1024)
    shared_pool(settings, code.num_workers).close()
    time.sleep(1)
    print(f"processes after the pool was closed: {len(processes_below(os.getpid()))}")


if __name__ == "__main__":
    main()
