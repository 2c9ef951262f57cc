"""One training run in its folder: new, resumed, or as a cell of a sweep whatever it takes."""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from resetrl.errors import CheckpointError, ConfigError
from resetrl.plugins import Registry, load_plugins
from resetrl.ranks import ALONE, Ranks
from resetrl.run.checkpoint import checkpoints, latest_checkpoint
from resetrl.run.compose import config_hash, load_config, save_config, to_run_config
from resetrl.run.launch import check_manifests, check_processes, joined, run_in_processes
from resetrl.run.ledger import Ledger
from resetrl.run.names import CONFIG_FILE
from resetrl.run.overrides import plugin_paths
from resetrl.run.tracking import read_journal
from resetrl.run.tracking.journal import JOURNAL
from resetrl.run.tracking.spool import CURVE, RUN_FILE, RunFile, read_run

LOG_WIDTH = 160
"""Columns of what a cell prints, most likely into a log."""


Value = float | Mapping[str, float]
"""What a job returns: the last held-out accuracy, or the metrics that a search asks for."""


@dataclass(frozen=True)
class Surroundings:
    """What a run is given besides its configuration and folder.

    `ranks` are its processes; `sweep` is the tracking key of the sweep it is a cell of.
    """

    registry: Registry
    console: Console
    ranks: Ranks = ALONE
    sweep: str = ""


def start_run(config: DictConfig, folder: Path, given: Surroundings) -> Value:
    """A new run in its own folder; returns what its sweeper wants to know of it."""
    with _told_how_to_go_on(folder, given):
        return _in_its_processes("start", config, folder, given)


def resume_run(config: DictConfig, folder: Path, given: Surroundings) -> Value:
    """Go on with the run in a folder from its newest checkpoint."""
    with _told_how_to_go_on(folder, given):
        return _in_its_processes("resume", config, folder, given)


@contextmanager
def _told_how_to_go_on(folder: Path, given: Surroundings) -> Iterator[None]:
    """Say of an interrupted run what goes on with it, if it has come to a checkpoint."""
    try:
        yield
    except KeyboardInterrupt:
        if saved := checkpoints(folder):
            again = f"resetrl train {shlex.quote(f'resume={folder}')}"
            text = f"interrupted; {again} goes on from {saved[-1].name}"
        else:
            text = "interrupted before the first checkpoint: start it again"
        given.console.print(text, markup=False, soft_wrap=True)
        raise


def _in_its_processes(how: str, config: DictConfig, folder: Path, given: Surroundings) -> Value:
    """Run here, or in processes of its own where it wants several and has not got them."""
    run = to_run_config(config)
    if given.ranks.num > 1 or run.launch.nproc == 1:
        return _run_here(how, config, folder, given)
    from resetrl.run.build import build_learner

    check_processes(run, build_learner(run, given.registry), run.launch.nproc)
    text = OmegaConf.to_yaml(config, resolve=True)
    args = (how, text, str(folder), given.sweep, given.console.width if given.sweep else None)
    value: Value = run_in_processes(_run_as_rank, args, run.launch.nproc, given.console)
    return value


def _run_as_rank(how: str, text: str, folder: str, sweep: str, width: int | None) -> Value:
    """What each of several processes does; `text` is the resolved configuration."""
    from resetrl.cli import print_our_warnings

    print_our_warnings()
    config = OmegaConf.create(text)
    assert isinstance(config, DictConfig)
    with joined() as ranks:
        registry = load_plugins(plugin_paths(config.plugin_paths))
        check_manifests(ranks, registry)
        console = Console(highlight=False, width=width, quiet=not ranks.is_first)
        return _run_here(how, config, Path(folder), Surroundings(registry, console, ranks, sweep))


def _run_here(how: str, config: DictConfig, folder: Path, given: Surroundings) -> Value:
    """`start` a run, `resume` it, or take it as a `cell` of a sweep from where it is."""
    from resetrl.run.loop import build_trainer, run_trainer
    from resetrl.run.summary import print_summary

    checkpoint = None
    if how == "resume" or (how == "cell" and checkpoints(folder)):
        checkpoint = latest_checkpoint(folder, config_hash(config))
    what = "the model" if checkpoint is None else f"the checkpoint of step {checkpoint.step}"
    with given.console.status(f"loading {what}"):
        trainer = build_trainer(config, folder, given.registry, checkpoint, given.ranks)
    if how != "resume":
        given.ranks.on_first(lambda: save_config(config, folder, is_new=how == "start"))
    outcome = run_trainer(trainer, config, given.registry, given.console, given.sweep)
    if given.ranks.is_first:
        print_summary(outcome, given.console)
    return outcome.value


@dataclass(frozen=True)
class TrainJob:
    """`resetrl train` as hydra's task function: a cell of a sweep.

    It takes its folder as it finds it: a finished run is left alone, an interrupted one goes on
    from its checkpoint, anything else starts from the beginning. Unpickling it loads the plugins,
    so that what is unpickled after it may be of their types.
    """

    plugin_paths: tuple[str, ...] = ()
    preload: ClassVar[tuple[str, ...]] = ("resetrl.sweep.preload",)

    def __reduce__(self) -> tuple[object, ...]:
        return _with_plugins, (self.plugin_paths,)

    def __call__(self, config: DictConfig) -> Value:
        """Run the cell of this configuration; returns what the sweeper wants to know of it."""
        hydra = HydraConfig.get()
        registry = _registry(tuple(config.plugin_paths))
        folder, sweep = Path(hydra.runtime.output_dir), Path(hydra.sweep.dir)
        key = read_run(sweep).key if (sweep / RUN_FILE).exists() else ""
        return run_cell(config, folder, registry, Console(width=LOG_WIDTH), key)

    def num_cores(self, config: DictConfig) -> int:
        """The CPU threads of the learner and the policy, in each process."""
        return int(config.num_threads)

    def num_processes(self, config: DictConfig) -> int:
        """The processes of a cell."""
        return int(config.launch.nproc)

    def config_hash(self, config: DictConfig) -> str:
        """Identifies what a cell computes; how many steps it takes is not part of it."""
        return config_hash(config)

    def result(self, config: DictConfig, folder: Path) -> float | None:
        """The last held-out accuracy of a cell that is finished, else None."""
        if not (folder / CONFIG_FILE).exists() or not (folder / RUN_FILE).exists():
            return None
        is_same = config_hash(load_config(folder, [])) == config_hash(config)
        if not is_same or read_run(folder).status != "FINISHED":
            return None
        step, accuracy, ledger = _as_journaled(folder)
        return accuracy if _is_at_its_end(step, ledger, config) else None

    def inapplicable(self, overrides: Sequence[str], config: DictConfig) -> list[str]:
        """A split beside a method that resets nothing, or a selector beside a split without resets.

        So a sweep over methods and splits runs GRPO, whose split is its own, and a method that
        has a sampler instead.
        """
        resets = OmegaConf.select(config, "split.resets")
        selector = OmegaConf.select(config, "reset_selector")
        kinds: tuple[str, ...] = ()
        if OmegaConf.select(config, "sampler") is not None:
            kinds = ("split", "reset_selector")
        elif resets and selector is None:
            kinds = ("split",)
        elif not resets and selector is not None:
            kinds = ("reset_selector",)
        of_kinds = re.compile(rf"({'|'.join(kinds)})(\.|=(?!null$))") if kinds else None
        return [item for item in overrides if of_kinds is not None and of_kinds.match(item)]


def run_cell(
    config: DictConfig, folder: Path, registry: Registry, console: Console, sweep: str
) -> Value:
    """What the run in a folder comes to, which is taken as far as need be.

    Raises ConfigError if the folder holds another run.
    """
    if (folder / CONFIG_FILE).exists():
        if config_hash(load_config(folder, [])) != config_hash(config):
            raise ConfigError(
                f"{folder} holds a run of another configuration: choose another sweep.name"
            )
        if checkpoints(folder):
            checkpoint = latest_checkpoint(folder, config_hash(config))
            if _is_at_its_end(checkpoint.step, checkpoint.ledger, config):
                return _settle(folder)
    given = Surroundings(registry, console, sweep=sweep)
    return _in_its_processes("cell", config, folder, given)


def _settle(folder: Path) -> float:
    """Finish a run that was killed between its last checkpoint and its end."""
    from resetrl.run.curves import learning_curve

    run = read_run(folder)
    if run.status != "FINISHED":
        learning_curve(folder / JOURNAL, folder / CURVE, title=run.name)
        ended = (folder / JOURNAL).stat().st_mtime
        RunFile(folder, run).change(lambda run: replace(run, status="FINISHED", ended=ended))
    _, accuracy, _ = _as_journaled(folder)
    if accuracy is None:
        raise CheckpointError(
            f"{folder} has its last checkpoint but no evaluation in {JOURNAL}: delete the folder "
            "to run it again"
        )
    return accuracy


def _is_at_its_end(step: int, ledger: Ledger, config: DictConfig) -> bool:
    """Whether a run that came so far has taken its last step, or spent a budget before."""
    spent = step < config.steps and to_run_config(config).stop.reached(ledger) is not None
    return spent or step == config.steps


def _as_journaled(folder: Path) -> tuple[int, float | None, Ledger]:
    """The last evaluation in a run's journal, its step and accuracy, and what all steps cost."""
    metrics: dict[str, float] = {}
    step = 0
    for record in read_journal(folder / JOURNAL):
        metrics.update(record.metrics)
        step = record.step if "eval/accuracy" in record.metrics else step
    return step, metrics.get("eval/accuracy"), Ledger.from_metrics(metrics)


@functools.cache
def _registry(plugin_paths: tuple[str, ...]) -> Registry:
    """The plugins, loaded once in a process, so that their types stay the same."""
    return load_plugins(plugin_paths)


def _with_plugins(plugin_paths: tuple[str, ...]) -> TrainJob:
    _registry(plugin_paths)
    return TrainJob(plugin_paths)
