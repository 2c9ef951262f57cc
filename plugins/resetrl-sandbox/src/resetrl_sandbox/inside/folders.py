"""What of the file system a program may see: Python, shared libraries, a few devices."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass

from resetrl_sandbox.inside import kernel

SCRATCH = "/tmp"
"""The only folder a program may write to, where it has one."""

_USER = 1000
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_SHARED = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo")


@dataclass(frozen=True)
class Folders:
    """`readable` paths are folders; those of `devices` are files that may be written, too."""

    readable: list[str]
    devices: list[str]

    @classmethod
    def of_this_python(cls, packages: Mapping[str, str]) -> Folders:
        """The standard library, shared libraries and the packages, which are name and folder."""
        library = [os.path.dirname(sysconfig.get_path(each)) for each in ("stdlib", "platstdlib")]
        own = [os.path.join(sys.base_prefix, "lib"), *library]
        extra = [each for folder in packages.values() for each in (folder, f"{folder}.libs")]
        paths = [path for path in (*_SHARED, *own, *extra) if os.path.isdir(path)]
        return cls(list(dict.fromkeys(paths)), [path for path in _DEVICES if os.path.exists(path)])


def move_into_small_root(folders: Folders, processes: int) -> None:
    """Make a read-only root that holds only these folders; raises OSError where one may not.

    Real root needs a mount namespace for it, anyone else a user namespace besides.
    """
    try:
        if os.geteuid() != 0:
            raise PermissionError
        kernel.unshare(kernel.CLONE_NEWNS)
    except PermissionError:
        unshare_as_user(kernel.CLONE_NEWNS, processes)
    kernel.mount("", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
    # Opened first: the new root is built upon /tmp, where Python itself may be.
    sources = {path: os.open(path, os.O_PATH) for path in (*folders.readable, *folders.devices)}
    root = SCRATCH
    kernel.mount("", root, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=755,size=1m")
    for path, descriptor in sources.items():
        _show(path, descriptor, root)
        os.close(descriptor)
    os.makedirs(root + SCRATCH, exist_ok=True)
    kernel.change_root(root)
    kernel.make_read_only("/")


def _show(path: str, descriptor: int, root: str) -> None:
    """Put a folder or device where it was, but in the new root; links become links."""
    place = root + path
    os.makedirs(os.path.dirname(place), exist_ok=True)
    if os.path.islink(path):
        if not os.path.lexists(place):
            os.symlink(os.readlink(path), place)
        return
    if os.path.isdir(f"/proc/self/fd/{descriptor}"):
        os.makedirs(place, exist_ok=True)
    else:
        os.close(os.open(place, os.O_CREAT | os.O_WRONLY, 0o644))
    kernel.mount(f"/proc/self/fd/{descriptor}", place, "", kernel.MS_BIND | kernel.MS_REC)


def unshare_as_user(flags: int, processes: int) -> None:
    """Enter a new user namespace, as an ordinary user of it, and the namespaces of `flags`.

    `processes` is an open /proc, which a small root does not have.
    """
    outer_user, outer_group = os.geteuid(), os.getegid()
    kernel.unshare(kernel.CLONE_NEWUSER | flags)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{_USER} {outer_user} 1"),
        ("gid_map", f"{_USER} {outer_group} 1"),
    ):
        descriptor = os.open(f"self/{name}", os.O_WRONLY, dir_fd=processes)
        os.write(descriptor, text.encode())
        os.close(descriptor)
