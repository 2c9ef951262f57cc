"""What `resetrl train` does with its overrides."""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from resetrl.errors import ConfigError
from resetrl.plugins import KINDS, Registry, list_names, load_plugins
from resetrl.run.compose import (
    compose,
    load_config,
    method_names,
    run_folder,
    run_with_hydra,
    to_run_config,
)
from resetrl.run.config import config_dir
from resetrl.run.job import Surroundings, resume_run, start_run
from resetrl.run.launch import check_manifests, joined, num_started
from resetrl.run.override_files import expand
from resetrl.run.overrides import plain_values, plugin_paths
from resetrl.run.trained import find_folder


def train(overrides: Sequence[str], *, multirun: bool, cfg: bool, choices: bool) -> None:
    """Compose, then train, resume, sweep, or only print."""
    console = Console(highlight=False)
    overrides = expand(overrides)
    # Taken as it stands, because a folder may have any name: hydra's grammar is for values.
    resume = next((o.partition("=")[2] for o in overrides if o.startswith("resume=")), None)
    overrides = [item for item in overrides if not item.startswith("resume=")]
    given = plain_values(overrides)
    if multirun and cfg:
        raise ConfigError("--cfg prints one configuration: leave out -m and give one value a key")
    if multirun and not choices:
        from resetrl.sweep.command import sweep

        if num_started() > 1:
            raise ConfigError(
                "a sweep starts the processes of its cells itself: leave torchrun out and give "
                "launch.nproc"
            )
        if resume is not None:
            raise ConfigError("resume= goes on with one run: for a sweep write sweep.resume=")
        sweep(overrides, console)
        return
    if resume is not None:
        _resume(resume, overrides, console)
        return
    for key in given:
        if key.startswith("sweep."):
            raise ConfigError(f"{key}= is for sweeps: add -m")
    registry = load_plugins(plugin_paths(given.get("plugin_paths")))
    if choices:
        _print_choices(registry, console)
    elif cfg:
        config = compose(overrides, registry)
        to_run_config(config)
        console.print(OmegaConf.to_yaml(config), markup=False, soft_wrap=True)
    else:
        _start(overrides, registry, console)


def _start(overrides: Sequence[str], registry: Registry, console: Console) -> None:
    with joined() as ranks:
        if ranks.num > 1:
            check_manifests(ranks, registry)
            # One folder for all, because its name may hold the time.
            folder = ranks.on_first(lambda: run_folder(overrides, registry))
            overrides = [*overrides, f"hydra.run.dir='{folder}'"]
            console.quiet = not ranks.is_first
        given = Surroundings(registry, console, ranks)
        run_with_hydra(overrides, registry, lambda config, folder: start_run(config, folder, given))


def _resume(where: str, overrides: Sequence[str], console: Console) -> None:
    folder = find_folder(where, overrides)
    config = load_config(folder, overrides)
    registry = load_plugins(plugin_paths(config.get("plugin_paths")))
    with joined() as ranks:
        check_manifests(ranks, registry)
        console.quiet = not ranks.is_first
        resume_run(config, folder, Surroundings(registry, console, ranks))


def _print_choices(registry: Registry, console: Console) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_row("[bold]method", ", ".join(method_names(registry)))
    for group in ("experiment", "model"):
        names = sorted(path.stem for path in (config_dir() / group).glob("*.yaml"))
        table.add_row(f"[bold]{group}", ", ".join(names))
    for kind in KINDS:
        table.add_row(f"[bold]{kind}", list_names(registry.names(kind)))
    console.print(table)
    console.print("Options of a component: resetrl plugins info NAME")
