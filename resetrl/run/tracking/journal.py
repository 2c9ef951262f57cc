"""The journal `metrics.jsonl`: a run's own account of its metrics, whatever becomes of MLflow.

One line a record, `{"step": 3, "time": 1767225600.25, "metrics": {"reward/mean": 0.5}}`, written
through at once. It is also the spool of tracking: what is sent is read from it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from resetrl.errors import ResetrlError
from resetrl.run.tracking.files import cannot_write, write_atomically

JOURNAL = "metrics.jsonl"


@dataclass(frozen=True)
class JournalRecord:
    """Metrics of one step or evaluation; `time` is in unix seconds.

    Example: `JournalRecord(3, 1767225600.25, {"reward/mean": 0.5})`.
    """

    step: int
    time: float
    metrics: Mapping[str, float]


class Journal:
    """The journal of a run that goes on after `start_step`, open for appending.

    Lines of later steps, which the run will take again, and a line torn by a kill are cut off. A
    metric that is there already for its step is not written twice. Raises ResetrlError if the
    disk refuses; what was written before stays whole.
    """

    def __init__(self, path: Path, start_step: int) -> None:
        self.path = path
        self._written: set[tuple[int, str]] = set()
        try:
            self._cut(start_step)
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise cannot_write(path, error) from error
        with contextlib.suppress(OSError):  # a lock is a sign of life for `is_being_written`
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def append(self, record: JournalRecord) -> None:
        """Write one record through to the operating system."""
        fresh = {
            name: value
            for name, value in record.metrics.items()
            if (record.step, name) not in self._written
        }
        if not fresh:
            return
        self._write(_encode(JournalRecord(record.step, record.time, fresh)))
        self._written = {key for key in self._written if key[0] >= record.step}
        self._written |= {(record.step, name) for name in fresh}

    def close(self) -> None:
        self._file.close()

    def _write(self, line: bytes) -> None:
        end = self._file.seek(0, os.SEEK_END)
        try:
            remaining = memoryview(line)
            while remaining:
                remaining = remaining[self._file.write(remaining) :]
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(end)
            raise cannot_write(self.path, error) from error

    def _cut(self, start_step: int) -> None:
        """Keep what the run will not do again: nothing of a run that starts over."""
        if not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return
        records = read_journal(self.path) if start_step else []
        kept = [record for record in records if record.step <= start_step]
        data = b"".join(map(_encode, kept))
        if data != self.path.read_bytes():
            write_atomically(self.path, data)
        self._written = {(record.step, name) for record in kept for name in record.metrics}


def read_journal(path: Path) -> list[JournalRecord]:
    """The records of a journal, oldest first, but for a last line that is still being written.

    Raises ResetrlError if there is no journal or another line is damaged.
    """
    try:
        return [record for record, _ in read_records(path, 0)]
    except FileNotFoundError:
        raise ResetrlError(f"{path} does not exist: give the folder of a run") from None


def read_records(path: Path, offset: int) -> Iterator[tuple[JournalRecord, int]]:
    """Each whole record behind a byte offset, with the offset of its end."""
    with path.open("rb") as stream:
        stream.seek(offset)
        for line in stream:
            if not line.endswith(b"\n"):
                return
            yield _decode(line, path, offset), offset + len(line)
            offset += len(line)


def is_being_written(path: Path) -> bool:
    """Whether a living process on this machine holds the journal open."""
    with path.open("rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _encode(record: JournalRecord) -> bytes:
    metrics = {
        name: value if math.isfinite(value) else str(value)  # JSON has no NaN; float() reads it
        for name, value in record.metrics.items()
    }
    row = {"step": record.step, "time": record.time, "metrics": metrics}
    return json.dumps(row, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _decode(line: bytes, path: Path, offset: int) -> JournalRecord:
    try:
        row = json.loads(line)
        metrics = {str(name): float(value) for name, value in row["metrics"].items()}
        return JournalRecord(int(row["step"]), float(row["time"]), metrics)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ResetrlError(
            f"{path} is damaged at byte {offset} ({error}): delete that line to go on without it"
        ) from error
