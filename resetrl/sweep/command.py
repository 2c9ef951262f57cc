"""What `resetrl train -m` does with its overrides."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from resetrl.errors import ConfigError, ResetrlError
from resetrl.plugins import load_plugins
from resetrl.run.compose import sweep_with_hydra, to_run_config
from resetrl.run.job import TrainJob
from resetrl.sweep.job import JobError
from resetrl.sweep.launcher import LauncherConfig, jobs_at_a_time
from resetrl.sweep.plan import all_plugin_paths, plan_sweep, sample_configs
from resetrl.sweep.pool import visible_device, warm_up
from resetrl.sweep.record import read_sweep
from resetrl.sweep.session import failures, open_sweep


def sweep(overrides: Sequence[str], console: Console) -> None:
    """Run every cell; raises ResetrlError if one failed, after all have had their turn."""
    plan = plan_sweep(overrides)
    record = plan.record
    paths = all_plugin_paths(record.overrides)
    registry = load_plugins(paths)
    samples = sample_configs(record.overrides, registry)
    launcher = samples[0].hydra.launcher
    runs = [to_run_config(_without_hydra(sample)) for sample in samples]
    if launcher.get("_target_") == LauncherConfig._target_:
        jobs_at_a_time(launcher.n_jobs, launcher.devices, 1)
        _check_devices(launcher.devices, [run.model.device for run in runs])
        warm_up(TrainJob.preload)  # it imports while the store is prepared
    verb = "starts" if plan.is_new else "goes on"
    _say(
        console,
        f"sweep {record.name} ({' '.join(record.overrides)}) {verb}; everything it writes is in "
        f"{record.folder}",
    )
    given = [item for item in record.overrides if not item.startswith("hydra.sweep.dir=")]
    folder = f"hydra.sweep.dir={quoted(str(record.folder.absolute()))}"
    again = f"resetrl train -m sweep.resume={shlex.quote(record.name)}"
    error: JobError | None = None
    try:
        with open_sweep(record, runs[0].tracking, console):
            sweep_with_hydra([*given, folder], registry, TrainJob(tuple(paths)))
    except JobError as caught:
        error = caught
    except KeyboardInterrupt:
        _say(console, f"interrupted; {again} goes on")
        raise
    failed = failures(list(read_sweep(record.folder).cells.values()))
    if error is not None:
        raise ResetrlError(f"{failed or error}; {again} runs again what is not done")
    if failed:  # the sweeper could live with it
        _say(console, f"{failed}; {again} goes on")


def quoted(value: str) -> str:
    """A value as hydra reads it back, whatever is in it: `'multirun/it\\'s'`."""
    return "'" + value.replace("'", "\\'") + "'"


def _without_hydra(config: DictConfig) -> DictConfig:
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def _check_devices(devices: Sequence[str], models: Sequence[str]) -> None:
    """Raise ConfigError where the devices handed out are not those the runs will ask for."""
    on_gpu = [device for device in devices if visible_device(device)]
    for model in models if on_gpu else []:
        if model != "cuda":
            raise ConfigError(
                f"hydra.launcher.devices hands out {', '.join(on_gpu)} but model.device is "
                f"{model}: set model.device=cuda, which is the one a job is given"
            )


def _say(console: Console, sentence: str) -> None:
    console.print(sentence, markup=False, highlight=False, soft_wrap=True)
