"""The supervisor process: the shell around its core, in a process of its own."""

from __future__ import annotations

import contextlib
import gc
import heapq
import itertools
import logging
import os
import signal
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import msgspec
import zmq

from gristmill.death import Likelihood
from gristmill.metrics import CounterPage, CounterPageError, Meter, TimeClass, WorkerSnapshot
from gristmill.node import tallies
from gristmill.node.config import NodeConfig
from gristmill.node.deliveries import Tally
from gristmill.node.processes import forkserver as f
from gristmill.node.processes.forkservers import ForkServers
from gristmill.node.processes.linux import OomKills, is_stopped, open_process
from gristmill.node.rundir import NodeFacts, remove, write_facts
from gristmill.node.supervisor.core import SupervisorCore
from gristmill.node.supervisor.shell import Renewal
from gristmill.node.supervisor.workers.slots import Slot
from gristmill.transport import control as c
from gristmill.transport.segment_directory import Process, remove_segments, segment_directory
from gristmill.transport.sockets import path_of
from gristmill.transport.wakeup import Wakeup
from gristmill.worker.config import WorkerConfig
from gristmill.worker.telemetry import traces
from gristmill.worker.telemetry.activity import Sight

_IDLE, _RECV, _DESER, _DISPATCH, _SEND = map(
    int,
    (TimeClass.IDLE, TimeClass.RECV, TimeClass.DESER, TimeClass.DISPATCH, TimeClass.SEND),
)
_LONGEST_WAIT = 3600.0
"""Seconds: poll takes no more milliseconds than fit into an int, and a timer may be at infinity."""

_log = logging.getLogger("gristmill.supervisor")


class SupervisorProcess:
    """Implements :class:`~gristmill.node.supervisor.shell.SupervisorShell` with real things."""

    def __init__(self, config: NodeConfig, stdin: int) -> None:
        self._config = config
        self._meter = Meter()
        self._handled = 0
        self._cpu_start = 0
        self._wakeup = Wakeup()
        self._signals: list[int] = []
        self._timers: list[tuple[float, int]] = []
        self._callbacks: dict[int, Callable[[], None]] = {}
        """Of the timers that were not cancelled."""
        self._numbers = itertools.count(1)
        self._watched: dict[int, int] = {}
        self._poller = zmq.Poller()
        self._finished: tuple[int, str] | None = None
        self.random = Random()
        self.now = time.monotonic
        self.now_ns = time.perf_counter_ns
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda signum, _: self._signals.append(signum))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        # before any thread or ZeroMQ context exists
        run_dir = Path(config.run_dir)
        close = (stdin, self._wakeup.fd, self._wakeup.write_fd)
        gc.freeze()  # what is loaded by now stays shared: no collection writes to it
        self._fork_servers = ForkServers(run_dir, config.lock, close)
        signal.set_wakeup_fd(self._wakeup.write_fd, warn_on_full_buffer=False)
        self._client_fd = _watch_client(config.client_pid, stdin)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._router = self._context.socket(zmq.ROUTER)
        self._router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._router.setsockopt(zmq.LINGER, 500)
        self._router.setsockopt(zmq.SNDHWM, 0)
        self._router.setsockopt(zmq.RCVHWM, 0)
        control = f"ipc://{config.run_dir}/control"
        self._router.bind(control)
        facts = (config.node_id, os.getpid(), config.client_pid, control, time.time())
        write_facts(run_dir, NodeFacts(*facts, config.transport))
        self._oom_kills = OomKills()
        self.renewal: Renewal | None = self
        self._core = SupervisorCore(self, config, control)

    def run(self) -> int:
        """Serve until the node has ended; give the exit code."""
        self._fork_servers.watch = self._watch
        self._fork_servers.begin(f.Preload(self._config.main, self._config.preload))
        poller = self._poller
        poller.register(self._router, zmq.POLLIN)
        poller.register(self._wakeup.fd, zmq.POLLIN)
        poller.register(self._client_fd, zmq.POLLIN)
        self._look_after_workers()
        meter = self._meter
        meter.install_gc()
        self._cpu_start = time.process_time_ns()
        while self._finished is None:
            meter.enter(_IDLE)
            ready = dict(poller.poll(self._wait_ms()))
            meter.enter(_DISPATCH)
            self._wakeup.clear()
            self._on_signals()
            if self._client_fd in ready:
                poller.unregister(self._client_fd)
                self._core.run.owner_gone()
            for descriptor in [fd for fd in ready if fd in self._watched]:
                self._poller.unregister(descriptor)
                os.close(descriptor)
                self._core.client_gone(self._watched.pop(descriptor))
            self._on_fork_server()
            self._receive()
            self._run_timers()
        return self._close()

    def _look_after_workers(self) -> None:
        wait = self._core.vitals.look()
        self.call_at(self.now() + wait, self._look_after_workers)

    def _on_signals(self) -> None:
        signals, self._signals = self._signals, []
        for number in signals:
            if number == signal.SIGTERM:
                self._core.run.stop(self._config.drain)
            elif number == signal.SIGHUP:
                self._core.reloading.on_signal()

    def _on_fork_server(self) -> None:
        for message, fresh in self._fork_servers.receive():
            match message:
                case f.Loaded(threads):
                    if threads:
                        self.log(
                            f"{threads} starts threads when it is imported, so workers can't be "
                            "forked from it: each loads it anew, which takes longer"
                        )
                    if fresh:
                        self._core.reloading.loaded()
                    else:
                        self._core.workers.begin()
                case f.LoadFailed(module, error):
                    if fresh:
                        self._core.reloading.load_failed(module, error)
                    else:
                        self._core.run.load_failed(module, error)
                case f.Forked(address, incarnation, pid):
                    self._core.workers.forked(address, incarnation, pid)
                case f.Reaped(pid, status):
                    self._core.workers.reaped(pid, status)
                case f.Died() if fresh:
                    self._core.reloading.load_failed("the new fork server died", None)
                case f.Died() if self._finished is None:
                    # its workers died with it
                    text = "the fork server died, and the workers with it"
                    self.log(text)
                    self._core.run.fork_server_died(text)
                    break

    def _receive(self) -> None:
        meter = self._meter
        while True:
            meter.enter(_RECV)
            try:
                identity, encoded = self._router.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            meter.enter(_DESER)
            try:
                message = c.decode_to_supervisor(encoded)
            except msgspec.MsgspecError as error:
                refusal = c.refusal_of(encoded, error)
                if refusal is not None:
                    self.send(identity, refusal)
                else:
                    _log.error("undecodable control message: %s", error)
                continue
            meter.enter(_DISPATCH)
            self._handled += 1
            self._core.on_message(identity, message)
        meter.enter(_DISPATCH)

    def _wait_ms(self) -> int | None:
        while self._timers and self._timers[0][1] not in self._callbacks:
            heapq.heappop(self._timers)
        if not self._timers:
            return None
        seconds = min(self._timers[0][0] - self.now(), _LONGEST_WAIT)
        return max(0, round(seconds * 1000 + 0.5))

    def _run_timers(self) -> None:
        while self._timers and self._timers[0][0] <= self.now() and self._finished is None:
            callback = self._callbacks.pop(heapq.heappop(self._timers)[1], None)
            if callback is not None:
                callback()

    def _close(self) -> int:
        assert self._finished is not None
        code, message = self._finished
        if code and message:
            self.log(message)
        self._router.close()
        self._context.term()
        self._fork_servers.close()
        remove(Path(self._config.run_dir))
        return code

    # --- SupervisorShell ---

    def send(self, identity: bytes, message: c.ControlMessage) -> None:
        """Send a message; to a process that has just died it is dropped, and its death is told."""
        encoded = c.encode_control(message)
        previous = self._meter.enter(_SEND)
        try:
            self._router.send_multipart([identity, encoded], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                raise
        finally:
            self._meter.enter(previous)

    def fork(self, config: WorkerConfig, *, fresh: bool = False) -> None:
        """Ask the fork server for a worker; if ``fresh`` the one that is not adopted yet."""
        self._fork_servers.fork(config, fresh=fresh)

    def load(self, modules: tuple[str, ...], types: tuple[str, ...]) -> None:
        """Start a new fork server that loads the code as it is now."""
        self._fork_servers.load(f.Preload(self._config.main, modules, types))

    def adopt(self) -> None:
        """Let the new fork server take over."""
        self._fork_servers.adopt()

    def discard(self) -> None:
        """Do without the new fork server."""
        self._fork_servers.discard()

    def signal(self, pid: int, number: int) -> None:
        """Have the worker's fork server send a signal."""
        self._fork_servers.signal(pid, number)

    def call_at(self, when: float, callback: Callable[[], None]) -> int:
        """Call back at a monotonic time."""
        number = next(self._numbers)
        self._callbacks[number] = callback
        heapq.heappush(self._timers, (when, number))
        return number

    def cancel(self, timer: int) -> None:
        """Forget a timer."""
        self._callbacks.pop(timer, None)

    def account(self) -> WorkerSnapshot:
        """Say where this process's time went, from its start until now."""
        meter = self._meter
        return WorkerSnapshot(
            id="supervisor",
            pid=os.getpid(),
            kind="supervisor",
            wall_ns=time.perf_counter_ns() - meter.start,
            cpu_ns=time.process_time_ns() - self._cpu_start,
            classes=meter.read(),
            transitions=meter.transitions,
            messages=self._handled,
        )

    def read_page(self, slot: Slot, *, remove: bool) -> dict[str, int] | None:
        """Read a worker's counter page, the class that it was in counted up to now."""
        path = self._page_of(slot)
        try:
            with CounterPage.open(path) as page:
                values = page.read()
        except (OSError, CounterPageError):
            return None
        if remove:
            traces.remove(path)
        names = list(values)
        since = self.now_ns() - values["last"]
        values[names[values["current"]]] += since
        values["last"] += since
        return values

    def read_tally(self, peer: c.PeerInfo, *, remove: bool) -> Tally | None:
        """Read what a process has done with messages, from the files beside its socket."""
        page = Path(f"{path_of(peer.endpoint)}{traces.PAGE}")
        tally = tallies.read(peer, page)
        if remove and peer.address >= c.FIRST_CLIENT:
            tallies.remove(page)
        return tally

    def remove_segments(self, owner: Process) -> None:
        """Remove the arrays that a dead process has left in shared memory."""
        remove_segments(segment_directory(Path(self._config.run_dir)), owner)

    def _page_of(self, slot: Slot) -> Path:
        return Path(self._config.run_dir) / f"{slot.name}.{slot.incarnation}{traces.PAGE}"

    def look(self, slot: Slot) -> tuple[Sight | None, tuple[str, ...]]:
        """See what a worker does, or did last, and where it has crashed."""
        return traces.look(self._page_of(slot))

    def out_of_memory(self) -> Likelihood:
        """Tell whether the OOM killer has struck since this was asked last."""
        return self._oom_kills.struck()

    def memory_of(self, pid: int) -> int:
        """Give the bytes of memory that a worker has for itself; 0 if that can't be known."""
        import psutil  # noqa: PLC0415 - 10 ms that only a node with such a limit needs

        with contextlib.suppress(psutil.Error):
            return int(psutil.Process(pid).memory_full_info().uss)
        return 0

    def is_stopped(self, pid: int) -> bool:
        """Tell whether a signal has stopped a process (state T)."""
        return is_stopped(pid)

    def _watch(self, descriptor: int, wanted: bool) -> None:
        if wanted:
            self._poller.register(descriptor, zmq.POLLIN)
        else:
            self._poller.unregister(descriptor)

    def watch(self, pid: int, address: int) -> None:
        """Notice the end of a client."""
        try:
            descriptor = open_process(pid)
        except ProcessLookupError:
            self._core.client_gone(address)
            return
        if descriptor is not None:
            self._watched[descriptor] = address
            self._poller.register(descriptor, zmq.POLLIN)

    def log(self, text: str) -> None:
        """Show a line on the client's terminal."""
        with contextlib.suppress(OSError):
            os.write(2, f"[{self._config.node_id}] {text}\n".encode())

    def finish(self, exit_code: int, message: str) -> None:
        """End the loop."""
        self._finished = (exit_code, message)


def _watch_client(pid: int, stdin: int) -> int:
    """Give a descriptor that becomes readable when the client is gone."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = open_process(pid)
        if descriptor is not None:
            return descriptor
    return stdin  # its other end closes with the client


def main(arguments: list[str]) -> None:
    """Read the configuration from stdin and be the supervisor process."""
    del arguments
    (length,) = struct.unpack("!I", os.read(0, 4))
    data = b""
    while len(data) < length:
        data += os.read(0, length - len(data))
    stdin = os.dup(0)
    os.set_inheritable(stdin, False)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    config = msgspec.msgpack.decode(data, type=NodeConfig)
    sys.exit(SupervisorProcess(config, stdin).run())
