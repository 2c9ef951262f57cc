"""Sending a run to MLflow: from its folder, off the training thread, or afterwards."""

from __future__ import annotations

import contextlib
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from resetrl.errors import ResetrlError
from resetrl.run.tracking.config import resolve_uri
from resetrl.run.tracking.files import write_atomically
from resetrl.run.tracking.journal import JOURNAL, is_being_written, read_records
from resetrl.run.tracking.spool import (
    ARTIFACTS,
    RUN_FILE,
    SWEEP_FILE,
    SWEEP_LOCK,
    TABLE,
    RunFile,
    read_run,
)
from resetrl.run.tracking.store import Store, StoreUnavailable

RECORDS_PER_READ = 200
ERROR_FILE = "tracking_error.txt"


class Delivery:
    """Brings what a run folder holds into an MLflow store; whatever fails is taken up again.

    The journal is read from where the last success ended, so nothing waits in memory.
    """

    def __init__(self, run_file: RunFile) -> None:
        self.run_file = run_file
        self.folder = run_file.folder
        self.num_sent = 0
        self.connected = threading.Event()
        self._store: Store | None = None
        self._offset = 0
        self._artifacts: dict[str, tuple[int, int]] = {}

    def deliver(self) -> None:
        """Send everything new; raises StoreUnavailable, and then knows not what has arrived."""
        try:
            store = self._store or self._attach()
            self._send_journal(store)
            run = self.run_file.run
            if run.status != "RUNNING":
                store.terminate(run)
            self._send_artifacts(store)
            if run.status != "RUNNING":
                self.run_file.change(lambda run: replace(run, is_delivered=True))
        except StoreUnavailable:
            self._store, self._offset = None, 0
            raise

    def _attach(self) -> Store:
        store = Store(self.run_file.run.uri)
        store.connect()
        run_id = store.attach(self.run_file.run)
        if run_id != self.run_file.run.run_id:
            self.run_file.change(lambda run: replace(run, run_id=run_id))
        self._store = store
        self.connected.set()
        return store

    def _send_journal(self, store: Store) -> None:
        path = self.folder / JOURNAL
        while path.exists():
            read = list(islice(read_records(path, self._offset), RECORDS_PER_READ))
            if not read:
                return
            self.num_sent += store.send_metrics([record for record, _ in read])
            self._offset = read[-1][1]

    def _send_artifacts(self, store: Store) -> None:
        for name in ARTIFACTS:
            path = self.folder / name
            if not path.exists():
                continue
            status = path.stat()
            version = (status.st_mtime_ns, status.st_size)
            if self._artifacts.get(name) != version:
                store.send_artifact(path, is_table=name == TABLE)
                self._artifacts[name] = version


class Sender:
    """The thread that delivers, every `interval` seconds and a last time at the end.

    It never raises and never keeps the process alive. The second failure in a row is told once,
    through `warn`; it goes on trying, ever less often.
    """

    def __init__(
        self, delivery: Delivery, warn: Callable[[str], None], interval: float = 5.0
    ) -> None:
        self.problem = ""
        self.complete = False
        self._delivery = delivery
        self._warn = warn
        self._interval = interval
        self._busy_since = 0.0
        self._warned = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="resetrl-tracking", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def finish(self, seconds: float, start_up_seconds: float = 0.0) -> None:
        """Have the rest delivered, and wait so long for it.

        Up to `start_up_seconds` more are granted until MLflow is imported and its store created.
        """
        self._stop.set()
        deadline = time.monotonic() + start_up_seconds
        while (
            self._thread.is_alive()
            and not self._delivery.connected.is_set()
            and not self.problem
            and time.monotonic() < deadline
        ):
            self._thread.join(0.05)
        self._thread.join(seconds)
        if not self.complete:
            self.tell(self.problem or f"no answer within {seconds:g} s")

    def check(self, patience: float = 60.0) -> None:
        """Tell of a delivery that has been hanging for so many seconds."""
        busy = self._busy_since
        if busy and time.monotonic() - busy > patience:
            self.tell(f"no answer for {patience:g} s")

    def tell(self, problem: str) -> None:
        """Keep the problem, and warn unless there was a warning before."""
        self.problem = problem
        if not self._warned:
            self._warned = True
            self._warn(problem)

    def _run(self) -> None:
        try:
            self._deliver_until_stopped()
        except Exception as error:  # the last place where a mistake of ours can be seen
            report = "".join(traceback.format_exception(error))
            file = self._delivery.folder / ERROR_FILE
            with contextlib.suppress(ResetrlError):
                write_atomically(file, report.encode())
            self.tell(f"{type(error).__name__}: {error}; see {file}")

    def _deliver_until_stopped(self) -> None:
        failures = 0
        while True:
            last = self._stop.is_set()
            self._busy_since = time.monotonic()
            try:
                self._delivery.deliver()
            except StoreUnavailable as error:
                failures += 1
                self.problem = str(error)
                if failures > 1:
                    self.tell(self.problem)
            else:
                failures, self.problem = 0, ""
            self._busy_since = 0.0
            if last and failures != 1:
                self.complete = not failures
                return
            if last:
                time.sleep(0.5)
            else:
                self._stop.wait(min(2.0**failures, 60.0) if failures else self._interval)


@dataclass(frozen=True)
class SyncReport:
    """What `sync` did: `SyncReport(folder, "4be1...", "http://host:5000", 120, "FINISHED")`."""

    folder: Path
    run_id: str
    uri: str
    num_metrics: int
    status: str


def sync(folder: Path, uri: str | None = None) -> SyncReport:
    """Send what a run's or sweep's own folder holds and its store (or another, at `uri`) does not.

    Sending again sends nothing new. A run whose process died is marked KILLED. Raises
    ConfigError if the folder is no run's, ResetrlError if the store does not answer.
    """
    run = read_run(folder)
    if uri is not None:
        run = run.at(resolve_uri(uri, Path.cwd()), run.experiment)
    is_sweep = (folder / SWEEP_FILE).exists()
    held = folder / (SWEEP_LOCK if is_sweep else JOURNAL)
    if run.status == "RUNNING" and not (held.exists() and is_being_written(held)):
        ended = held.stat().st_mtime if held.exists() else run.started
        run = replace(run, status="KILLED", ended=ended)
    delivery = Delivery(RunFile(folder, run))
    try:
        delivery.deliver()
    except StoreUnavailable as error:
        raise ResetrlError(
            f"{folder} cannot be sent to {run.uri} ({error}): start that server, or name another "
            "store with --uri; nothing is lost"
        ) from error
    delivery.run_file.change(lambda run: run)
    sent = delivery.run_file.run
    return SyncReport(folder, sent.run_id, sent.uri, delivery.num_sent, sent.status)


def sync_sweep(folder: Path, uri: str | None = None) -> Iterator[SyncReport]:
    """Send a sweep and then the runs below it, which become its children there; as `sync` does.

    A run that is damaged does not keep back the others and is raised at the end; a store that
    does not answer ends it at once.
    """
    failures: list[ResetrlError] = []
    for each in (folder, *runs_below(folder)):
        try:
            yield sync(each, uri)
        except ResetrlError as error:
            if isinstance(error.__cause__, StoreUnavailable):
                raise
            failures.append(error)
    if failures:
        more = f" (and {len(failures) - 1} more could not be sent)" if failures[1:] else ""
        raise ResetrlError(f"{failures[0]}{more}")


def runs_below(sweep: Path) -> list[Path]:
    """The folders of a sweep's runs, as far as they were tracked."""
    return sorted(file.parent for file in sweep.rglob(RUN_FILE) if file.parent != sweep)
