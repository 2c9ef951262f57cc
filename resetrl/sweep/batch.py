"""The cells of one call of the launcher, from waiting to their outcome."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobRuntime, JobStatus
from hydra.errors import HydraException
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from resetrl.errors import ConfigError
from resetrl.sweep.job import INTERRUPTED, JobError
from resetrl.sweep.pool import Ended, JobPool
from resetrl.sweep.record import LOG_FILE, CellState, SweepRecord
from resetrl.sweep.table import SweepView

LOOK_SECONDS = 0.5
"""Between two looks at how far the jobs are; the end of one is noticed at once."""


@runtime_checkable
class ResumableTask(Protocol):
    """A task function whose results stay in their folders, and which goes on with what is there.

    `preload` are the modules that its jobs need, imported once for all of them.
    """

    preload: tuple[str, ...]

    def num_cores(self, config: DictConfig) -> int:
        """How many CPU cores a job uses."""
        ...

    def num_processes(self, config: DictConfig) -> int:
        """How many processes a job will have, each with a device of its own."""
        ...

    def config_hash(self, config: DictConfig) -> str:
        """Identifies what a job computes."""
        ...

    def result(self, config: DictConfig, folder: Path) -> float | None:
        """What the job returned if the folder holds its finished result, else None."""
        ...

    def inapplicable(self, overrides: Sequence[str], config: DictConfig) -> list[str]:
        """The overrides that mean nothing in the configuration they made, to be left out."""
        ...


class FailedJob(JobReturn):
    """A failed job's outcome: raises its error when asked for the value, and prints nothing."""

    @property
    def return_value(self) -> Any:
        raise self._return_value

    @return_value.setter
    def return_value(self, value: Any) -> None:
        self._return_value = value


class Batch:
    """Runs the cells of `numbers` in a pool and keeps the record of what becomes of them.

    Configurations are composed when a cell's turn comes, so that the first does not wait for the
    last.
    """

    def __init__(
        self,
        record: SweepRecord,
        numbers: Sequence[int],
        pool: JobPool,
        task: TaskFunction,
        context: HydraContext,
        master: DictConfig,
    ) -> None:
        from rich.console import Console

        self.record, self.numbers, self.pool = record, numbers, pool
        self.task, self.context, self.master = task, context, master
        self.view = SweepView(record, numbers, Console(highlight=False))
        self._configs: dict[int, DictConfig] = {}
        self._returns: dict[int, JobReturn] = {}
        self._firsts: dict[str, int] = {}
        self._common: tuple[bytes, ...] = ()
        self._has_explained = False

    def run(self) -> list[JobReturn]:
        """The outcome of every cell; raises KeyboardInterrupt after all jobs have been ended."""
        waiting = deque(self.numbers)
        with self.view:
            try:
                while waiting or self.pool.numbers:
                    while waiting and self.pool.has_room() and self._begin(waiting[0]):
                        waiting.popleft()
                        self.view.refresh()
                    for ended in self.pool.wait(LOOK_SECONDS):
                        self._end(ended)
                    self.view.refresh()
            finally:
                self._stop()
                self._settle_equals()
        return [self._returns[number] for number in self.numbers]

    def _begin(self, number: int) -> bool:
        """Compose a cell and start it, unless its result is there or comes from another cell.

        False if it has more processes than there is room for now.
        """
        try:
            if number not in self._configs:
                self._configs[number] = self._compose(number)
            config = self._configs[number]
            num_processes = self._num_processes(config)
        except (HydraException, OmegaConfBaseException, ConfigError) as error:
            self._fail(number, JobError(" ".join(str(error).split())))
            return True
        cell = self.record.cells[number]
        folder = self.record.folder_of(cell)
        if isinstance(self.task, ResumableTask):
            first = self._firsts.setdefault(_identity(config), number)
            if first != number:
                self.view.ended(self.record.change(number, same_as=first))
                return True
            value = self.task.result(_task_config(config), folder)
            if value is not None:
                self._returns[number] = self._return_of(number, JobStatus.COMPLETED, value)
                self.view.found(self.record.change(number, state="done", value=value))
                return True
        if not self.pool.has_room(num_processes):
            return False
        folder.mkdir(parents=True, exist_ok=True)
        self.pool.start(number, self._payload(config), folder / LOG_FILE, num_processes)
        cell = self.record.change(number, state="running", value=None, reason="")
        self.view.started(cell, OmegaConf.select(config, "steps"))
        return True

    def _num_processes(self, config: DictConfig) -> int:
        """A cell's processes; raises ConfigError if the devices will never do."""
        if not isinstance(self.task, ResumableTask):
            return 1
        num = self.task.num_processes(_task_config(config))
        if self.pool.devices and num > self.pool.num_slots:
            raise ConfigError(
                f"launch.nproc={num} needs as many device slots, and hydra.launcher has "
                f"{self.pool.num_slots}: give more devices, or lower launch.nproc"
            )
        return num

    def _end(self, ended: Ended) -> None:
        import cloudpickle

        number = ended.number
        if not ended.answer:
            self._fail(number, JobError(ended.reason), ended.seconds, ended.exit_code)
            return
        done: JobReturn = cloudpickle.loads(ended.answer)
        if done.status is not JobStatus.COMPLETED:
            self._fail(number, done._return_value, ended.seconds)
            return
        self._returns[number] = done
        value = _number(done.return_value)
        cell = self.record.change(number, state="done", value=value, seconds=ended.seconds)
        self.view.ended(cell)

    def _fail(
        self, number: int, error: Exception, seconds: float = 0.0, exit_code: int = 1
    ) -> None:
        self._returns[number] = self._return_of(number, JobStatus.FAILED, error)
        state: CellState = "interrupted" if exit_code == INTERRUPTED else "failed"
        reason = str(error) if state == "failed" else ""
        cell = self.record.change(number, state=state, reason=reason, seconds=seconds)
        self.view.ended(cell)

    def _stop(self) -> None:
        """End what still runs, which it does only after a Ctrl-C or an error of ours."""
        if not self.pool.numbers:
            return
        self.view.say(f"ending {len(self.pool.numbers)} jobs; Ctrl-C again kills them", "yellow")
        for ended in self.pool.stop():
            if ended.answer:
                self._end(ended)
            else:
                self._fail(ended.number, JobError("interrupted"), ended.seconds, INTERRUPTED)

    def _settle_equals(self) -> None:
        for number in self.numbers:
            first = self.record.cells[number].same_as
            if first is not None and first in self._returns:
                other = self.record.cells[first]
                self._returns[number] = self._returns[first]
                self.record.change(
                    number, state=other.state, value=other.value, reason=other.reason
                )

    def _compose(self, number: int) -> DictConfig:
        """The configuration of a cell, without the overrides that mean nothing in it."""
        overrides = self.record.cells[number].overrides
        config, left_out, config_hash = self._load(number, overrides), (), ""
        if isinstance(self.task, ResumableTask):
            left_out = tuple(self.task.inapplicable(overrides, _task_config(config)))
            if left_out:
                kept = [item for item in overrides if item not in left_out]
                config = self._load(number, kept)
                self._explain(number, left_out)
            config_hash = self.task.config_hash(_task_config(config))
        folder = os.path.relpath(_output_dir(config), self.record.folder)
        if isinstance(self.task, ResumableTask):
            self._check_folder(number, folder)
        self.record.change(
            number, left_out=left_out, folder=folder, config_hash=config_hash, same_as=None
        )
        return config

    def _explain(self, number: int, left_out: Sequence[str]) -> None:
        """Say once that overrides are left out."""
        if not self._has_explained:
            self.view.say(
                f"{' '.join(left_out)} means nothing in cell {number} and is left out, as in "
                "others like it; equal cells run once"
            )
        self._has_explained = True

    def _check_folder(self, number: int, folder: str) -> None:
        for other in self.record.cells.values():
            if other.folder == folder and other.number != number:
                raise ConfigError(
                    f"hydra.sweep.subdir gives cells {other.number} and {number} the same folder "
                    f"{folder}: put ${{hydra.job.num}} into it"
                )

    def _load(self, number: int, overrides: Sequence[str]) -> DictConfig:
        config = self.context.config_loader.load_sweep_config(self.master, list(overrides))
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        return config

    def _payload(self, config: DictConfig) -> tuple[bytes, ...]:
        import cloudpickle

        if not self._common:
            state = (Singleton.get_state(), self.context)
            self._common = (cloudpickle.dumps(self.task), cloudpickle.dumps(state))
        return (*self._common, cloudpickle.dumps(config))

    def _return_of(self, number: int, status: JobStatus, value: object) -> JobReturn:
        """The outcome of a cell that sent none itself."""
        cell, config = self.record.cells[number], self._configs.get(number)
        kind = JobReturn if status is JobStatus.COMPLETED else FailedJob
        return kind(
            overrides=list(cell.overrides),
            cfg=None if config is None else _task_config(config),
            hydra_cfg=None if config is None else OmegaConf.masked_copy(config, "hydra"),
            working_dir=str(self.record.folder_of(cell)),
            task_name=JobRuntime.instance().get("name"),
            status=status,
            _return_value=value,
        )


def _task_config(config: DictConfig) -> DictConfig:
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def _number(value: object) -> float | None:
    """What the table shows of a returned value; of the metrics for a search, the accuracy."""
    if isinstance(value, Mapping):
        value = value.get("eval/accuracy")
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None  # type: ignore[arg-type]


def _identity(config: DictConfig) -> str:
    resolved = OmegaConf.to_container(_task_config(config), resolve=True, enum_to_str=True)
    return json.dumps(resolved, sort_keys=True)


def _output_dir(config: DictConfig) -> Path:
    """The folder of a job, as hydra will find it."""
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(config)
    try:
        return Path(str(config.hydra.sweep.dir)).absolute() / str(config.hydra.sweep.subdir)
    finally:
        HydraConfig.instance().cfg = before
