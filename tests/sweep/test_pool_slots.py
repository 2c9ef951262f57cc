"""Which device slots a job of several processes takes, and when there is room for it."""

from pathlib import Path

import pytest

from resetrl.sweep.pool import JobPool


@pytest.fixture
def pool():
    pool = JobPool(3, ["cuda:0", "cuda:1", "cuda:2"])
    yield pool
    pool.stop()


def start(pool: JobPool, number: int, num_processes: int, folder: Path) -> None:
    """A job that cannot be unpickled, so that it ends at once."""
    pool.start(number, [b"", b"", b""], folder / f"{number}.log", num_processes)


def test_a_job_takes_a_slot_for_each_of_its_processes(pool: JobPool, tmp_path: Path) -> None:
    start(pool, 0, 2, tmp_path)
    assert pool.has_room(1) and not pool.has_room(2)
    start(pool, 1, 1, tmp_path)
    assert not pool.has_room(1)
    assert [job.slots for job in pool._running] == [[0, 1], [2]]
    while pool.numbers:
        pool.wait(30)
    assert pool.has_room(3) and not pool.has_room(4)


def test_one_job_alone_may_have_more_processes_than_there_are_cores() -> None:
    assert JobPool(2).has_room(4) and not JobPool(2, ["cuda:0", "cuda:1"]).has_room(4)
