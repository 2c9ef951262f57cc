"""The seccomp filter: the system calls a program may make; every other one is refused.

A list of what is allowed, not of what is dangerous: calls that future kernels add are refused
too. What is allowed is what CPython and numpy need to compute, to read and write files they may
open, and to start threads. No process is ever started or looked into, no other program is run,
nothing is mounted, no network socket exists.
"""

from __future__ import annotations

import errno
import struct

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

_ALLOWED = """
read 0 63, write 1 64, readv 19 65, writev 20 66, pread64 17 67, pwrite64 18 68, preadv 295 69,
pwritev 296 70, preadv2 327 286, pwritev2 328 287, sendfile 40 71, copy_file_range 326 285,
open 2 -, openat 257 56, creat 85 -, close 3 57, close_range 436 436,
stat 4 -, lstat 6 -, fstat 5 80, newfstatat 262 79, statx 332 291, statfs 137 43, fstatfs 138 44,
lseek 8 62, flock 73 32, dup 32 23, dup2 33 -, dup3 292 24, fsync 74 82,
fdatasync 75 83, truncate 76 45, ftruncate 77 46, fallocate 285 47, fadvise64 221 223,
getdents64 217 61, getcwd 79 17, chdir 80 49, fchdir 81 50, umask 95 166,
mkdir 83 -, mkdirat 258 34, rmdir 84 -, unlink 87 -, unlinkat 263 35, link 86 -, linkat 265 37,
symlink 88 -, symlinkat 266 36, readlink 89 -, readlinkat 267 78, rename 82 -, renameat 264 38,
renameat2 316 276, chmod 90 -, fchmod 91 52, fchmodat 268 53, utimensat 280 88, access 21 -,
faccessat 269 48, faccessat2 439 439,
pipe 22 -, pipe2 293 59, select 23 -, pselect6 270 72, poll 7 -, ppoll 271 73, epoll_create 213 -,
epoll_create1 291 20, epoll_ctl 233 21, epoll_wait 232 -, epoll_pwait 281 22,
epoll_pwait2 441 441, eventfd2 290 19,
mmap 9 222, mprotect 10 226, munmap 11 215, mremap 25 216, madvise 28 233, brk 12 214,
get_mempolicy 239 236,
rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139, rt_sigpending 127 136,
rt_sigtimedwait 128 137, rt_sigsuspend 130 133, sigaltstack 131 132, pause 34 -, alarm 37 -,
getitimer 36 102, setitimer 38 103, nanosleep 35 101, clock_nanosleep 230 115,
clock_gettime 228 113, clock_getres 229 114, gettimeofday 96 169, time 201 -, times 100 153,
getpid 39 172, gettid 186 178, getppid 110 173, getuid 102 174, geteuid 107 175, getgid 104 176,
getegid 108 177, getresuid 118 148, getresgid 120 150, getgroups 115 158, getpgrp 111 -,
getpgid 121 155, getsid 124 156, uname 63 160, sysinfo 99 179, getrusage 98 165, getrlimit 97 163,
getcpu 309 168, sched_yield 24 124, sched_getaffinity 204 123, sched_getparam 143 121,
sched_getscheduler 145 120,
futex 202 98, set_tid_address 218 96, set_robust_list 273 99, rseq 334 293, membarrier 324 283,
restart_syscall 219 128, arch_prctl 158 -, getrandom 318 278, wait4 61 260, waitid 247 95,
exit 60 93, exit_group 231 94,
sendto 44 206, recvfrom 45 207, sendmsg 46 211, recvmsg 47 212, shutdown 48 210,
getsockname 51 204, getpeername 52 205, setsockopt 54 208, getsockopt 55 209
"""
"""Name, number on x86-64, number on arm64; sockets are a program's own pairs, see below."""

_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE3 = 435
_KILL = {"x86_64": 62, "aarch64": 129}
_TGKILL = {"x86_64": 234, "aarch64": 131}
_PRLIMIT = {"x86_64": 302, "aarch64": 261}
_PRCTL = {"x86_64": 157, "aarch64": 167}
_FCNTL = {"x86_64": 72, "aarch64": 25}
_IOCTL = {"x86_64": 16, "aarch64": 29}
_SOCKETPAIR = {"x86_64": 53, "aarch64": 199}

_CLONE_THREAD = 0x00010000
_NEW_NAMESPACES = 0x7E020080
_THREAD_NAMES = (15, 16)  # PR_SET_NAME, PR_GET_NAME
_PLAIN_FCNTLS = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032, 1034)
"""Copies, flags, locks and questions; not the owner, whom a descriptor sends signals to."""

_PLAIN_IOCTLS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""TCGETS and TIOCGWINSZ (is it a terminal, how wide), FIONREAD, FIONBIO, FIONCLEX, FIOCLEX."""

_LOAD, _AND, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x54, 0x15, 0x45, 0x06
_ALLOW = 0x7FFF0000
_REFUSE, _UNKNOWN = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
_NUMBER, _ARCHITECTURE = 0, 4


def is_known(machine: str) -> bool:
    """Whether there is a filter for this kind of machine."""
    return machine in _ARCHITECTURES


def filter_for(machine: str, process_id: int) -> bytes:
    """The filter as struct sock_filter[]; `process_id` is the only one that may be signalled."""
    code = [
        _op(_LOAD, _ARCHITECTURE),
        _op(_EQUAL, _ARCHITECTURES[machine], 1, 0),
        _op(_RETURN, _REFUSE),
        _op(_LOAD, _NUMBER),
    ]
    for number in _numbers(machine):
        code += [_op(_EQUAL, number, 0, 1), _op(_RETURN, _ALLOW)]
    for table in (_KILL, _TGKILL):
        code += _call(table[machine], _one_of(0, (process_id,)))
    code += _call(_PRLIMIT[machine], _one_of(0, (0,)))
    code += _call(_PRCTL[machine], _one_of(0, _THREAD_NAMES))
    code += _call(_FCNTL[machine], _one_of(1, _PLAIN_FCNTLS))
    code += _call(_IOCTL[machine], _one_of(1, _PLAIN_IOCTLS))
    code += _call(_CLONE[machine], _THREADS_ONLY)
    # A datagram socket could be sent anywhere; a pair of streams reaches only itself.
    code += _call(_SOCKETPAIR[machine], [_op(_LOAD, _argument(1)), _op(_AND, 0xF), *_in((1,))])
    # What cannot be inspected does not exist: the C library then uses clone.
    code += [_op(_EQUAL, _CLONE3, 0, 1), _op(_RETURN, _UNKNOWN), _op(_RETURN, _REFUSE)]
    return b"".join(code)


def _numbers(machine: str) -> list[int]:
    column = 1 if machine == "x86_64" else 2
    rows = [row.split() for row in _ALLOWED.replace("\n", " ").split(",")]
    return [int(row[column]) for row in rows if row[column] != "-"]


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _argument(index: int) -> int:
    """Where the lower half of a call's argument is; the kernel takes these as 32 bits, too."""
    return 16 + 8 * index


def _call(number: int, body: list[bytes]) -> list[bytes]:
    """What to do on one call: the body always returns, so that nothing follows it."""
    return [_op(_EQUAL, number, 0, len(body)), *body]


def _one_of(index: int, values: tuple[int, ...]) -> list[bytes]:
    return [_op(_LOAD, _argument(index)), *_in(values)]


def _in(values: tuple[int, ...]) -> list[bytes]:
    tests = [_op(_EQUAL, value, len(values) - place, 0) for place, value in enumerate(values)]
    return [*tests, _op(_RETURN, _REFUSE), _op(_RETURN, _ALLOW)]


_THREADS_ONLY = [
    _op(_LOAD, _argument(0)),
    _op(_ANY_BIT, _NEW_NAMESPACES, 1, 0),
    _op(_ANY_BIT, _CLONE_THREAD, 1, 0),
    _op(_RETURN, _REFUSE),
    _op(_RETURN, _ALLOW),
]
