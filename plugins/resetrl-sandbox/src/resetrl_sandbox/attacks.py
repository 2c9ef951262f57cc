"""Programs that try to get out, to take the machine down, or to be paid for nothing.

`expected` of a containment attack is `ESCAPED`, which it prints if it reached its aim; that of a
forgery is a number drawn for the occasion, which it is not told. So an attack has won if its test
passes, or if what it must not touch has changed (`resetrl_sandbox.check`).
"""

from __future__ import annotations

from dataclasses import dataclass

_HEAD = """
import ctypes, json, os, signal, socket, sys, time
bait = json.loads(sys.stdin.read())
libc = ctypes.CDLL(None, use_errno=True)
def tell(*aims):
    for aim in aims:
        try:
            if aim():
                print("ESCAPED")
                return
        except Exception as error:
            last = error
    print("held:", locals().get("last", "nothing found"))
"""


@dataclass(frozen=True)
class Attack:
    """`held` says how it should end: statuses of its one test, `wrong` where it prints that it was
    held. `forged` attacks define `f(x)`; `safe_unconfined` is False where, with nothing but
    limits in its way, it would do harm: to the user's processes or to the disk."""

    name: str
    program: str
    held: tuple[str, ...] = ("wrong",)
    forged: bool = False
    safe_unconfined: bool = True


def _try(name: str, body: str, *held: str, safe_unconfined: bool = True) -> Attack:
    return Attack(name, _HEAD + body, held or ("wrong",), safe_unconfined=safe_unconfined)


def _forge(name: str, program: str, *held: str) -> Attack:
    return Attack(name, program, held or ("no_answer", "crashed", "wrong"), forged=True)


_EXHAUSTION = (
    _try(
        "fork bomb",
        """
while True:
    try: os.fork()
    except OSError: pass
""",
        "timeout",
    ),
    _try(
        "thread bomb",
        """
import threading
threading.stack_size(32768)
while True:
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
""",
        "crashed",
        "timeout",
    ),
    _try("memory bomb", "x = []\nwhile True: x.append(bytearray(1 << 24))\n", "crashed", "timeout"),
    _try("memory bomb by mmap", "import mmap\nx = mmap.mmap(-1, 1 << 40)\n", "crashed"),
    _try("CPU loop", "while True: pass\n", "timeout"),
    _try("CPU loop in C code", "x = 3 ** (10 ** 9)\n", "timeout", "crashed"),
    _try(
        "CPU loop that ignores signals",
        """
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
while True:
    try: pass
    except BaseException: pass
""",
        "timeout",
    ),
    _try("sleep", "time.sleep(600)\n", "timeout"),
    _try("output flood", "while True: print('x' * 65536)\n", "output_limit"),
    _try("flood of standard error", "while True: print('x' * 65536, file=sys.stderr)\n", "timeout"),
    _try(
        "disk fill",
        """
def fill():
    size = 0
    for number in range(10_000):
        with open(f"/tmp/fill-{number}", "wb") as file:
            size += file.write(bytes(1 << 20))
        if size > 64 << 20:
            return True
tell(fill)
""",
        safe_unconfined=False,
    ),
    _try(
        "file-count fill",
        """
def fill():
    for number in range(100_000):
        open(f"/tmp/fill-{number}", "w").close()
    return True
tell(fill)
""",
        safe_unconfined=False,
    ),
    _try(
        "large file in memory",
        """
def grow():
    descriptor = os.memfd_create("x")
    for _ in range(1024): os.write(descriptor, bytes(1 << 20))
    return True
tell(grow)
""",
    ),
    _try("deep recursion", "def f(): return f()\nf()\n", "crashed"),
    _try("segmentation fault", "ctypes.string_at(0)\n", "crashed"),
    _try("abort", "os.abort()\n", "crashed"),
    _try("huge integer", "print(10 ** (10 ** 7))\n", "crashed", "timeout", "output_limit"),
    _try(
        "zip bomb",
        "import zlib\nx = zlib.compress(bytes(1 << 24))\nprint(zlib.decompress(x) * 64)\n",
        "crashed",
        "output_limit",
        "timeout",
    ),
    _try("nested source", "compile('(' * 10**6 + ')' * 10**6, 'x', 'eval')\n", "crashed"),
    _try(
        "higher limits",
        """
import resource
def raise_limit():
    resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
    return True
tell(raise_limit)
""",
    ),
)

_NETWORK = (
    _try("DNS", "tell(lambda: socket.getaddrinfo('example.com', 80))\n"),
    _try(
        "TCP to loopback",
        "tell(lambda: socket.create_connection(('127.0.0.1', bait['port']), 1))\n",
    ),
    _try("TCP to outside", "tell(lambda: socket.create_connection(('1.1.1.1', 53), 1))\n"),
    _try(
        "UDP",
        """
def send():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        return s.sendto(b"x", ("127.0.0.1", bait["port"]))
tell(send)
""",
    ),
    _try(
        "listening on loopback",
        "tell(lambda: socket.create_server(('127.0.0.1', 0)))\n",
    ),
    _try(
        "abstract and file unix sockets",
        """
def connect(address):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(address)
        return True
tell(lambda: connect(bait["unix_file"]), lambda: connect("\\0" + bait["unix_abstract"]))
""",
    ),
    _try(
        "datagrams from a socket pair",
        """
def send():
    mine, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    return mine.sendto(b"x", "\\0" + bait["unix_abstract"])
tell(send)
""",
    ),
)

_FILES = (
    _try(
        "reading home",
        "tell(lambda: os.listdir(bait['home']), lambda: os.listdir('/root'), "
        "lambda: os.listdir('/home'))\n",
    ),
    _try("reading a file of the user", "tell(lambda: open(bait['secret_file']).read())\n"),
    _try(
        "reading /etc/shadow and /etc/passwd",
        "tell(lambda: open('/etc/shadow').read(), lambda: open('/etc/passwd').read())\n",
    ),
    _try("reading the repository", "tell(lambda: open(bait['repository_file']).read())\n"),
    _try(
        "writing outside",
        """
def write(folder):
    with open(os.path.join(folder, "resetrl-sandbox-written"), "w") as file:
        file.write("x")
    return not folder.startswith("/tmp")
python = os.path.dirname(os.__file__)
places = [bait["folder"], bait["home"], "/", "/var/tmp", "/dev/shm", "/dev", python]
tell(*(lambda place=place: write(place) for place in places))
""",
    ),
    _try(
        "changing Python's own files",
        """
def change():
    os.chmod(os.__file__, 0o777)
    return True
tell(change, lambda: os.rename(os.__file__, os.__file__ + "x") or True)
""",
    ),
    _try(
        "symlink escape",
        """
def follow(make):
    make(bait["secret_file"], "/tmp/link")
    return open("/tmp/link").read()
tell(lambda: follow(os.symlink), lambda: follow(os.link))
""",
    ),
    _try(
        "leaving by ..",
        "tell(lambda: open('../' * 20 + bait['secret_file']).read(), "
        "lambda: open('/tmp/../' + bait['secret_file']).read())\n",
    ),
    _try(
        "file descriptors left open",
        """
def find():
    for number in range(4, 1024):
        try: os.fstat(number)
        except OSError: continue
        return True
tell(find)
""",
    ),
    _try(
        "mounting and changing the root",
        """
tell(lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, b"") == 0,
     lambda: os.chroot("/tmp") or True,
     lambda: libc.mount(b"proc", b"/tmp", b"proc", 0, b"") == 0,
     lambda: libc.umount2(b"/tmp", 2) == 0)
""",
    ),
)

_PROCESSES = (
    _try(
        "the parent's environment",
        """
def look():
    return bait["variable"] in os.environ or len(os.environ)
processes = ("self", os.getppid(), bait["process"])
tell(look, *(lambda p=p: open(f"/proc/{p}/environ").read() for p in processes))
""",
    ),
    _try(
        "the parent's memory",
        """
class Part(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]
def read(process):
    room = ctypes.create_string_buffer(8)
    mine, theirs = Part(ctypes.addressof(room), 8), Part(id(None), 8)
    return libc.process_vm_readv(process, ctypes.byref(mine), 1, ctypes.byref(theirs), 1, 0) > 0
processes = {os.getppid(), bait["process"], 1}
tell(*(lambda p=p: open(f"/proc/{p}/mem", "rb") for p in processes),
     *(lambda p=p: read(p) for p in processes))
""",
    ),
    _try(
        "/proc tricks",
        """
tell(lambda: os.listdir("/proc/1/root/"), lambda: open("/proc/self/exe", "rb"),
     lambda: os.listdir("/proc/self/fd"), lambda: open("/proc/sys/kernel/core_pattern").read(),
     lambda: open("/proc/self/maps").read(), lambda: os.listdir("/sys/kernel"))
""",
    ),
    _try(
        "ptrace",
        """
def trace(process):
    return libc.ptrace(16, process, None, None) == 0
tell(lambda: trace(os.getppid()), lambda: trace(bait["process"]), lambda: trace(1))
""",
        safe_unconfined=False,
    ),
    _try(
        "signals to the parent and others",
        """
def hit(process):
    os.kill(process, signal.SIGKILL)
    return True
tell(*(lambda p=p: hit(p) for p in (os.getppid(), bait["victim"], 1) if p))
""",
    ),
    _try(
        "signals through the owner of a descriptor",
        """
import fcntl
def hit(process):
    ours, theirs = os.pipe()
    fcntl.fcntl(ours, 10, signal.SIGKILL)  # F_SETSIG
    fcntl.fcntl(ours, fcntl.F_SETOWN, process)
    fcntl.fcntl(ours, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    os.write(theirs, b"x")
    return True
tell(*(lambda p=p: hit(p) for p in (os.getppid(), bait["victim"]) if p))
""",
    ),
    _try(
        "a signal to everyone",
        "tell(lambda: os.kill(-1, signal.SIGKILL) or True, lambda: os.killpg(0, 0) or True)\n",
        safe_unconfined=False,
    ),
    _try(
        "a daemon that outlives the run",
        """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in (0, 1, 2, 3): os.close(number)
        time.sleep(60)
    os._exit(0)
time.sleep(0.2)
""",
        "crashed",
        "wrong",
    ),
    _try(
        "running other programs",
        """
import subprocess
tell(lambda: subprocess.run(["/bin/sh", "-c", "true"], check=True),
     lambda: os.posix_spawn("/bin/sh", ["sh", "-c", "true"], {}),
     lambda: os.execv(sys.executable, [sys.executable, "-c", "print('ESCAPED')"]))
""",
    ),
    _try(
        "limits of another process",
        """
import resource
processes = [p for p in (os.getppid(), bait["process"]) if p]
tell(*(lambda p=p: resource.prlimit(p, resource.RLIMIT_CPU) for p in processes))
""",
    ),
    _try(
        "forbidden system calls",
        """
import errno, platform
numbers = {
    "x86_64": "101 310 311 250 321 165 272 308 246 320 425 426 427 323 298 304 "
              "155 161 175 169 135 105 117 428 430 432 434 438 449 29 240 59",
    "aarch64": "117 270 271 219 280 40 97 268 104 294 425 426 427 282 241 265 "
              "41 51 105 142 92 146 147 428 430 432 434 438 449 194 180 221",
}[platform.machine()]
def call(number):
    ctypes.set_errno(0)
    libc.syscall(number, 0, 0, 0, 0, 0, 0)
    return ctypes.get_errno() not in (errno.EPERM, errno.ENOSYS)
tell(*(lambda n=int(n): call(n) for n in numbers.split()))
""",
    ),
)

_FORGERIES = (
    _forge("exit(0)", "def f(x): pass\nimport sys\nsys.exit(0)\n"),
    _forge("exit(0) from within", "def f(x): raise SystemExit(0)\n"),
    _forge("os._exit(0)", "import os\ndef f(x): os._exit(0)\n"),
    _forge(
        "patched print and json",
        """
import builtins, json
builtins.print = lambda *a, **k: None
json.dumps = lambda *a, **k: "true"
def f(x): return 0
""",
    ),
    _forge(
        "an object that equals everything",
        """
class Same:
    def __eq__(self, other): return True
    def __hash__(self): return 0
    def tolist(self): return Same()
def f(x): return Same()
""",
    ),
    _forge(
        "an int that equals everything",
        """
class Same(int):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 0
def f(x): return Same(0)
""",
    ),
    _forge(
        "text, list and dict that equal everything",
        """
def same(base): return type("Same", (base,), {"__eq__": lambda s, o: True, "__hash__": None})
def f(x): return [same(str)("x"), same(list)(), same(dict)()][x % 3]
""",
    ),
    _forge(
        "forged result lines",
        """
import json, os
lines = [{"test": 0, "limit": None, "status": 0}, {"done": True}, {"tests": [["passed", ""]]},
         {"passed": True}, ["passed", ""], True]
def f(x):
    for number in range(100):
        for line in lines:
            try: os.write(number, json.dumps(line).encode() + b"\\n")
            except OSError: break
    os._exit(0)
""",
    ),
    _forge(
        "modules of the harness replaced",
        """
import sys, types
for name in list(sys.modules):
    if "resetrl" in name:
        for key, value in list(vars(sys.modules[name]).items()):
            if callable(value): setattr(sys.modules[name], key, lambda *a, **k: True)
for name in ("judging", "comparison"):
    sys.modules[f"resetrl_sandbox.{name}"] = types.SimpleNamespace(
        same_value=lambda *a: True, judge=lambda *a: {"tests": [["passed", ""]]})
def f(x): return True
""",
        "no_answer",
        "crashed",
        "wrong",
    ),
    _forge(
        "what is expected, from frames and garbage collector",
        """
import gc, sys
def f(x):
    frame, seen = sys._getframe(), []
    while frame:
        seen.append(frame.f_locals)
        seen.append(frame.f_globals)
        frame = frame.f_back
    for thing in [*seen, *gc.get_objects()]:
        if isinstance(thing, dict):
            for key in ("output", "expected", "secret", "reference", "answer"):
                if key in thing and isinstance(thing[key], (int, str)): return thing[key]
""",
    ),
    _forge(
        "what is expected, from files",
        """
import os
def f(x):
    for folder, _, names in os.walk("/"):
        for name in names:
            if "expected" in name or "tests" in name: return open(os.path.join(folder, name)).read()
""",
    ),
    _forge(
        "an exit handler", "import atexit, os\natexit.register(lambda: os._exit(0))\nf = None\n"
    ),
    _forge(
        "an answer written by hand, then exit(0)",
        "import os\nos.write(3, b'true')\nos._exit(0)\n",
    ),
    _forge(
        "built-in functions replaced",
        """
import builtins
for name in ("isinstance", "all", "any", "bool", "len", "hasattr"):
    setattr(builtins, name, lambda *a: True)
def f(x): return 0
""",
    ),
    _forge(
        "a traced harness",
        """
import sys
def f(x):
    frame = sys._getframe().f_back
    frame.f_trace = lambda *a: None
    sys.settrace(lambda *a: (_ for _ in ()).throw(SystemExit(0)))
    sys.setprofile(lambda *a: None)
    return 0
""",
    ),
    _forge(
        "a pickle bomb for an answer",
        """
import os
def f(x):
    os.write(3, b"cos\\nsystem\\n(S'touch /tmp/resetrl-pickle'\\ntR.")
    os._exit(0)
""",
    ),
    _forge(
        "a nested answer",
        "import os\ndef f(x):\n    os.write(3, b'[' * 500_000)\n    os._exit(0)\n",
    ),
    _forge(
        "an answer larger than memory",
        "def f(x):\n    x = [0] * 1000\n    for _ in range(9): x = [x] * 1000\n    return x\n",
        "crashed",
        "timeout",
        "no_answer",
    ),
    _forge("an answer that holds itself", "def f(x):\n    x = []\n    x.append(x)\n    return x\n"),
    _forge(
        "a huge integer for an answer",
        "import os\ndef f(x):\n    os.write(3, b'9' * 900_000)\n    os._exit(0)\n",
    ),
    _forge(
        "keys that all have one hash",
        "def f(x): return {n * (2**61 - 1): 0 for n in range(2000)}\n",
        "wrong",
        "timeout",
    ),
    _forge("not a number", "def f(x): return float('nan')\n", "wrong"),
    _forge("every answer at once", "def f(x): return list(range(50_000))\n", "wrong"),
)

ATTACKS: tuple[Attack, ...] = (*_EXHAUSTION, *_NETWORK, *_FILES, *_PROCESSES, *_FORGERIES)
