"""What processes started by `run_in_processes` do in tests/run/test_launch.py."""

import os
import signal
import time
from pathlib import Path

from resetrl.errors import RunPruned
from resetrl.run.launch import check_manifests, joined


def report():
    """Every collective, with what each rank got from it."""
    with joined() as ranks:
        got = [
            list(ranks.share("abcde")),
            ranks.gather(ranks.rank),
            ranks.join([ranks.rank] * (ranks.rank + 1)),
            ranks.total(ranks.rank + 1),
            ranks.on_first(lambda: os.environ["RANK"]),
            pruned_everywhere(ranks),
        ]
        every = ranks.gather(got)
    return every


def pruned_everywhere(ranks):
    def prune():
        raise RunPruned("not worth it")

    try:
        ranks.on_first(prune)
    except RunPruned as error:
        return str(error)


def fail(how):
    """Rank 1 fails while rank 0 waits for it."""
    with joined() as ranks:
        if ranks.rank == 1:
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ZeroDivisionError("what nobody foresaw")
        ranks.gather(None)


def load_other_plugins():
    with joined() as ranks:
        check_manifests(ranks, Loaded(f"1.{ranks.rank}"))


class Loaded:
    """A registry with one plugin."""

    def __init__(self, version):
        self.version = version

    def manifest(self):
        return [{"plugin": "mine", "version": self.version, "sha256": "f" * 64}]


def wait(folder):
    """Say that it is there, and when it ends in order."""
    with joined() as ranks:
        Path(folder, f"there_{ranks.rank}").write_text(str(os.getpid()))
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            Path(folder, f"ended_{ranks.rank}").touch()
            raise
