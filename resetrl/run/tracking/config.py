"""Where runs are tracked: the option group `tracking`, and what its URI means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from resetrl.errors import ConfigError

ENVIRONMENT: Mapping[str, str] = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
"""What a launcher sets, unless it is set, before MLflow is imported: no telemetry, no printing,
and a server that died is given up soon (the sender tries again by itself)."""

SQLITE = "sqlite:///"


@dataclass
class TrackingConfig:
    """What goes to MLflow, besides the journal that every run folder holds.

    uri: an MLflow store or server; a relative sqlite path starts where the command was started.
    experiment: the MLflow experiment that collects the runs.
    enabled: whether MLflow is used at all.
    tags: tags of your own, as in `+tracking.tags.purpose=ablation`.
    """

    uri: str = "sqlite:///mlflow.db"
    experiment: str = "resetrl"
    enabled: bool = True
    tags: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_uri(self.uri)
        if not self.experiment.strip():
            raise ConfigError(
                "tracking.experiment is empty: name the MLflow experiment, for example resetrl"
            )


def check_uri(uri: str) -> None:
    """Raise ConfigError unless MLflow has a store for such a URI; folders it no longer takes."""
    if uri != "databricks" and (":" not in uri or uri.startswith("file:")):
        raise ConfigError(
            f"tracking.uri is {uri!r}: MLflow keeps runs in a database or on a server; write "
            "sqlite:///mlflow.db or http://host:5000"
        )


def resolve_uri(uri: str, directory: Path) -> str:
    """The URI with a relative sqlite path made absolute: `sqlite:////home/ada/mlflow.db`."""
    check_uri(uri)
    path = sqlite_path(uri)
    if path is None:
        return uri
    _, mark, options = uri.partition("?")
    return f"{SQLITE}{(directory / path).resolve()}{mark}{options}"


def sqlite_path(uri: str) -> Path | None:
    """The database file of an sqlite URI, None of any other."""
    if not uri.startswith(SQLITE):
        return None
    return Path(uri.removeprefix(SQLITE).partition("?")[0])


def redacted(text: str) -> str:
    """The text with the user names and passwords of its URIs struck out."""
    return re.sub(r"://[^/@\s]*@", "://***@", text)
