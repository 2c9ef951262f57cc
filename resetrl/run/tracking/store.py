"""Everything that talks to MLflow, and the only module that imports it (inside its functions).

Importing MLflow takes seconds and creating a database some more, so none of this belongs on the
training thread. Whatever goes wrong on the way to a store becomes one `StoreUnavailable`.
"""

from __future__ import annotations

import gc
import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from resetrl.errors import ResetrlError
from resetrl.run.tracking.config import redacted, resolve_uri, sqlite_path
from resetrl.run.tracking.facts import MAX_TAG_LEN, cut, mlflow_name
from resetrl.run.tracking.journal import JournalRecord
from resetrl.run.tracking.spool import TrackedRun

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

KEY_TAG = "resetrl.run_key"
PARENT_TAG = "mlflow.parentRunId"
METRICS_PER_BATCH = 1000
PARAMS_PER_BATCH = 100
HTTP_PROBE_SECONDS = 5.0
SQLITE_PROBE_SECONDS = 5.0


class StoreUnavailable(ResetrlError):
    """A tracking store does not answer, or refuses; the message is the reason, on one line."""


class Store:
    """One MLflow store, and in it the run that `attach` made or found."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._client: MlflowClient | None = None
        self._run_id = ""
        self._sent: dict[str, int] = {}
        self._tags: set[str] = set()

    def connect(self) -> MlflowClient:
        """A client of a store that answers; creates a missing database."""
        with store_errors():
            _probe(self.uri)
            if self._client is None:
                from mlflow import MlflowClient

                for name in ("mlflow", "alembic", "urllib3"):
                    logging.getLogger(name).setLevel(logging.CRITICAL)
                # What was imported stays for good; looking through it again and again while a
                # store makes its many small objects costs a quarter of the time of sending.
                gc.freeze()
                self._client = MlflowClient(tracking_uri=self.uri)
        return self._client

    def experiment_id(self, name: str) -> str:
        """The id of an experiment, created unless another process was faster."""
        client = self.connect()
        with store_errors():
            from mlflow.exceptions import MlflowException

            found = client.get_experiment_by_name(name)
            if found is None:
                try:
                    return str(client.create_experiment(name, self._artifact_location()))
                except MlflowException:
                    found = client.get_experiment_by_name(name)
                    if found is None:
                        raise
            if found.lifecycle_stage != "active":
                raise StoreUnavailable(
                    f"experiment {name} was deleted there: restore it or choose another "
                    "tracking.experiment"
                )
            return str(found.experiment_id)

    def attach(self, run: TrackedRun) -> str:
        """The id of the run in this store: known, found by its key, or new; then it is running.

        What the store holds already is asked of the store, so nothing is sent twice. The run
        becomes a child of its sweep if the store has that by now.
        """
        client = self.connect()
        with store_errors():
            found = self._find(run)
            parent = self._search(run.parent, run.experiment) if run.parent else None
            if found is None:
                found = client.create_run(
                    self.experiment_id(run.experiment),
                    start_time=int(run.started * 1000),
                    tags={KEY_TAG: run.key},
                    run_name=run.name,
                )
            self._run_id = str(found.info.run_id)
            self._sent = {metric.key: metric.step for metric in found.data.to_proto().metrics}
            if found.info.status != run.status:
                client.update_run(self._run_id, status=run.status)
            parentage = {} if parent is None else {PARENT_TAG: str(parent.info.run_id)}
            self._send_facts(run, parentage, known=found.data.params)
        return self._run_id

    def send_metrics(self, records: Sequence[JournalRecord]) -> int:
        """Send what the store does not hold yet of some records; returns how many values."""
        client = self.connect()
        with store_errors():
            metrics = [metric for record in records for metric in self._unsent(record)]
            for start in range(0, len(metrics), METRICS_PER_BATCH):
                batch = metrics[start : start + METRICS_PER_BATCH]
                client.log_batch(self._run_id, metrics=batch)
        return len(metrics)

    def send_artifact(self, path: Path, is_table: bool = False) -> None:
        """Send a file, replacing an earlier version; a table is marked for MLflow's table view."""
        client = self.connect()
        with store_errors():
            client.log_artifact(self._run_id, str(path))
            if is_table:
                mark = f'[{{"path": "{path.name}", "type": "table"}}]'
                client.set_tag(self._run_id, "mlflow.loggedArtifacts", mark)

    def terminate(self, run: TrackedRun) -> None:
        """Tell the store how and when the run ended, and tags that are new since."""
        client = self.connect()
        with store_errors():
            for name in run.tags.keys() - self._tags:
                client.set_tag(self._run_id, name, run.tags[name])
            client.set_terminated(self._run_id, run.status, int(run.ended * 1000))

    def _find(self, run: TrackedRun) -> Run | None:
        from mlflow.exceptions import MlflowException

        client = self.connect()
        if run.run_id:
            try:
                return client.get_run(run.run_id)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
        found = self._search(run.key, run.experiment)
        return client.get_run(found.info.run_id) if found else None

    def _search(self, key: str, experiment: str) -> Run | None:
        found = self.connect().search_runs(
            [self.experiment_id(experiment)], f"tags.`{KEY_TAG}` = '{key}'", max_results=1
        )
        return found[0] if found else None

    def _send_facts(
        self, run: TrackedRun, parentage: Mapping[str, str], known: Mapping[str, str]
    ) -> None:
        """Send tags, and parameters that are new; MLflow takes no changed one, a tag tells it."""
        from mlflow.entities import Param, RunTag

        client = self.connect()
        changed = [f"{k}={v}" for k, v in run.params.items() if known.get(k, v) != v]
        tags = {**run.tags, **parentage}
        if changed:
            tags["resumed_with"] = cut(" ".join(changed), MAX_TAG_LEN)
        params = [Param(name, value) for name, value in run.params.items() if name not in known]
        for start in range(0, len(params), PARAMS_PER_BATCH):
            client.log_batch(self._run_id, params=params[start : start + PARAMS_PER_BATCH])
        client.log_batch(self._run_id, tags=[RunTag(name, value) for name, value in tags.items()])
        self._tags = set(tags)

    def _unsent(self, record: JournalRecord) -> Iterator[Metric]:
        from mlflow.entities import Metric

        milliseconds = int(record.time * 1000)
        for name, value in record.metrics.items():
            key = mlflow_name(name)
            if record.step > self._sent.get(key, -1):
                yield Metric(key, value, milliseconds, record.step)

    def _artifact_location(self) -> str | None:
        """Beside an sqlite database, not below whatever the current directory is."""
        database = sqlite_path(self.uri)
        return None if database is None else (database.parent / "mlartifacts").as_uri()


def prepare_store(uri: str, experiment: str) -> None:
    """Create a store and an experiment where they are missing; once, before parallel jobs.

    Raises StoreUnavailable.
    """
    Store(resolve_uri(uri, Path.cwd())).experiment_id(experiment)


def _probe(uri: str) -> None:
    """Raise OSError or sqlite3.Error at once where MLflow would try again for minutes."""
    database = sqlite_path(uri)
    if database is not None:
        database.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(database, timeout=SQLITE_PROBE_SECONDS, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        finally:
            connection.close()
    elif uri.startswith(("http://", "https://")):
        import urllib.error
        import urllib.request

        try:
            with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=HTTP_PROBE_SECONDS):
                pass
        except urllib.error.HTTPError as error:  # an answer; what it forbids is MLflow's to say
            error.close()


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn what MLflow, its database and the network raise into StoreUnavailable."""
    try:
        yield
    except (OSError, sqlite3.Error, ImportError) as error:
        raise StoreUnavailable(_reason(error)) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("mlflow", "sqlalchemy", "alembic"):
            raise
        raise StoreUnavailable(_reason(error)) from error


def _reason(error: Exception) -> str:
    inner = getattr(error, "reason", None)  # of urllib's URLError
    error = inner if isinstance(inner, OSError) else error
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    first = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    return cut(redacted(first), 200)
