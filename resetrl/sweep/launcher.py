"""hydra's launcher of ours: every job in its own process, n at a time, none stopping the others.

It runs the jobs of any hydra application. If the task function is a `ResumableTask`, a job whose
result is there already is not started, and equal configurations run once.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hydra.core.utils import JobReturn, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from resetrl.errors import ConfigError
from resetrl.run.tracking.spool import SWEEP_FILE
from resetrl.sweep.batch import Batch, ResumableTask
from resetrl.sweep.pool import JobPool, visible_device, warm_up
from resetrl.sweep.record import Cell, SweepRecord, read_sweep


@dataclass
class LauncherConfig:
    """The options of `hydra/launcher=resetrl`.

    n_jobs: jobs at a time, or processes where jobs have several (`launch.nproc`); null for one a
        device, or without devices as many as the cores allow.
    devices: handed out one a process, as in `[cuda:0,cuda:1]`; a job sees its own only, as `cuda`.
    """

    _target_: str = "hydra_plugins.resetrl_launcher.ResetrlLauncher"
    n_jobs: int | None = None
    devices: list[str] = field(default_factory=list)


class ProcessLauncher(Launcher):
    """The launcher; hydra finds it in `hydra_plugins.resetrl_launcher`."""

    def __init__(self, n_jobs: int | None, devices: Sequence[str]) -> None:
        self.n_jobs, self.devices = n_jobs, list(devices)

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take the parts of the sweep; raises ConfigError for an option out of range."""
        self.hydra_context, self.task_function = hydra_context, task_function
        self.config = config
        num_cores, preload = 1, ()
        if isinstance(task_function, ResumableTask):
            num_cores, preload = task_function.num_cores(config), task_function.preload
        self.n_jobs = jobs_at_a_time(self.n_jobs, self.devices, num_cores)
        warm_up(preload)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> list[JobReturn]:
        """Run a batch of jobs and return the outcome of each, also of those that failed."""
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        folder = Path(str(self.config.hydra.sweep.dir)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        is_known = (folder / SWEEP_FILE).exists()
        record = read_sweep(folder) if is_known else SweepRecord(folder, folder.name)
        cells = [
            Cell(number, tuple(overrides))
            for number, overrides in enumerate(job_overrides, start=initial_job_idx)
        ]
        record.add(cells)
        assert self.n_jobs is not None, "setup was not called"
        pool = JobPool(self.n_jobs, self.devices)
        numbers = [cell.number for cell in cells]
        return Batch(
            record, numbers, pool, self.task_function, self.hydra_context, self.config
        ).run()


def jobs_at_a_time(n_jobs: int | None, devices: Sequence[str], cores_per_job: int) -> int:
    """How many jobs run side by side; raises ConfigError for an option out of range."""
    if n_jobs is not None and n_jobs < 1:
        raise ConfigError(f"hydra.launcher.n_jobs is {n_jobs}: choose at least 1")
    for device in devices:
        visible_device(device)
    if n_jobs is not None:
        return n_jobs
    if devices:
        return len(devices)
    affinity = getattr(os, "sched_getaffinity", None)  # which macOS has not
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(cores // cores_per_job, 1)
