"""How far programs can be shut in on this machine, found by trying, and the refusal of too little.

`rlimits`: limits of CPU, memory, files and threads, in a clean interpreter. `landlock_seccomp`:
files, system calls and the network besides. `namespaces`: also processes, users, mounts and the
network of its own, a small read-only root. `external_bubblewrap` and `external_docker`: what
`landlock_seccomp` is, within bubblewrap or a container, for machines where only those may make
namespaces.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from resetrl.errors import ResetrlError
from resetrl_sandbox.host import Job, Launcher, SandboxFailure
from resetrl_sandbox.inside import calls, kernel

Usable = Literal[
    "rlimits", "landlock_seccomp", "namespaces", "external_bubblewrap", "external_docker"
]
Level = Literal["none", Usable]
MinLevel = Literal["rlimits", "landlock_seccomp", "namespaces", "external"]

LEVELS: tuple[Level, ...] = get_args(Level)
"""From the least to the most; the external ones count as much as `namespaces` where all will do."""

_EXTERNAL: tuple[Usable, ...] = ("external_bubblewrap", "external_docker")
"""Bubblewrap starts at once, and a container needs a daemon."""

_PREFERRED: tuple[Usable, ...] = ("namespaces", *_EXTERNAL, "landlock_seccomp", "rlimits")
"""Own namespaces are fresh for each program; those of the external levels for each launcher."""

_PROBE_SECONDS = 5.0

_REMEDIES: Mapping[MinLevel, str] = {
    "namespaces": "allow user namespaces (sysctl user.max_user_namespaces above 0 and, on Ubuntu, "
    "kernel.apparmor_restrict_unprivileged_userns=0; in a container, a seccomp profile with "
    "unshare and mount), or install bubblewrap, or Docker",
    "external": "install bubblewrap (the command bwrap), or let this user start containers",
    "landlock_seccomp": "use Linux 5.13 or newer on x86-64 or arm64, with Landlock among its "
    "security modules",
    "rlimits": "use Linux",
}


class SandboxError(ResetrlError):
    """The machine does not allow a sandbox as strong as the configuration asks for."""


@dataclass(frozen=True)
class Reach:
    """The level programs run at, and why each preferred one is not to be had."""

    level: Level
    refused: Mapping[str, str]


def reach(least: MinLevel = "rlimits") -> Reach:
    """The best level of this machine; external if own namespaces fail or it is asked for."""
    refused: dict[str, str] = {}
    for level in _EXTERNAL if least == "external" else _PREFERRED:
        reason = why_not(level)
        if not reason:
            return Reach(level, refused)
        refused[level] = reason
    return Reach("none", refused)


def level_at_least(least: MinLevel) -> Level:
    """The level programs will run at; raises SandboxError if it would be below `least`."""
    reached = reach(least)
    enough = LEVELS.index(_EXTERNAL[0] if least == "external" else least)
    if LEVELS.index(reached.level) >= enough:
        return reached.level
    reasons = "; ".join(f"{level}: {why}" for level, why in reached.refused.items())
    lower = ""
    if reached.level != "none":
        lower = f", or choose min_level={reached.level} if the programs can be trusted that far"
    raise SandboxError(
        f"the sandbox reaches level {reached.level} on this machine, below min_level={least} "
        f"({reasons}): {_REMEDIES[least]}{lower}"
    )


@functools.cache
def why_not(level: Usable) -> str:
    """Why a level is not to be had, empty if a program ran at it just now."""
    if not sys.platform.startswith("linux"):
        return f"the system is {sys.platform}, not Linux"
    if level != "rlimits" and not calls.is_known(kernel.MACHINE):
        return f"there is no system-call filter for {kernel.MACHINE}"
    probe = Job("print(1)", [{"stdin": ""}], program_limit=_PROBE_SECONDS)
    try:
        launcher = Launcher(level, {})
    except OSError as error:
        return str(error)
    try:
        results = list(launcher.run(probe))
    except SandboxFailure as error:
        return str(error)
    finally:
        launcher.close()
    return "" if results[0]["status"] == 0 else results[0]["stderr"].strip()
