"""The launcher: a small Python that forks one supervisor after another, one for each program.

It is started by `python -I` with no environment (`resetrl_sandbox.host`), imports what programs
often import, and where it may, moves into a root folder that holds nothing but Python and shared
libraries. What a run knows besides (expected outputs, problems, secrets) never comes here; a
program's own inputs only reach its supervisor, which ends with it and talks with the host.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import site
import sys

from resetrl_sandbox.inside import kernel
from resetrl_sandbox.inside.folders import Folders, move_into_small_root
from resetrl_sandbox.inside.program import import_common_modules
from resetrl_sandbox.inside.supervisor import NOTHING_TO_DO, UNABLE, Supervisor, say

_NOBODY = 65534


def main() -> None:
    kernel.die_with_parent()
    kernel.adopt_orphans()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started it
    settings = json.loads(sys.argv[1])
    own = site.getsitepackages()  # what happens to be installed there must change no verdict
    sys.path[:] = [path for path in sys.path if path not in own]
    processes = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    import_common_modules(settings["packages"])
    folders = Folders.of_this_python(settings["packages"])
    try:
        if settings["level"] == "namespaces":
            move_into_small_root(folders, processes)
        _become_nobody(folders)
    except OSError as error:
        say({"error": f"the launcher cannot set up {settings['level']}: {error}"})
        return
    threads = _threads_of_user(processes)
    gc.collect()
    gc.freeze()
    supervisor = Supervisor(settings["level"], folders, processes, threads)
    while _supervise_one(supervisor):
        pass


def _supervise_one(supervisor: Supervisor) -> bool:
    """Run the next program; False if there is none, or none can be run."""
    process_id = os.fork()
    if process_id == 0:
        status = UNABLE
        try:
            status = supervisor.serve()
        except Exception as error:  # whatever it is, the host has to know
            say({"error": f"the supervisor failed: {type(error).__name__}: {error}"})
        finally:
            os._exit(status)
    ended, status = 0, 0
    while ended != process_id:  # others may be orphans of an earlier supervisor
        ended, status = os.wait()
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, NOTHING_TO_DO, UNABLE):
        say({"error": f"a supervisor ended with status {code}"})
    return code == 0


def _become_nobody(folders: Folders) -> None:
    """A launcher started by root gives that up: root has no process limit and owns too much.

    Raises OSError if the standard library is then out of reach.
    """
    if os.geteuid() != 0:
        return
    os.setgroups([])
    os.setresgid(_NOBODY, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    kernel.set_dumpable(True)  # or its own files in /proc would be root's
    kernel.die_with_parent()  # which a change of user has undone
    for path in folders.readable:
        os.listdir(path)


def _threads_of_user(processes: int) -> int:
    """How many threads this user has: the kernel counts them all against the process limit."""
    user, count = os.getuid(), 0
    for name in filter(str.isdigit, _names(".", processes)):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if os.stat(name, dir_fd=processes).st_uid == user:
                count += len(_names(f"{name}/task", processes))
    return count


def _names(path: str, processes: int) -> list[str]:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY, dir_fd=processes)
    try:
        return os.listdir(folder)
    finally:
        os.close(folder)
