"""Workers that hang, die or fill the memory are replaced, and no other job notices."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator

import pytest

from resetrl.errors import TrainingError
from resetrl.verification import TimeExpired, interrupted_after
from resetrl.worker_pool import Failed, WorkerPool, WorkerSettings, shared_pool

SETTINGS = WorkerSettings("pool_jobs:do", time_limit=0.5, memory_mb=512)


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool(SETTINGS, num_workers=2)
    yield pool
    pool.close()


def results(pool: WorkerPool, *jobs: str) -> list[object]:
    return pool.map([{"do": job} for job in jobs])


def test_results_come_in_the_order_of_the_jobs(pool: WorkerPool) -> None:
    assert results(pool, "a", "b", "c", "d") == ["did a", "did b", "did c", "did d"]
    assert results(pool) == []


def test_a_hang_in_c_code_is_ended_and_the_other_jobs_get_results(pool: WorkerPool) -> None:
    assert results(pool, "a", "hang in C", "b") == [
        "did a",
        Failed("timeout", "no result within 0.5 s"),
        "did b",
    ]


def test_a_job_that_fills_the_memory_fails_alone(pool: WorkerPool) -> None:
    assert results(pool, "fill the memory", "a") == [
        Failed("out_of_memory", "the memory limit was reached"),
        "did a",
    ]


def test_what_a_job_raises_is_its_result(pool: WorkerPool) -> None:
    assert results(pool, "raise") == [Failed("crashed", "ValueError: too odd")]


def test_a_job_whose_worker_dies_is_tried_once_more(pool: WorkerPool) -> None:
    assert results(pool, "die", "a") == [
        Failed("crashed", "the worker died twice (status -9)"),
        "did a",
    ]


def test_a_worker_killed_from_outside_costs_no_result(pool: WorkerPool) -> None:
    (process_id,) = results(pool, "say who")
    os.kill(int(str(process_id)), signal.SIGKILL)
    assert results(pool, "a", "b") == ["did a", "did b"]


def test_a_new_worker_knows_what_the_template_learnt_before() -> None:
    pool = WorkerPool(WorkerSettings("pool_jobs:do", 0.5, 512, "pool_jobs:learn"), num_workers=1)
    template, learnt = results(pool, "say whose", "say what was learnt")
    assert learnt == f"in {template}"
    before, _, after = results(pool, "say who", "hang in C", "say who")
    assert before != after
    assert results(pool, "say whose", "say what was learnt") == [template, learnt]
    pool.close()


def test_a_template_killed_from_outside_costs_no_result() -> None:
    pool = WorkerPool(SETTINGS, num_workers=1)
    (template,) = results(pool, "say whose")
    os.kill(int(str(template)), signal.SIGKILL)
    assert results(pool, "a", "die", "b") == [
        "did a",
        Failed("crashed", "the worker died twice (status -9)"),
        "did b",
    ]
    pool.close()


def test_a_pool_that_is_closed_starts_again_and_leaves_no_process() -> None:
    pool = WorkerPool(SETTINGS, num_workers=1)
    processes = results(pool, "say who", "say whose")
    pool.close()
    assert not any(is_running(int(str(process_id))) for process_id in processes)
    assert results(pool, "a") == ["did a"]
    pool.close()


def test_an_interrupted_call_leaves_the_pool_usable() -> None:
    pool = WorkerPool(WorkerSettings("pool_jobs:do", 60.0, 512, "pool_jobs:sleep"), num_workers=1)
    with pytest.raises(TimeExpired), interrupted_after(0.2):
        results(pool, "a")  # before the template is ready
    assert results(pool, "a") == ["did a"]
    with pytest.raises(TimeExpired), interrupted_after(0.2):
        results(pool, "hang in C")
    assert results(pool, "b") == ["did b"]
    pool.close()


def test_what_a_job_prints_is_not_taken_for_a_message(pool: WorkerPool) -> None:
    assert results(pool, "print", "a") == ["did print", "did a"]


def test_a_worker_that_cannot_start_is_an_error_that_says_so() -> None:
    pool = WorkerPool(WorkerSettings("pool_jobs:missing", 1.0, 512), num_workers=1)
    with pytest.raises(TrainingError, match="worker for pool_jobs:missing did not start"):
        results(pool, "a")
    pool.close()


def test_verifiers_with_equal_settings_share_their_workers() -> None:
    assert shared_pool(SETTINGS, 2) is shared_pool(WorkerSettings("pool_jobs:do", 0.5, 512), 2)
    assert shared_pool(SETTINGS, 2) is not shared_pool(SETTINGS, 1)


def test_workers_end_with_the_process_that_started_them_even_in_a_hang() -> None:
    program = textwrap.dedent(
        f"""
        import sys, threading
        sys.path[:] = {sys.path!r}
        from resetrl.worker_pool import WorkerPool, WorkerSettings
        pool = WorkerPool(WorkerSettings("pool_jobs:do", 1.0, 512), num_workers=2)
        asked = [{{"do": "say who"}}, {{"do": "say whose"}}] * 20
        print(*{{*pool.map(asked)}}, flush=True)
        pool.map([{{"do": "hang in C"}}])
        """
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    processes = [int(process_id) for process_id in parent.stdout.readline().split()]
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert len(processes) > 1
    deadline = time.monotonic() + 30
    while any(is_running(process_id) for process_id in processes):
        assert time.monotonic() < deadline, "workers outlive the process that started them"
        time.sleep(0.05)


def is_running(process_id: int) -> bool:
    """Whether a process exists and has not just ended without being waited for."""
    try:
        with open(f"/proc/{process_id}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_batch_may_take_as_long_as_its_jobs_one_after_another() -> None:
    pool = WorkerPool(WorkerSettings("operator:neg", time_limit=30.0, memory_mb=512), 2)
    assert pool.longest(1) == 120.0 + 80.0
    assert pool.longest(5) == 120.0 + 3 * 80.0
