"""A process that has everything imported and forks: what it forks starts at once, and starts clean.

It is a Python of its own that only imports: no engine, no event loop, nothing of the caller's memory, so there is
nothing to share or to lock at a fork. It ends with its caller, however that ends, and takes with it what it forked.
"""

import ast
import atexit
import gc
import json
import os
import random
import select
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from socket import SOCK_STREAM, socket, socketpair
from threading import Lock
from typing import NamedTuple, NoReturn

SPAWN = "WINBACK_SPAWN"  # set to anything: kernels are started, never forked
KERNEL = ("ipykernel.kernelapp", "ipykernel.ipkernel")
# What a notebook imports: what is worth having before it does. Importing these starts nothing.
# Not matplotlib_inline: it must find a kernel when it is imported, else no figure is shown.
WORTH = {
    "experiments": (
        "duckdb", "pandas", "pydantic", "scipy.special", "scipy.stats", "seaborn", "statsmodels.api",
        "statsmodels.genmod.families.links", "matplotlib.pyplot", "matplotlib.backends.backend_svg",
        "experiments.lost.find", "experiments.design.design", "experiments.readout.drivers",
        "experiments.readout.readout", "experiments.report.compare", "experiments.report.design",
        "experiments.report.lost", "experiments.report.readout", "experiments.report.sweep",
    ),
    "duckdb": ("duckdb",),
    "matplotlib": ("matplotlib.pyplot",),
    "numpy": ("numpy",),
    "pandas": ("pandas",),
    "scipy": ("scipy.stats",),
    "seaborn": ("seaborn", "matplotlib.pyplot"),
    "statsmodels": ("statsmodels.api",),
}  # fmt: skip
BEGIN = (  # without the folder one stands in, where a module may hide one of ours
    "import sys; sys.path = [path for path in sys.path if path]; from experiments.runner.fork_server import main; "
    "main(*sys.argv[1:])"
)
# Matrices here are small: more threads only wait for each other, at twice the CPU time, most of all with two kernels at
# once. And with none there is none to share at a fork.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
LENGTH = 4  # bytes that tell how long a request is
KILLED = -9  # what a process ends with when nobody can say


def worth_importing(sources: Iterable[str]) -> tuple[str, ...]:
    """Return the modules to import before a notebook with these cells runs.

    >>> worth_importing(["import numpy as np", "%magic", "from pandas import DataFrame"])
    ('numpy', 'pandas')
    """
    modules: dict[str, None] = {}
    for source in sources:
        with suppress(SyntaxError):  # a magic; it imports when it runs
            for node in ast.walk(ast.parse(source)):
                names = [name.name for name in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                packages = [name.partition(".")[0] for name in names]
                modules |= dict.fromkeys(module for package in packages for module in WORTH.get(package, ()))
    return tuple(modules)


# ---- the caller's side


class Forked:
    """A forked process, with as much of subprocess.Popen as the start of a kernel needs."""

    stdin = stdout = stderr = None

    def __init__(self, pipe: int) -> None:
        self._pipe = os.fdopen(pipe, "rb", buffering=0)  # its pid, and when it ended, its exit code
        self.returncode: int | None = None
        line = self._pipe.readline()
        if not line:
            self._pipe.close()
            raise ChildProcessError("The process that forks has ended.")
        self.pid = int(line)

    def poll(self) -> int | None:
        """Return its exit code; None while it runs."""
        if self.returncode is None and select.select([self._pipe], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self) -> int:
        """Wait for its end and return its exit code."""
        if self.returncode is None:
            self.returncode = int(self._pipe.readline() or KILLED)
            self._pipe.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to the process while it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it now."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)


class Preloaded:
    """The process that forks, seen from its caller; safe to use from several threads."""

    def __init__(self, modules: Sequence[str]) -> None:
        self._socket, theirs = socketpair(type=SOCK_STREAM)
        self._lock, self._asked = Lock(), False
        with theirs:
            command = [sys.executable, "-c", BEGIN, str(theirs.fileno()), *modules]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
                                             env=ONE_THREAD | os.environ, start_new_session=True)  # fmt: skip

    def fork(self, argv: Sequence[str], *, env: Mapping[str, str], cwd: str) -> Forked:
        """Fork a kernel that sees these arguments, this environment and this folder. ChildProcessError if it cannot."""
        from socket import send_fds

        request = json.dumps({"argv": list(argv), "env": dict(env), "cwd": cwd}).encode("ascii")
        pipe, its_end = os.pipe()
        try:
            with self._lock, suppress(ConnectionError):  # it is gone: Forked tells
                self._asked = True
                send_fds(self._socket, [len(request).to_bytes(LENGTH, "big")], [its_end])
                self._socket.sendall(request)
        finally:
            os.close(its_end)
        return Forked(pipe)

    def close(self) -> None:
        """End it and all that it forked."""
        self._socket.close()
        if not self._asked:  # it may still import, and has forked nothing
            self._process.kill()
        self._process.wait()


class _Shared:
    """The one process that forks, and how many blocks of `preloaded` are open on it, in whatever thread."""

    def __init__(self) -> None:
        self.process: Preloaded | None = None
        self.users, self.lock = 0, Lock()


_shared = _Shared()


def current() -> Preloaded | None:
    """Return the process that forks; None where there is none, and kernels are started."""
    return _shared.process


@contextmanager
def preloaded(modules: Sequence[str]) -> Iterator[None]:
    """Keep a process that forks while this is open; within or beside another such block nothing new is started."""
    if not hasattr(os, "fork") or os.environ.get(SPAWN):
        yield
        return
    with _shared.lock:
        if _shared.process is None:
            _shared.process = Preloaded((*KERNEL, *modules))
        _shared.users += 1
    try:
        yield
    finally:
        with _shared.lock:
            _shared.users -= 1
            if _shared.users == 0 and _shared.process is not None:
                _shared.process.close()
                _shared.process = None


# ---- its own side


class _Request(NamedTuple):
    """What to become: arguments, environment, folder, and the pipe for its pid and its end."""

    argv: list[str]
    env: dict[str, str]
    cwd: str
    pipe: int


def main(number: str, *modules: str) -> None:
    """Import the modules, then fork for every request that comes through the socket of this number."""
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")  # as a kernel does, but before
    for module in modules:
        with suppress(ImportError):  # the notebook will tell
            import_module(module)
    gc.collect()
    gc.freeze()  # else the first collection in a fork copies all memory
    _become(_serve(socket(fileno=int(number))))


def _serve(requests: socket) -> _Request:
    """Fork for every request. Returns in the forks only; ends, with all of them, when the caller is gone."""
    running: dict[int, int] = {}  # pid: the pipe to tell its end
    woken, wake = socketpair()
    for end in (woken, wake):
        end.setblocking(False)  # noqa: FBT003  # a socket has no other way
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno())
    while True:
        ready, _, _ = select.select([requests, woken], [], [])
        if woken in ready:
            woken.recv(1024)
            _report_ends(running)
        if requests in ready:
            request = _receive(requests)
            if request is None:
                _end_all(running)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # a library's idle thread is no reason to warn
                pid = os.fork()
            if pid == 0:
                return request
            running[pid] = request.pipe


def _receive(requests: socket) -> _Request | None:
    """Return the next request; None when the caller is gone."""
    from socket import recv_fds

    with suppress(ConnectionError):
        head, pipes, *_ = recv_fds(requests, LENGTH, 1)
        if head:
            left, body = int.from_bytes(head, "big"), b""
            while part := requests.recv(left - len(body)):
                body += part
            return _Request(**json.loads(body), pipe=pipes[0])
    return None


def _report_ends(running: dict[int, int]) -> None:
    for pid in list(running):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            pipe = running.pop(pid)
            with suppress(BrokenPipeError):
                os.write(pipe, b"%d\n" % os.waitstatus_to_exitcode(status))
            os.close(pipe)


def _end_all(running: Iterable[int]) -> NoReturn:
    for pid in running:
        for kill in (os.killpg, os.kill):  # the group of a fork is its own, once it has one
            with suppress(ProcessLookupError):
                kill(pid, signal.SIGKILL)
    os._exit(0)


def _become(request: _Request) -> None:
    """Turn this fork into the kernel that a new Python with these arguments would be."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()  # signals for the kernel reach what it starts, and nothing else
    os.write(request.pipe, b"%d\n" % os.getpid())
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.environ.clear()
    os.environ.update(request.env, JPY_PARENT_PID=str(os.getppid()))
    os.chdir(request.cwd)
    launcher = find_spec(request.argv[0])
    sys.argv = [str(launcher and launcher.origin), *request.argv[1:]]
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    atexit.register(gc.unfreeze)  # else what was frozen looks like a leak
    import_module("ipykernel.kernelapp").launch_new_instance()
