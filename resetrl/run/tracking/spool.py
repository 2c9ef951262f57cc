"""What is kept in a run folder for MLflow: `tracking.json`, and the files to send as artifacts.

With the journal it is all that is needed to send a run later, from another process.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from resetrl.errors import ConfigError, ResetrlError
from resetrl.run.tracking.config import TrackingConfig, resolve_uri, sqlite_path
from resetrl.run.tracking.files import write_atomically

RUN_FILE = "tracking.json"
SWEEP_FILE = "sweep.json"
SWEEP_LOCK = "sweep.lock"
TABLE = "evaluation_rollouts.json"
CURVE = "learning_curve.png"
RESULTS = ("results.json", "results.csv")
ARTIFACTS = ("config.yaml", TABLE, CURVE, *RESULTS, SWEEP_FILE)
"""Files of a run's or sweep's folder that MLflow gets, each as often as it changes."""

RunStatus = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True)
class TrackedRun:
    """A run as MLflow is to know it; `run_id` is empty until MLflow has given one.

    `key` is ours and goes along as a tag, so that a run whose id was lost in a crash is found
    again rather than made twice; `parent` is the key of the sweep it belongs to. `started` and
    `ended` are unix seconds. `is_delivered` once the run has ended and all of it has arrived.

    Example: `TrackedRun("5f2c...", "srpo-seed0", "sqlite:////tmp/mlflow.db", "resetrl", 1.7e9)`
    """

    key: str
    name: str
    uri: str
    experiment: str
    started: float
    run_id: str = ""
    status: RunStatus = "RUNNING"
    ended: float = 0.0
    parent: str = ""
    is_delivered: bool = False
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    def at(self, uri: str, experiment: str) -> TrackedRun:
        """The same run in another store, where it has no id yet."""
        if (uri, experiment) == (self.uri, self.experiment):
            return self
        return replace(self, uri=uri, experiment=experiment, run_id="")


class RunFile:
    """The `tracking.json` of a run folder; safe to change from two threads."""

    def __init__(self, folder: Path, run: TrackedRun) -> None:
        self.folder = folder
        self._run = run
        self._lock = threading.Lock()

    @property
    def run(self) -> TrackedRun:
        return self._run

    def change(self, changed: Callable[[TrackedRun], TrackedRun]) -> None:
        """Apply a change and write it; in memory it holds even if the disk refuses."""
        with self._lock:
            self._run = changed(self._run)
            data = json.dumps(asdict(self._run), indent=1).encode()
            write_atomically(self.folder / RUN_FILE, data)


def take_up(folder: Path, name: str, config: TrackingConfig, directory: Path) -> TrackedRun:
    """The run that a folder holds, running again, or a new one.

    A relative sqlite path starts in `directory`, unless the run was begun in another directory
    whose database is still there.
    """
    uri = resolve_uri(config.uri, directory)
    try:
        before = read_run(folder)
        if _is_still_there(before.uri, config.uri):
            uri = before.uri
        before = before.at(uri, config.experiment)
    except ConfigError:
        before = TrackedRun(uuid.uuid4().hex, name, uri, config.experiment, time.time())
    return replace(before, status="RUNNING", ended=0.0, is_delivered=False)


def _is_still_there(before: str, given: str) -> bool:
    """Whether a relative sqlite path is that of a run begun in another directory."""
    database, path = sqlite_path(before), sqlite_path(given)
    if database is None or path is None or path.is_absolute():
        return False
    return database.is_file() and database.parts[-len(path.parts) :] == path.parts


def read_run(folder: Path) -> TrackedRun:
    """The tracked run of a run folder; raises ConfigError if there is none, or a damaged one."""
    path = folder / RUN_FILE
    try:
        return TrackedRun(**json.loads(path.read_bytes()))
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(f"{folder} is no run folder: it holds no {RUN_FILE}") from None
    except (ValueError, TypeError) as error:
        raise ResetrlError(
            f"{path} is damaged ({error}): delete it and resume the run, which tracks it anew"
        ) from error
