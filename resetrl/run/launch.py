"""The processes of a run: checked before anything loads, started here or found started.

`launch.nproc=2` starts them on this machine; torchrun, the deepspeed launcher and what builds on
them (SLURM, several machines) start them elsewhere and say so in the environment.
"""

from __future__ import annotations

import atexit
import difflib
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console

from resetrl.errors import ConfigError, PluginError, ResetrlError
from resetrl.interfaces import Distributed, LearnerSpec
from resetrl.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from resetrl.plugins import Registry
    from resetrl.run.config import RunConfig

ENVIRONMENT = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What a launcher of processes sets in each of them."""

INTERRUPTED = 130
"""The exit status of an interrupted process, as a shell has it."""

END_SECONDS = 10.0
"""How long ranks may take to end by themselves when another has failed; killed after twice that."""

WAIT = timedelta(hours=4)
"""How long a rank waits for the others: rollouts may be uneven, and a dead rank shows at once."""


def num_started() -> int:
    """The processes that a launcher has started for this run; 1 without a launcher."""
    return int(os.environ["WORLD_SIZE"]) if os.environ.keys() >= set(ENVIRONMENT) else 1


def check_processes(config: RunConfig, learner: LearnerSpec, num: int) -> None:
    """Raise ConfigError if a run cannot have so many processes; nothing is loaded for it."""
    from resetrl.run.build import component_options

    if isinstance(learner, Distributed):
        learner.check_installed()
    elif num > 1:
        name = component_options(config.learner)["name"]
        raise ConfigError(
            f"learner={name} trains in one process, but the run has {num}: choose "
            "learner=deepspeed, or launch.nproc=1"
        )
    if num_started() > 1 and config.launch.nproc not in (1, _num_local()):
        raise ConfigError(
            f"launch.nproc={config.launch.nproc}, but {_num_local()} processes were started on "
            "this machine by its launcher: leave launch.nproc out"
        )
    if config.prompts_per_step % num:
        raise ConfigError(
            f"prompts_per_step={config.prompts_per_step} cannot be shared by {num} processes: "
            f"choose a multiple of {num}, or another launch.nproc"
        )
    if num > 1 and config.model.device.startswith("cuda:"):
        raise ConfigError(
            f"model.device={config.model.device} is one GPU, but the run has {num} processes: "
            "give model.device=cuda, and each takes its own"
        )
    if num > 1 and config.model.device == "cuda":
        _check_gpus(config.launch.nproc if num_started() == 1 else _num_local())


def _num_local() -> int:
    return int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))


def _check_gpus(num: int) -> None:
    import torch

    there = torch.cuda.device_count()
    if there < num:
        raise ConfigError(
            f"{num} processes need a GPU each, but this machine shows {there}: lower launch.nproc, "
            "or give model.device=cpu"
        )


@contextmanager
def joined() -> Iterator[Ranks]:
    """The ranks of a run whose processes have been started; within it they can talk.

    Objects go through gloo, and tensors of GPUs through NCCL.
    """
    num = num_started()
    if num == 1:
        yield ALONE
        return
    import torch

    _interrupt_once()
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    torch.distributed.init_process_group(backend, timeout=WAIT)
    local = int(os.environ.get("LOCAL_RANK", 0))
    os.environ["LOCAL_RANK"] = str(local)  # DeepSpeed insists on it
    if torch.cuda.is_available():
        torch.cuda.set_device(local % torch.cuda.device_count())
    yield Ranks(torch.distributed.get_rank(), num, local)
    torch.distributed.destroy_process_group()


def check_manifests(ranks: Ranks, registry: Registry) -> None:
    """Raise PluginError if the ranks have loaded different plugins, with the difference."""
    mine = [
        f"{plugin['plugin']} {plugin['version']} {plugin['sha256'][:16]}"
        for plugin in registry.manifest()
    ]
    manifests = ranks.gather((socket.gethostname(), mine))
    first_host, first = manifests[0]
    for rank, (host, other) in enumerate(manifests):
        changed = [line for line in difflib.ndiff(first, other) if line.startswith(("- ", "+ "))]
        if changed:
            raise PluginError(
                f"rank {rank} on {host} has loaded other plugins than rank 0 on {first_host} (-): "
                f"{'; '.join(changed)}. Install the same versions on both"
            )


@dataclass(frozen=True)
class Report:
    """What a rank that failed left behind; `is_ours` if its message is a sentence for the user."""

    rank: int
    at: float
    message: str
    is_ours: bool
    traceback: str


def run_in_processes(
    task: Callable[..., Any], args: Sequence[object], nproc: int, console: Console
) -> Any:
    """What rank 0 returns from `task(*args)`, called in that many new processes of this machine.

    A rank that fails ends the others within 30 seconds. Its error is raised here, after the
    traceback of one that nobody foresaw has been printed. Ctrl-C and SIGTERM end all in order.
    """
    from torch.multiprocessing.spawn import ProcessExitedException, start_processes

    with TemporaryDirectory(prefix="resetrl-ranks-") as folder:
        environment = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
        with without_script():
            context = start_processes(
                _rank_main,
                (task, tuple(args), nproc, environment, folder),
                nprocs=nproc,
                join=False,
                start_method="spawn",
            )
        try:
            with _terminated_as_interrupted():
                while not context.join(grace_period=END_SECONDS):
                    pass
        except ProcessExitedException as ended:
            raise _failure(Path(folder), ended, console) from None
        except BaseException:
            _end_all(context)
            raise
        return json.loads(Path(folder, "value").read_text(encoding="utf-8"))


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Within it SIGTERM is to this process what Ctrl-C is; only a main thread can say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def without_script() -> Iterator[None]:
    """Keep multiprocessing from running the script of this process again in a new one."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _rank_main(
    index: int,
    task: Callable[..., Any],
    args: Sequence[object],
    nproc: int,
    environment: Mapping[str, str],
    folder: str,
) -> None:
    """One rank from its start to its end; its answer or its failure goes into the folder."""
    numbers = {"RANK": index, "LOCAL_RANK": index, "WORLD_SIZE": nproc, "LOCAL_WORLD_SIZE": nproc}
    os.environ.update(environment, **{name: str(number) for name, number in numbers.items()})
    _interrupt_once()
    try:
        value = task(*args)
    except KeyboardInterrupt:
        _leave(INTERRUPTED)
    except Exception as error:  # whatever it is, the starting process tells it
        is_ours = isinstance(error, ResetrlError)
        message = str(error) if is_ours else traceback.format_exception_only(error)[-1].strip()
        report = [index, time.time(), message, is_ours, traceback.format_exc()]
        Path(folder, f"failed_{index}").write_text(json.dumps(report), encoding="utf-8")
        _leave(1)
    if index == 0:
        Path(folder, "value").write_text(json.dumps(value), encoding="utf-8")
    atexit._run_exitfuncs()
    _leave(0)


def _leave(status: int) -> NoReturn:
    """End this process without its destructors.

    They may wait for ranks that are gone, and at times torch's threads abort a process that has
    done its work ("terminate called without an active exception").
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _interrupt_once() -> None:
    """SIGINT and SIGTERM raise KeyboardInterrupt; more of them do not disturb how it ends.

    SIGTERM is what torchrun sends to the ranks when another has failed, or a cluster to it.
    """

    def interrupt(number: int, frame: types.FrameType | None) -> NoReturn:
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, signal.SIG_IGN)
        raise KeyboardInterrupt

    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, interrupt)


def _failure(folder: Path, ended: Any, console: Console) -> BaseException:
    """Why the first rank failed: what came first, because the others fail from its silence."""
    reports = [
        Report(*json.loads(path.read_text(encoding="utf-8"))) for path in folder.glob("failed_*")
    ]
    if ended.exit_code == INTERRUPTED:
        return KeyboardInterrupt()
    if ended.exit_code < 0 or not reports:
        why = f"killed by {ended.signal_name}" if ended.exit_code < 0 else "ended without a word"
        hint = " (out of memory?)" if ended.exit_code == -signal.SIGKILL else ""
        return ResetrlError(f"rank {ended.error_index} was {why}{hint}; the other ranks were ended")
    first = min(reports, key=lambda report: report.at)
    if first.is_ours:
        error = ResetrlError(first.message)
        error.add_note(f"In rank {first.rank}:\n{first.traceback}")  # which --debug shows
        return error
    console.print(first.traceback, markup=False, soft_wrap=True)
    return ResetrlError(
        f"rank {first.rank} failed ({first.message}), and the other ranks were ended: its "
        "traceback is above"
    )


def _end_all(context: Any) -> None:
    """Let the ranks end in order, and kill those that do not, or all at another Ctrl-C."""
    deadline = time.monotonic() + 2 * END_SECONDS
    try:
        for process in context.processes:
            if process.is_alive():
                os.kill(process.pid, signal.SIGINT)
        for process in context.processes:
            process.join(max(deadline - time.monotonic(), 0.0))
    finally:
        for process in context.processes:
            process.kill()
            process.join()
