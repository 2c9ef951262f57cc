"""The process of one test: what remains of the harness once the program's code runs in it.

It holds the program and its inputs, nothing to compare with and nothing to prove with. Whatever
the program does to this interpreter can change only its own answer.
"""

from __future__ import annotations

import atexit
import builtins
import fcntl
import importlib
import json
import os
import resource
import sys
import threading
import traceback
import types
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

ANSWER = 3
"""The descriptor an answer is written to."""

_MODULES = """
string re datetime collections heapq bisect copy math random statistics itertools functools
operator io sys json array cmath decimal fractions time types enum dataclasses abc typing
"""
"""Imported before, and there without an import, with all their names, as LeetCode has it."""

_BUILT_IN = frozenset(dir(builtins))
_COMMON: dict[str, object] = {}


def import_common_modules(packages: Mapping[str, str]) -> None:
    """Import, in the launcher, what programs need not wait for; packages are name and folder."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # a fork has only one anyway
    for name, folder in packages.items():
        sys.path.append(os.path.dirname(folder))
        importlib.import_module(name)
        sys.path.pop()
    os.environ.clear()
    modules = _MODULES.split()
    for name in modules:
        module = importlib.import_module(name)
        public = getattr(module, "__all__", [n for n in vars(module) if n[0] != "_"])
        _COMMON.update({n: getattr(module, n) for n in public if n not in _BUILT_IN})
    _COMMON.update({name: sys.modules[name] for name in modules if name != "copy"})
    for name in ("copy", "datetime"):  # the function and the class, as `from copy import *` has it
        _COMMON[name] = getattr(sys.modules[name], name)


@dataclass(frozen=True)
class Limits:
    """What one test may use: CPU seconds, megabytes of address space, threads, open files."""

    seconds: float
    memory_mb: int
    threads: int
    open_files: int

    def apply(self) -> None:
        memory, seconds = self.memory_mb << 20, int(self.seconds) + 1
        _, stack = resource.getrlimit(resource.RLIMIT_STACK)
        for kind, soft, hard in (
            (resource.RLIMIT_AS, memory, memory),
            (resource.RLIMIT_CPU, seconds, seconds + 1),
            (resource.RLIMIT_FSIZE, 16 << 20, 16 << 20),
            (resource.RLIMIT_NPROC, self.threads, self.threads),
            (resource.RLIMIT_NOFILE, self.open_files, self.open_files),
            (resource.RLIMIT_CORE, 0, 0),
            (resource.RLIMIT_STACK, _least(stack, 64 << 20), stack),
        ):
            _, most = resource.getrlimit(kind)
            resource.setrlimit(kind, (_least(most, soft), _least(most, hard)))


def _least(most: int, wanted: int) -> int:
    """The smaller of two limits, where -1 is none."""
    return wanted if most == -1 else most if wanted == -1 else min(most, wanted)


def keep_descriptors(descriptors: list[int]) -> None:
    """Make these the descriptors 0, 1, 2, 3, and close every other."""
    moved = [fcntl.fcntl(each, fcntl.F_DUPFD, 100) for each in descriptors]
    for place, descriptor in enumerate(moved):
        os.dup2(descriptor, place)
    os.closerange(ANSWER + 1, 1 << 20)


def become_program(source: str, entry_point: str | None, arguments: list[Any] | None) -> NoReturn:
    """Run the program in this process, and end it; with arguments, call the entry point."""
    sys.stdin = os.fdopen(0, "r", encoding="utf-8", errors="surrogatepass", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", errors="replace", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, encoding="utf-8", errors="replace", closefd=False)
    for name in ("stdin", "stdout", "stderr"):
        setattr(sys, f"__{name}__", getattr(sys, name))
    sys.argv = ["program.py"]
    sys.setrecursionlimit(50_000)
    sys.set_int_max_str_digits(0)  # CPU seconds bound what digits may cost
    if arguments is None:
        os._exit(_status_of(lambda: _read_and_print(source)))
    os._exit(_status_of(lambda: _call(source, str(entry_point), arguments)))


def _status_of(run: Callable[[], None]) -> int:
    """The exit status of a run, as Python would have it."""
    try:
        run()
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
        code = 0 if error.code is None else error.code
        return code & 0xFF if isinstance(code, int) else 1
    except BaseException as error:  # whatever the program raises is how it ended
        sys.stderr.write("".join(traceback.format_exception_only(error))[-2000:])
        return 1
    return 0


def _read_and_print(source: str) -> None:
    try:
        _execute(source, "__main__")
    finally:
        threading._shutdown()  # type: ignore[attr-defined]  # as the end of a Python does
        atexit._run_exitfuncs()
        sys.stdout.flush()


def _call(source: str, entry_point: str, arguments: list[Any]) -> None:
    """Call the function, or the method of class Solution, and write what it returned."""
    names = _execute(source, "program")
    function = names.get(entry_point)
    if function is None and "Solution" in names:
        function = getattr(names["Solution"](), entry_point, None)
    if function is None:
        raise NameError(f"the program defines no {entry_point}")
    line = json.dumps(plain(function(*(from_plain(each) for each in arguments)))).encode()
    sys.stdout.flush()
    while line:
        line = line[os.write(ANSWER, line) :]


def _execute(source: str, name: str) -> dict[str, Any]:
    module = types.ModuleType(name)
    sys.modules[name] = module
    vars(module).update(_COMMON)
    exec(compile(source, "program.py", "exec"), vars(module))
    return vars(module)


# --- Values as JSON ---------------------------------------------------------------------------

_LISTS: dict[str, Any] = {"tuple": tuple, "set": set, "frozenset": frozenset}
_JSON_INTEGER = 1 << 63


def plain(value: Any) -> Any:
    """A value as what JSON can carry: `(1, {2})` is `{"tuple": [1, {"set": [2]}]}`.

    Subclasses are written as their base, a deque as a list, numpy's numbers and arrays as Python's.
    Raises TypeError for anything else, such as a generator.
    """
    if value is None or isinstance(value, bool | float | str):
        return value
    if isinstance(value, int):
        return int(value) if -_JSON_INTEGER <= value < _JSON_INTEGER else {"int": hex(value)}
    if isinstance(value, list | deque):
        return [plain(each) for each in value]
    for name, kind in _LISTS.items():
        if isinstance(value, kind):
            return {name: [plain(each) for each in value]}
    if isinstance(value, dict):
        return {"dict": [[plain(key), plain(each)] for key, each in value.items()]}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, bytes | bytearray):
        return {"bytes": value.hex()}
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    raise TypeError(f"the answer holds {type(value).__name__}, which is no plain data")


def from_plain(value: Any) -> Any:
    """The value that `plain` wrote; raises ValueError, TypeError or KeyError on anything else."""
    if isinstance(value, list):
        return [from_plain(each) for each in value]
    if not isinstance(value, dict):
        return value
    ((name, inner),) = value.items()
    if name == "int":
        return int(inner, 16)
    if name == "complex":
        return complex(*map(float, inner))
    if name == "bytes":
        return bytes.fromhex(inner)
    if name == "dict":
        return {from_plain(key): from_plain(each) for key, each in inner}
    return _LISTS[name](from_plain(each) for each in inner)
