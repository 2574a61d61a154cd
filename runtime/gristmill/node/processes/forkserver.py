"""The fork server: a small process that has loaded everything and forks workers.

It is forked by the supervisor process before that has any thread or ZeroMQ context, loads the
user's modules, and then only forks, signals and reaps. It outlives the supervisor process by the
moment that it takes to kill the workers and to remove the run's directory.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import random
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType

import msgspec
import numpy.random  # numpy loads it when it is first used, which would cost every worker 14 ms

from gristmill.errors import ErrorData
from gristmill.importing import load_main, resolve
from gristmill.metrics import Calibration, calibrate
from gristmill.node.processes.linux import die_with_parent
from gristmill.node.processes.wire import FrameSocket
from gristmill.node.rundir import remove
from gristmill.transport.arrays import in_band  # noqa: F401 - workers have it loaded
from gristmill.transport.wakeup import Wakeup
from gristmill.worker.config import WorkerConfig
from gristmill.worker.process.worker_process import run_worker


class Preload(msgspec.Struct, frozen=True, tag=True):
    """What to load before the first fork."""

    main: str
    """The client's script, or empty."""
    modules: tuple[str, ...]
    types: tuple[str, ...] = ()
    """Import paths that must be there: those of the actors that are going to be started."""


class Fork(msgspec.Struct, frozen=True, tag=True):
    """Fork a worker."""

    config: WorkerConfig


class Signal(msgspec.Struct, frozen=True, tag=True):
    """Send a signal to a worker, unless it has ended."""

    pid: int
    number: int


class Leave(msgspec.Struct, frozen=True, tag=True):
    """End when the last worker has ended: another fork server has taken over."""


class Loaded(msgspec.Struct, frozen=True, tag=True):
    """Everything is loaded; ``threads`` names who started threads, so that forking is unsafe."""

    threads: str = ""


class LoadFailed(msgspec.Struct, frozen=True, tag=True):
    """A module could not be loaded."""

    module: str
    error: ErrorData


class Died(msgspec.Struct, frozen=True, tag=True):
    """The fork server is gone: what is made of its closed channel, and never sent."""


class Forked(msgspec.Struct, frozen=True, tag=True):
    """A worker lives."""

    address: int
    incarnation: int
    pid: int


class Reaped(msgspec.Struct, frozen=True, tag=True):
    """A worker has ended; ``status`` is its exit code, or minus the signal that ended it."""

    pid: int
    status: int


ToForkServer = Preload | Fork | Signal | Leave
FromForkServer = Loaded | LoadFailed | Forked | Reaped | Died

_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.Decoder(ToForkServer).decode
decode_from_fork_server = msgspec.msgpack.Decoder(FromForkServer).decode

_SERVE_CODE = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from gristmill.node.processes.forkserver import serve; serve(int(sys.argv[2]), sys.argv[3])"
)
_GC_THRESHOLDS = (10_000, 10, 10)
"""Python's own collect after 700 new objects, of which a worker has that many in a few messages.

They hold before the user's modules are loaded, so those can set others.
"""
SPAWN_CODE = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from gristmill.node.processes.forkserver import spawned_worker; spawned_worker(sys.argv[2:])"
)


class ForkServer:
    """Serves fork requests on a socket until its other end closes."""

    def __init__(self, channel: socket.socket, run_dir: Path) -> None:
        self._channel = FrameSocket(channel)
        self._run_dir = run_dir
        self._wakeup = Wakeup()
        self._workers: dict[int, subprocess.Popen[bytes] | None] = {}
        self._calibration = Calibration()
        self._main = ""
        self._modules: tuple[str, ...] = ()
        self._forkable = True
        self._leaving = False

    def serve(self) -> None:
        """Serve, then kill the workers and remove the run's directory."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wakeup.write_fd, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        poll.register(self._wakeup.fd, select.POLLIN)
        while self._channel.open and not (self._leaving and not self._workers):
            poll.poll()
            self._wakeup.clear()
            self._reap()
            for frame in self._channel.receive():
                self._on_request(_decode(frame))
        if self._channel.open:
            return
        for pid in self._workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in self._workers:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        if not self._leaving:  # else the run goes on without this fork server
            remove(self._run_dir)

    def _on_request(self, request: ToForkServer) -> None:
        match request:
            case Preload(main, modules, types):
                self._preload(main, modules, types)
            case Leave():
                self._leaving = True
            case Fork(config):
                pid = self._fork(config) if self._forkable else self._spawn(config)
                self._tell(Forked(config.address, config.incarnation, pid))
            case Signal(pid, number):
                if pid in self._workers:
                    os.kill(pid, number)

    def _tell(self, message: FromForkServer) -> None:
        self._channel.send(_encode(message))

    # --- load ---

    def _preload(self, main: str, modules: tuple[str, ...], types: tuple[str, ...]) -> None:
        self._main, self._modules = main, modules
        gc.set_threshold(*_GC_THRESHOLDS)
        culprit = _threads() and "gristmill"
        for module in ([main] if main else []) + list(modules):
            try:
                load_main(module) if module.endswith(".py") else importlib.import_module(module)
            except BaseException as error:  # even a sys.exit() on import goes to the client
                error.__traceback__ = _after_import(error.__traceback__)
                self._tell(LoadFailed(module, ErrorData.of(error)))
                return
            if not culprit and _threads():
                culprit = module
        for path in types:
            try:
                resolve(path)
            except Exception as error:  # it is not there any more, or its module fails
                error.__traceback__ = _after_import(error.__traceback__)
                self._tell(LoadFailed(path, ErrorData.of(error)))
                return
        if not culprit and _threads():
            culprit = "a module of an actor"
        self._forkable = not culprit
        self._calibration = calibrate()
        gc.collect()
        gc.freeze()
        self._tell(Loaded(culprit or ""))

    # --- fork ---

    def _fork(self, config: WorkerConfig) -> int:
        parent = os.getpid()
        pid = os.fork()
        if pid:
            self._workers[pid] = None
            return pid
        status = 1
        try:
            die_with_parent(parent)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._channel.close()
            self._wakeup.close()
            random.seed()
            numpy.random.seed()
            status = run_worker(config, self._calibration)
        except SystemExit as end:  # a handler ends its worker
            if end.code is not None and not isinstance(end.code, int):
                print(end.code, file=sys.stderr)
            status = end.code if isinstance(end.code, int) else end.code is not None
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _spawn(self, config: WorkerConfig) -> int:
        arguments = [_encode(config).hex(), str(os.getpid()), self._main, *self._modules]
        path = msgspec.json.encode(sys.path).decode()
        process = subprocess.Popen([sys.executable, "-c", SPAWN_CODE, path, *arguments])
        self._workers[process.pid] = process
        return process.pid

    def _reap(self) -> None:
        for pid in list(self._workers):
            try:
                found, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                found, status = pid, 0
            if found:
                process = self._workers.pop(pid)
                code = os.waitstatus_to_exitcode(status)
                if process is not None:
                    process.returncode = code  # reaped here, so Popen must not wait for it
                self._tell(Reaped(pid, code))


def _after_import(trace: TracebackType | None) -> TracebackType | None:
    """Leave out the frames of the import machinery, which tell users nothing."""
    machinery = (__name__, load_main.__module__, "importlib")
    while trace is not None and str(trace.tb_frame.f_globals["__name__"]).startswith(machinery):
        trace = trace.tb_next
    return trace


def spawned_worker(arguments: list[str]) -> None:
    """Be a worker in a fresh interpreter, where forking is unsafe."""
    config, parent, main, *modules = arguments
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(int(parent))
    gc.set_threshold(*_GC_THRESHOLDS)
    if main:
        load_main(main)
    for module in modules:
        importlib.import_module(module)
    worker = msgspec.msgpack.decode(bytes.fromhex(config), type=WorkerConfig)
    sys.exit(run_worker(worker, calibrate()))


def _threads() -> bool:
    """Tell whether this process has more than one thread, Python's or a library's."""
    task = Path("/proc/self/task")
    if task.is_dir():
        return len(list(task.iterdir())) > 1
    import threading  # noqa: PLC0415 - only where there is no /proc

    return threading.active_count() > 1


def launch(run_dir: Path, lock: int) -> tuple[FrameSocket, int, subprocess.Popen[bytes]]:
    """Start a fork server in a fresh interpreter; give the socket to it, its pid and the process.

    Args:
        run_dir: the run's directory, removed by the fork server if the supervisor process dies.
        lock: descriptor of the directory's lock, for it to inherit.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        path = msgspec.json.encode(sys.path).decode()
        arguments = [path, str(theirs.fileno()), str(run_dir)]
        descriptors = (theirs.fileno(), lock)
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVE_CODE, *arguments], pass_fds=descriptors
        )
    return FrameSocket(ours), process.pid, process


def serve(channel: int, run_dir: str) -> None:
    """Be a fork server in a fresh interpreter."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    ForkServer(socket.socket(fileno=channel), Path(run_dir)).serve()


def start(run_dir: Path, close: tuple[int, ...]) -> tuple[FrameSocket, int]:
    """Fork a fork server; give the socket to it and its pid.

    Args:
        run_dir: the run's directory, removed by the fork server at the end.
        close: descriptors of this process that it must not keep.
    """
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid:
        theirs.close()
        return FrameSocket(ours), pid
    try:
        ours.close()
        for descriptor in close:
            os.close(descriptor)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        ForkServer(theirs, run_dir).serve()
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)
