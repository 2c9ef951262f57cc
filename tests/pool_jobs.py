"""What the workers of tests/test_worker_pool.py run: each job says what to do."""

from __future__ import annotations

import os
import re
import signal
import time

LEARNT: list[str] = []


def learn() -> None:
    print("nor is this")
    LEARNT.append(f"in {os.getpid()}")


def sleep() -> None:
    time.sleep(0.5)


def do(job: dict[str, str]) -> str:
    what = job["do"]
    if what == "hang in C":
        re.match(r"(a+)+$", "a" * 60 + "b")  # no signal handler of Python runs before it returns
    elif what == "fill the memory":
        return "x" * 2**40
    elif what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "raise":
        raise ValueError("too odd")
    elif what == "print":
        print("lines that are no message")
        os.write(1, b"nor are these\n")
    elif what == "say who":
        return str(os.getpid())
    elif what == "say whose":
        return str(os.getppid())
    elif what == "say what was learnt":
        return ", ".join(LEARNT)
    return f"did {what}"
