"""Reading runs back from MLflow, and handing a report to one; nothing is created by asking."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resetrl.errors import ConfigError
from resetrl.run.tracking.config import redacted, resolve_uri, sqlite_path
from resetrl.run.tracking.store import Store, StoreUnavailable, store_errors

if TYPE_CHECKING:
    from mlflow.entities import Run

SWEEP_TAG = "resetrl.sweep"
CONNECTIONS = 8
"""Requests under way at once: a server answers them side by side."""

History = Sequence[tuple[int, float]]
"""A metric's values as (step, value), by step."""


@dataclass(frozen=True)
class StoredRun:
    """A run as MLflow has it; `metrics` are the last values.

    Example: `StoredRun("4be1...", "srpo-seed0", "FINISHED", {"method": "srpo"}, {"seed": "0"},
    {"eval/accuracy": 0.975})`
    """

    run_id: str
    name: str
    status: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]


class RunQuery:
    """Questions to one MLflow store, which must exist: asking makes no empty database.

    Every method raises ConfigError, with the store named, where the store does not answer.
    """

    def __init__(self, uri: str) -> None:
        self.uri = resolve_uri(uri, Path.cwd())
        database = sqlite_path(self.uri)
        if database is not None and not database.is_file():
            raise ConfigError(
                f"{database} does not exist: name the store of the runs with --uri, or give run "
                "folders"
            )
        with self._named():
            self._client = Store(self.uri).connect()

    def experiments(self) -> dict[str, str]:
        """The id of each active experiment by its name."""
        with self._named(), store_errors():
            return {found.name: found.experiment_id for found in self._client.search_experiments()}

    def search(self, filters: Sequence[str], experiment: str | None) -> list[StoredRun]:
        """The runs that match all the filters, oldest first; in one experiment or in all."""
        from mlflow.exceptions import MlflowException

        experiments = self.experiments()
        if experiment is not None and experiment not in experiments:
            raise ConfigError(
                f"experiment {experiment} is not in {redacted(self.uri)}: choose "
                f"{', '.join(sorted(experiments))}"
            )
        ids = list(experiments.values()) if experiment is None else [experiments[experiment]]
        found: list[StoredRun] = []
        token: str | None = ""
        while token is not None:
            with self._named(), store_errors():
                try:
                    page = self._client.search_runs(
                        ids,
                        " and ".join(filters),
                        order_by=["attributes.start_time", "attributes.run_name"],
                        page_token=token or None,
                    )
                except MlflowException as error:
                    if error.error_code == "INVALID_PARAMETER_VALUE" and filters:
                        raise _no_filter(filters, error) from error
                    raise
            found += map(_stored, page)
            token = page.token or None
        return found

    def run(self, run_id: str) -> StoredRun | None:
        """The run of that id, None if there is none or it was deleted."""
        from mlflow.exceptions import MlflowException

        with self._named(), store_errors():
            try:
                found = self._client.get_run(run_id)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                return None
        return _stored(found) if found.info.lifecycle_stage == "active" else None

    def histories(self, run_ids: Sequence[str], metrics: Sequence[str]) -> list[dict[str, History]]:
        """Of each run the whole history of each of some metrics; an empty one where it has none."""
        pairs = [(run_id, metric) for run_id in run_ids for metric in metrics]
        with self._named(), store_errors(), ThreadPoolExecutor(CONNECTIONS) as pool:
            values = iter(list(pool.map(lambda pair: self._history(*pair), pairs)))
        return [{metric: next(values) for metric in metrics} for _ in run_ids]

    def table(self, run_id: str, name: str) -> list[dict[str, Any]]:
        """The rows of a table artifact; none if the run has no such artifact."""
        with self._named(), store_errors(), tempfile.TemporaryDirectory() as folder:
            if name not in {item.path for item in self._client.list_artifacts(run_id)}:
                return []
            path = Path(self._client.download_artifacts(run_id, name, folder))
            try:
                table = json.loads(path.read_text(encoding="utf-8"))
                return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
            except (ValueError, LookupError, TypeError) as error:
                raise ConfigError(
                    f"artifact {name} of run {run_id} is damaged ({error}): log it again with "
                    "`resetrl tracking sync`"
                ) from error

    def log_files(self, run_id: str, files: Sequence[Path], folder: str) -> None:
        """Log files as artifacts of a run, below a folder there."""
        with self._named(), store_errors():
            for file in files:
                self._client.log_artifact(run_id, str(file), folder)

    def _history(self, run_id: str, metric: str) -> History:
        points = self._client.get_metric_history(run_id, metric)
        return sorted({point.step: point.value for point in points}.items())

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except StoreUnavailable as error:
            raise ConfigError(
                f"{redacted(self.uri)} does not answer ({error}): repair or start it, name another "
                "store with --uri, or give run folders"
            ) from error


def quoted(value: str) -> str:
    """A value as MLflow's filter language takes it: `'srpo'`, `"it's"`."""
    mark = '"' if "'" in value else "'"
    if mark in value:
        raise ConfigError(f"{value} has both kinds of quotes: MLflow cannot search for it")
    return f"{mark}{value}{mark}"


def _stored(run: Run) -> StoredRun:
    data, info = run.data, run.info
    return StoredRun(
        info.run_id, info.run_name or "", info.status, data.tags, data.params, data.metrics
    )


def _no_filter(filters: Sequence[str], error: Exception) -> ConfigError:
    first = next(iter(str(error).splitlines()), "")
    return ConfigError(
        f"{' and '.join(filters)!r} is no MLflow filter ({first}): write for example "
        "--where \"tags.method = 'srpo' and params.steps = '80'\""
    )
