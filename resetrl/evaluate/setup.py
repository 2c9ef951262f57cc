"""From a command line, and the run folder it may name, to the options of `eval` and `correct`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from resetrl.errors import ConfigError
from resetrl.evaluate.config import AnsweringConfig
from resetrl.evaluate.suite import suite_file
from resetrl.interfaces import Task
from resetrl.models import LoadedModel, load_model
from resetrl.plugins import Registry, load_plugins
from resetrl.run.build import InferenceConfig, check_engine
from resetrl.run.checkpoint import weights_hash
from resetrl.run.compose import (
    Primary,
    compose,
    flat_dict,
    readable_errors,
    to_typed,
)
from resetrl.run.context import RunContext
from resetrl.run.data import PromptMaker
from resetrl.run.names import CONFIG_FILE
from resetrl.run.overrides import plain_values, plugin_paths
from resetrl.run.tracking.files import write_atomically
from resetrl.run.trained import TrainedRun, open_run
from resetrl.types import Prompt

FROM_RUN = (
    "task",
    "model",
    "engine",
    "verifier",
    "verifier_timeout",
    "reset_selector",
    "sampling",
    "limits",
    "num_threads",
    "plugin_paths",
)
"""What a run's own configuration decides unless the command line does."""

CHANGES_NO_ANSWER = ("run", "out", "tracking", "k", "chunk")
"""Keys left out of the identity of a result; a run is identified by its weights."""

WHO_ANSWERS = ("run", "step", "weights", "out")
"""Keys that tell results of one question apart."""

Options = TypeVar("Options", bound=InferenceConfig)


@dataclass(frozen=True)
class Setup:
    """A command line understood: plugins, the resolved configuration, the run it is about."""

    registry: Registry
    config: DictConfig
    run: TrainedRun | None

    @property
    def identity(self) -> str:
        """A hash of what decides the answers."""
        return _identity(self.config)

    @property
    def subject(self) -> str:
        """What answers, in a few words: `srpo-seed0-step80` or the end of the model's path."""
        if self.run is not None:
            return f"{self.run.folder.name}-step{self.run.checkpoint.step}"
        return str(self.config.model.path).rstrip("/").replace(":", "/").rpartition("/")[2]

    @property
    def tags(self) -> dict[str, str]:
        """What only a result of a run has to tell: which run, and how that one was trained.

        Method, split and run seed are tagged as the run itself has them, so that results of
        several runs are compared as the runs are.
        """
        if self.run is None:
            return {}
        trained, split = self.run.config, self.run.config.get("split")
        tags = {
            "evaluated_run": self.run.folder.name,
            "evaluated_run_id": _mlflow_id(self.run.folder),
            "evaluated_step": str(self.run.checkpoint.step),
            "evaluated_weights": str(self.config.weights),
            "method": str(trained.get("method", "")),
            "split": "" if split is None else str(split.get("name", "")),
            "seed": str(trained.get("seed", "")),
        }
        return {name: value for name, value in tags.items() if value}

    def print(self, console: Console) -> None:
        """The resolved configuration as YAML."""
        console.print(OmegaConf.to_yaml(self.config), markup=False, soft_wrap=True)

    def begin(self, schema: type[Options]) -> Options:
        """The options as records, and torch with as many threads as they say."""
        import torch

        config = to_typed(self.config, schema)
        torch.set_num_threads(config.num_threads)
        return config

    def load_model(self, config: InferenceConfig) -> LoadedModel:
        """The model that answers: the run's checkpoint or the one the configuration names.

        The engine may refuse it first.
        """
        check_engine(config, self.registry)
        model = config.model
        return load_model(model) if self.run is None else self.run.load_model(model)

    def open_folder(self, root: str, what: str) -> Path:
        """The folder of this result, made if it is new, with the configuration in it.

        The same command line gives the same folder, so that a second start can go on. Raises
        ConfigError if `out` names a folder that holds anything else.
        """
        name = f"{self.subject}-{what.replace('/', '-')}-{self.identity}"
        folder = Path(self.config.out or Path(root) / name).resolve()
        file = folder / CONFIG_FILE
        if file.exists() and _read_identity(file) != self.identity:
            raise ConfigError(f"{folder} holds the result of something else: choose another out")
        text = OmegaConf.to_yaml(self.config, resolve=True)
        write_atomically(file, text.encode(), resume="out")
        return folder

    def context(self, folder: Path, console: Console) -> RunContext:
        """The run as tracking sees it: without training steps, and what is asked as parameters.

        Who answers is said by tags, so that equal questions have equal parameters.
        """
        asked = {k: v for k, v in flat_dict(self.config).items() if k not in WHO_ANSWERS}
        return RunContext(
            name=folder.name,
            folder=folder,
            config=asked,
            start_step=0,
            total_steps=0,
            plugins=self.registry.manifest(),
            console=console,
        )


def set_up(arguments: Sequence[str], primary: Primary) -> Setup:
    """Read `[RUN] key=value ...`; raises ConfigError or CheckpointError with one sentence."""
    where, overrides = _split_run(arguments)
    given = plain_values(overrides)
    if "suite" in given and "task" in given:
        raise ConfigError(
            f"suite={given['suite']} and task={given['task']} exclude each other: leave one out"
        )
    run = open_run(where, overrides) if where else None
    if run is not None:
        for key in ("model", "model.path"):
            if key in given:
                raise ConfigError(
                    f"{key}={given[key]} and run={where} both name a model: leave one out"
                )
    paths = given.get("plugin_paths", None if run is None else run.config.get("plugin_paths"))
    registry = load_plugins(plugin_paths(paths))
    suite, overrides = suite_file(given.get("suite"), overrides)
    config = compose([*_run_choices(run, given), *overrides], registry, primary)
    if suite is not None:
        config.suite = suite
    if config.get("suite") is not None:
        config.task = None
    if run is not None:
        with readable_errors(overrides, registry, primary):
            config = _with_run(config, run, given)
    to_typed(config, primary.schema)
    return Setup(registry, config, run)


def held_out_prompts(config: AnsweringConfig, task: Task, loaded: LoadedModel) -> list[Prompt]:
    """The prompts of the first held-out problems of a task, as many as are asked for.

    Raises TrainingError if one is too long for the model.
    """
    maker = PromptMaker(loaded, config.model, config.limits.record())
    problems = task.problems("eval")
    count = min(config.problems or len(problems), len(problems))
    return [maker.prompt(problems[place]) for place in range(count)]


def _split_run(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """The run, given bare or as `run=`, and the overrides."""
    named = [word for word in arguments if _is_run(word)]
    named += [word.removeprefix("run=") for word in arguments if word.startswith("run=")]
    if len(named) > 1:
        raise ConfigError(f"{named[0]} and {named[1]} are two runs: give one at a time")
    overrides = [word for word in arguments if word not in named and not word.startswith("run=")]
    return (named[0] if named else ""), overrides


def _is_run(word: str) -> bool:
    """Whether a word is no override; a folder may have a `=` in its name."""
    return ("=" not in word or Path(word).is_dir()) and word[:1] not in "+~"


def _left_to_run(given: dict[str, object]) -> list[str]:
    """The keys a run decides; its verifier belongs to its task and goes with it."""
    task_is_given = "task" in given or "suite" in given
    return [
        key
        for key in FROM_RUN
        if key not in given and not (task_is_given and key in ("task", "verifier"))
    ]


def _run_choices(run: TrainedRun | None, given: dict[str, object]) -> list[str]:
    """The components of a run as overrides, for those kinds the command line leaves open."""
    if run is None:
        return []
    kinds = [key for key in _left_to_run(given) if key in ("task", "engine", "verifier")]
    nodes = {kind: run.config.get(kind) for kind in kinds}
    return [f"{kind}={node.name}" for kind, node in nodes.items() if node is not None]


def _with_run(config: DictConfig, run: TrainedRun, given: dict[str, object]) -> DictConfig:
    """The configuration with the run's own values, and on top what the command line says."""
    kept = {}
    for key in _left_to_run(given):
        theirs, ours = run.config.get(key), config.get(key)
        same = not isinstance(ours, DictConfig) or ours.get("name") == (theirs or {}).get("name")
        if key in config and key in run.config and same:
            kept[key] = theirs
    merged = OmegaConf.merge(config, kept)
    assert isinstance(merged, DictConfig)
    for key, value in given.items():
        if key.partition(".")[0] in kept:
            OmegaConf.update(merged, key, value)
    merged.run = str(run.folder)
    merged.step = run.checkpoint.step
    merged.weights = weights_hash(run.checkpoint.folder)
    return merged


def _identity(config: DictConfig) -> str:
    kept = {k: v for k, v in flat_dict(config).items() if k not in CHANGES_NO_ANSWER}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:8]


def _read_identity(file: Path) -> str:
    try:
        stored = OmegaConf.load(file)
    except (OSError, OmegaConfBaseException, yaml.YAMLError) as error:
        raise ConfigError(f"{file} is not readable ({error}): choose another out") from error
    return _identity(stored) if isinstance(stored, DictConfig) else ""


def _mlflow_id(folder: Path) -> str:
    """The id of a run in MLflow, empty if it was never tracked there."""
    from resetrl.run.tracking.spool import RUN_FILE, read_run

    return read_run(folder).run_id if (folder / RUN_FILE).is_file() else ""
