"""A run as it lies on disk, for what is done with it afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from resetrl.errors import CheckpointError
from resetrl.models import LoadedModel, ModelConfig, load_model
from resetrl.run.checkpoint import Checkpoint, latest_checkpoint
from resetrl.run.compose import config_hash, load_config, to_run_config
from resetrl.run.overrides import plain_values


@dataclass(frozen=True)
class TrainedRun:
    """A run folder with its configuration and its newest checkpoint, verified."""

    folder: Path
    config: DictConfig
    checkpoint: Checkpoint

    def load_model(self, config: ModelConfig | None = None) -> LoadedModel:
        """The model as the checkpoint has it, with the tokenizer it was trained with.

        `config` stands in for the run's own, where the model is to live on another device.
        """
        model = config or to_run_config(self.config).model
        return load_model(model, weights=self.checkpoint.folder)


def open_run(where: str, overrides: Sequence[str] = ()) -> TrainedRun:
    """The run of that folder or MLflow run id.

    Raises CheckpointError if there is none, or none with a checkpoint that can be read.
    """
    folder = find_folder(where, overrides, "run")
    config = load_config(folder, [])
    return TrainedRun(folder, config, latest_checkpoint(folder, config_hash(config)))


def find_folder(where: str, overrides: Sequence[str], key: str) -> Path:
    """The run folder that `key=where` names, by path or by MLflow run id.

    An id is looked up in the store that the override `tracking.uri` names, or in the default one.
    """
    if Path(where).is_dir():
        return Path(where).resolve()
    if len(where) == 32 and all(letter in "0123456789abcdef" for letter in where):
        from resetrl.run.tracking import TrackingConfig, find_run_folder

        uri = plain_values(overrides).get("tracking.uri", TrackingConfig().uri)
        return find_run_folder(where, str(uri))
    raise CheckpointError(
        f"{key}={where}: there is no such folder, and it is no MLflow run id (32 hexadecimal "
        "digits); give a run folder such as runs/2026-01-31_12-00-00-srpo-seed0"
    )
