"""What `resetrl train` does with its overrides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from resetrl.errors import ConfigError
from resetrl.plugins import KINDS, Registry, list_names, load_plugins
from resetrl.run.checkpoint import latest_checkpoint
from resetrl.run.compose import (
    compose,
    config_hash,
    load_config,
    method_names,
    run_with_hydra,
    save_config,
    to_run_config,
)
from resetrl.run.config import config_dir
from resetrl.run.override_files import expand
from resetrl.run.overrides import plain_values, plugin_paths
from resetrl.run.trained import find_folder


def train(overrides: Sequence[str], *, multirun: bool, cfg: bool, choices: bool) -> None:
    """Compose, then train, resume, sweep, or only print."""
    console = Console(highlight=False)
    overrides = expand(overrides)
    given = plain_values(overrides)
    resume = given.pop("resume", None)
    if resume is not None:
        if multirun:
            raise ConfigError("resume goes on with one run: leave out -m")
        kept = [item for item in overrides if not item.startswith("resume=")]
        _resume(str(resume), kept, console)
        return
    registry = load_plugins(plugin_paths(given.get("plugin_paths")))
    if choices:
        _print_choices(registry, console)
    elif cfg:
        config = compose(overrides, registry)
        to_run_config(config)
        console.print(OmegaConf.to_yaml(config), markup=False, soft_wrap=True)
    else:
        run_with_hydra(
            overrides,
            registry,
            lambda config, folder: _start(config, folder, registry, console),
            multirun=multirun,
        )


def _start(config: DictConfig, folder: Path, registry: Registry, console: Console) -> Any:
    """A new run in its own folder; returns what sweepers want to know of it."""
    from resetrl.run.loop import build_trainer, run_trainer
    from resetrl.run.summary import print_summary

    with console.status("loading the model"):
        trainer = build_trainer(config, folder, registry)
    save_config(config, folder)
    outcome = run_trainer(trainer, config, registry, console)
    print_summary(outcome, console)
    return outcome.value


def _resume(where: str, overrides: Sequence[str], console: Console) -> None:
    from resetrl.run.loop import build_trainer, run_trainer
    from resetrl.run.summary import print_summary

    folder = find_folder(where, overrides, "resume")
    config = load_config(folder, overrides)
    registry = load_plugins(plugin_paths(config.get("plugin_paths")))
    checkpoint = latest_checkpoint(folder, config_hash(config))
    with console.status(f"loading the checkpoint of step {checkpoint.step}"):
        trainer = build_trainer(config, folder, registry, checkpoint)
    outcome = run_trainer(trainer, config, registry, console)
    print_summary(outcome, console)


def _print_choices(registry: Registry, console: Console) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_row("[bold]method", ", ".join(method_names(registry)))
    models = sorted(path.stem for path in (config_dir() / "model").glob("*.yaml"))
    table.add_row("[bold]model", ", ".join(models))
    for kind in KINDS:
        table.add_row(f"[bold]{kind}", list_names(registry.names(kind)))
    console.print(table)
    console.print("Options of a component: resetrl plugins info NAME")
