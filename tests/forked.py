"""`resetrl` in a process of its own, without the seconds that imports take each time.

A fork server imports once what every training run needs, as that of a sweep does; each command is
a fork of it, with its own arguments, folder and output, and can be killed as any other process.
"""

import multiprocessing
import os
import sys
import tempfile
from multiprocessing.process import BaseProcess
from pathlib import Path
from subprocess import CompletedProcess

from resetrl.run.job import TrainJob
from resetrl.sweep.pool import warm_up


def start(
    folder: Path, *arguments: str, output: tuple[str, str] = (os.devnull,) * 2
) -> BaseProcess:
    """Start `resetrl` in a folder; `output` names the files of what it prints and complains of."""
    warm_up(TrainJob.preload)
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=_main, args=(folder, arguments, output))
    process.start()
    return process


def run(folder: Path, *arguments: str) -> CompletedProcess[str]:
    """Run `resetrl` in a folder to its end."""
    with tempfile.TemporaryDirectory() as kept:  # the folder itself may be a disk that is full
        files = Path(kept, "stdout"), Path(kept, "stderr")
        process = start(folder, *arguments, output=(str(files[0]), str(files[1])))
        process.join(300)
        assert process.exitcode is not None, f"{arguments} takes more than 300 seconds"
        texts = [file.read_text() for file in files]
    return CompletedProcess(arguments, process.exitcode, *texts)


def _main(folder: Path, arguments: tuple[str, ...], output: tuple[str, str]) -> None:
    os.chdir(folder)
    for descriptor, name in enumerate(output, start=1):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT), descriptor)
    sys.argv = ["resetrl", *arguments]
    from resetrl.cli import main

    main()
