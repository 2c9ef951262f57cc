"""A run as it lies on disk, for what is done with it afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from resetrl.models import LoadedModel, ModelConfig, load_model
from resetrl.run.checkpoint import Checkpoint, latest_checkpoint
from resetrl.run.compose import config_hash, load_config, to_run_config
from resetrl.run.names import find_run
from resetrl.run.overrides import plain_values
from resetrl.run.tracking.config import TrackingConfig


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
    """The run of that folder, MLflow run id or name.

    Raises ConfigError if there is none, CheckpointError if it has no checkpoint that can be read.
    """
    folder = find_folder(where, overrides)
    config = load_config(folder, [])
    return TrainedRun(folder, config, latest_checkpoint(folder, config_hash(config)))


def find_folder(where: str, overrides: Sequence[str]) -> Path:
    """The folder of a run by whatever name, which the store of `tracking.uri` may know.

    Raises ConfigError if there is none, or more than one.
    """
    uri = plain_values(overrides).get("tracking.uri", TrackingConfig.uri)
    return find_run(where, str(uri)).resolve()
