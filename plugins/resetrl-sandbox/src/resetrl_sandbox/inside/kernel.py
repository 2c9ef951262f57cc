"""The Linux calls that Python has no function for, through ctypes: namespaces, mounts, Landlock.

Each raises OSError whose text names the call. Nothing here decides anything.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct

MACHINE = platform.machine()

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_SECCOMP = 22
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38

_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_CAPSET = {"x86_64": 126, "aarch64": 91}
_MOUNT_SETATTR = 442
_LANDLOCK_CREATE, _LANDLOCK_ADD_RULE, _LANDLOCK_RESTRICT = 444, 445, 446

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _syscall(number: int, *arguments: int | ctypes.Array[ctypes.c_char], what: str) -> int:
    given = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return _check(_libc.syscall(ctypes.c_long(number), *given), what)


def _prctl(option: int, value: int, what: str) -> None:
    rest = [ctypes.c_ulong(each) for each in (value, 0, 0, 0)]
    _check(_libc.prctl(ctypes.c_int(option), *rest), what)


# --- Processes --------------------------------------------------------------------------------


def die_with_parent() -> None:
    """Be killed when the process that started this one dies."""
    _prctl(_PR_SET_PDEATHSIG, 9, "prctl(PR_SET_PDEATHSIG)")


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parents die."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1, "prctl(PR_SET_CHILD_SUBREAPER)")


def set_dumpable(dumpable: bool) -> None:
    """Whether processes of the same user may read this one's memory and /proc files."""
    _prctl(_PR_SET_DUMPABLE, int(dumpable), "prctl(PR_SET_DUMPABLE)")


def no_new_privileges() -> None:
    _prctl(_PR_SET_NO_NEW_PRIVS, 1, "prctl(PR_SET_NO_NEW_PRIVS)")


def drop_capabilities() -> None:
    """Give up every capability; there is no way back with `no_new_privileges`."""
    header, nothing = struct.pack("=Ii", 0x20080522, 0), bytes(24)
    _syscall(
        _CAPSET[MACHINE],
        ctypes.create_string_buffer(header, len(header)),
        ctypes.create_string_buffer(nothing, len(nothing)),
        what="capset",
    )


def install_filter(instructions: bytes) -> None:
    """Put a seccomp filter, as struct sock_filter[], on this process for good."""
    code = ctypes.create_string_buffer(instructions, len(instructions))
    program = struct.pack("HxxxxxxP", len(instructions) // 8, ctypes.addressof(code))
    pointer = ctypes.create_string_buffer(program, len(program))
    rest = (ctypes.c_ulong(0), ctypes.c_ulong(0))
    result = _libc.prctl(ctypes.c_int(_PR_SET_SECCOMP), ctypes.c_ulong(2), pointer, *rest)
    _check(result, "prctl(PR_SET_SECCOMP)")


# --- Namespaces and mounts --------------------------------------------------------------------


def unshare(flags: int) -> None:
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    result = _libc.mount(
        source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode()
    )
    _check(result, f"mount {source or kind} on {target}")


def make_read_only(path: str) -> None:
    """Let nothing at or below a mount be written, run as another user, or be a device file."""
    attributes = struct.pack("=QQQQ", 0x1 | 0x2, 0, 0, 0)  # MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID
    _syscall(
        _MOUNT_SETATTR,
        -100,
        ctypes.create_string_buffer(path.encode()),
        0x8000,  # AT_RECURSIVE
        ctypes.create_string_buffer(attributes, len(attributes)),
        len(attributes),
        what=f"mount_setattr {path}",
    )


def change_root(folder: str) -> None:
    """Make a mounted folder the root, and let go of everything outside of it."""
    os.chdir(folder)
    here = ctypes.create_string_buffer(b".")
    _syscall(_PIVOT_ROOT[MACHINE], here, here, what="pivot_root")
    _check(_libc.umount2(b".", ctypes.c_int(2)), "umount2")  # MNT_DETACH
    os.chdir("/")


# --- Landlock ---------------------------------------------------------------------------------

_READ = 1 << 2 | 1 << 3
_FILE_ONLY = 1 << 1 | 1 << 2 | 1 << 14
_NEVER = 1 << 0 | 1 << 6 | 1 << 9 | 1 << 11 | 1 << 15
"""Running files, making devices and sockets, ioctl on devices: not even where one may write."""


def landlock_abi() -> int:
    """The version of Landlock the kernel has; raises OSError without Landlock."""
    return _syscall(_LANDLOCK_CREATE, 0, 0, 1, what="Landlock")


def restrict_files(readable: list[str], writable: list[str]) -> None:
    """Forbid every file but those at or below these paths, TCP, and signals to other processes.

    Paths that do not exist are passed over. TCP needs Landlock 4 (Linux 6.7), signals and
    abstract sockets 6 (Linux 6.12); the seccomp filter forbids both in any case.
    """
    abi = landlock_abi()
    files = (1 << 13) - 1
    for since, right in ((2, 1 << 13), (3, 1 << 14), (5, 1 << 15)):
        files |= right if abi >= since else 0
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    rules = ctypes.create_string_buffer(struct.pack("=QQQ", files, 3, 3)[:size], size)
    ruleset = _syscall(_LANDLOCK_CREATE, rules, size, 0, what="landlock_create_ruleset")
    for paths, rights in ((readable, _READ), (writable, files & ~_NEVER)):
        for path in filter(os.path.exists, paths):
            _allow(ruleset, path, rights & files)
    _syscall(_LANDLOCK_RESTRICT, ruleset, 0, what="landlock_restrict_self")
    os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    if not os.path.isdir(path):
        rights &= _FILE_ONLY
    rule = struct.pack("=Qi", rights, descriptor)
    _syscall(
        _LANDLOCK_ADD_RULE,
        ruleset,
        1,
        ctypes.create_string_buffer(rule, len(rule)),
        0,
        what=f"landlock_add_rule {path}",
    )
    os.close(descriptor)
