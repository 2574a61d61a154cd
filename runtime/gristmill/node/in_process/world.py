"""``Node(in_process=True)``: the whole node in the client's own process, for debugging.

The same supervisor core and worker cores as in separate processes, driven by one loop. There is
no process, no thread and no socket: whatever waits for an answer runs the loop until it has it, so
a handler runs in the thread of the caller, and ``breakpoint()`` in it works. Bodies are still
encoded and decoded. Time passes for the actors while the client is inside a call of the node.
"""

from __future__ import annotations

import asyncio
import importlib
import itertools
import selectors
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random, SystemRandom
from typing import NamedTuple

import msgspec

from gristmill.behaviours.actor_host import Timer
from gristmill.death import Likelihood
from gristmill.errors import ErrorData
from gristmill.metrics import Calibration, TimeClass, WorkerSnapshot, calibrate
from gristmill.metrics.wires import Wires
from gristmill.node.client.sending import ControlSide
from gristmill.node.config import NodeConfig
from gristmill.node.deliveries import Tally
from gristmill.node.in_process.client import CLIENT, LocalPost
from gristmill.node.in_process.worker import LocalWorker, LoopbackPlane
from gristmill.node.supervisor.core import SupervisorCore
from gristmill.node.supervisor.shell import Renewal
from gristmill.node.supervisor.workers.slots import Slot
from gristmill.node.tallies import tally_of
from gristmill.transport import control as c
from gristmill.transport.segment_directory import Process, remove_segments, segment_directory
from gristmill.worker.config import WorkerConfig
from gristmill.worker.process.loop import LoopTimer
from gristmill.worker.telemetry import counters
from gristmill.worker.telemetry.activity import Sight

_IDLE = int(TimeClass.IDLE)
_SUPERVISOR = b"supervisor"
_FIRST_PID = 1 << 30
"""Above every real process id, so that a signal to one of ours reaches nobody."""
_SLICE = 0.01
"""Seconds after which a thread that waits lets another one run the loop."""


class Sources(NamedTuple):
    """Where a node in one process has time and randomness from."""

    now: Callable[[], float]
    """Monotonic seconds."""
    now_ns: Callable[[], int]
    """The clock of the accounting."""
    wall_time: Callable[[], float]
    random: Random
    calibration: Calibration
    """What a reading of the accounting's clock costs."""


def real_sources() -> Sources:
    """Give this machine's clocks and randomness; takes about 2 ms."""
    random = SystemRandom()
    return Sources(time.monotonic, time.perf_counter_ns, time.time, random, calibrate())


class LocalWorld:
    """Supervisor and workers on one loop; implements the supervisor core's shell.

    Args:
        config: how the node is started.
        sources: its clocks and its randomness.
    """

    def __init__(self, config: NodeConfig, sources: Sources) -> None:
        self._config = config
        self._lock = threading.RLock()
        self._runner = 0
        """The thread that runs the loop now."""
        self._work: deque[Callable[[], None]] = deque()
        self._pids = itertools.count(_FIRST_PID)
        self._timers: dict[int, Timer] = {}
        self._numbers = itertools.count(1)
        self._last_pages: dict[str, dict[str, int]] = {}
        self._last_tallies: dict[int, tuple[dict[str, int], Wires]] = {}
        self._post: LocalPost | None = None
        self.now, self.now_ns, self.wall_time, self.random, self.calibration = sources
        self.renewal: Renewal | None = None
        self.loop = self._new_loop()
        self.workers: dict[int, LocalWorker] = {}
        self.planes: dict[int, LoopbackPlane] = {}
        self.to_client: Callable[[bytes], None] | None = None
        self.exit_code: int | None = None
        self._failure: Exception | None = None
        self.core = SupervisorCore(self, config, "in-process")

    def _new_loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.SelectorEventLoop(_IdleSelector(self))

    def _new_worker(self, config: WorkerConfig, pid: int) -> LocalWorker:
        return LocalWorker(self, config, pid, self.loop, self.random)

    def new_plane(self, address: int, incarnation: int) -> LoopbackPlane:
        """Make the data plane of a party."""
        return LoopbackPlane(self, address, incarnation)

    def new_post(self, plane: LoopbackPlane, control: ControlSide) -> LocalPost:
        """Make the post of the client."""
        self._post = LocalPost(plane, control, Path(self._config.run_dir))
        return self._post

    def begin(self) -> None:
        """Import what is to be preloaded, and start the workers."""
        for module in self._config.preload:
            try:
                importlib.import_module(module)
            except Exception as error:  # whatever the user's module raises
                self.core.run.load_failed(module, ErrorData.of(error))
                return
        self.core.workers.begin()

    # --- running ---

    @property
    def inside(self) -> bool:
        """Whether the caller is a handler, or something else that the loop runs."""
        return self._runner == threading.get_ident()

    @property
    def pending(self) -> bool:
        """Whether something waits to be handled."""
        return bool(self._work)

    def submit(self, work: Callable[[], None], lane: object = None) -> None:
        """Do something in turn; from any thread.

        Work of one lane must keep its order, whoever drives the node; here all work does.
        """
        del lane
        self._work.append(work)
        if self._runner:
            self.loop.call_soon_threadsafe(self._drain)

    def run(self, done: Callable[[], bool], timeout: float | None) -> bool:
        """Run the node in this thread until ``done`` holds, ``timeout`` seconds at most."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._lock:
                if self.loop.is_closed() or self.inside:
                    return done()
                self._step(0.0)
                remaining = _SLICE if deadline is None else deadline - time.monotonic()
                if done() or remaining <= 0:
                    return done()
                self._step(min(remaining, _SLICE))

    def settle(self) -> None:
        """Handle what waits, unless the caller is handled itself."""
        if not self.inside:
            self.run(lambda: not self._work, 0)

    def _step(self, seconds: float) -> None:
        if _loop_runs_here():  # a client's own, which waits in a plain call as notebooks do
            thread = threading.Thread(target=self._run_loop, args=(seconds,))
            thread.start()
            thread.join()
        else:
            self._run_loop(seconds)
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _run_loop(self, seconds: float) -> None:
        self._runner = threading.get_ident()
        try:
            self.loop.call_soon(self._drain)
            stop = self.loop.call_later(seconds, self.loop.stop)
            self.loop.run_forever()
            stop.cancel()
        finally:
            self._runner = 0

    def _drain(self) -> None:
        self.loop.stop()
        try:
            while self._work:
                self._work.popleft()()
        except Exception as error:  # the loop would log it and go on; a debugger wants it
            self._failure = error

    # --- what the workers and the client say ---

    def deliver(self, address: int, frame: bytes) -> None:
        """Bring a frame to whom it is for; one for a party that has gone is lost."""
        worker = self.workers.get(address)
        if worker is not None:
            self.submit(partial(worker.receive, frame))
        elif address in self.planes:
            self.planes[address].inbox.append(frame)

    def to_supervisor(self, identity: bytes, message: c.ControlMessage) -> None:
        """Give the supervisor a message."""
        encoded = c.encode_control(message)
        try:
            decoded = c.decode_to_supervisor(encoded)
        except msgspec.MsgspecError as error:
            refusal = c.refusal_of(encoded, error)
            if refusal is None:
                raise
            self.send(identity, refusal)
            return
        self.submit(partial(self.core.on_message, identity, decoded), (identity, _SUPERVISOR))

    def ended(self, worker: LocalWorker, status: int) -> None:
        """A worker has ended."""
        if self.workers.get(worker.address) is worker:
            del self.workers[worker.address]
            self._last_pages[worker.name] = worker.page()
            self._last_tallies[worker.address] = (worker.counted(), worker.wires)
            worker.close()
            self.submit(partial(self.core.workers.reaped, worker.pid, status))

    # --- SupervisorShell ---

    def send(self, identity: bytes, message: c.ControlMessage) -> None:
        """Send a message to a worker or to the client."""
        encoded = c.encode_control(message)
        if identity == CLIENT:
            if self.to_client is not None:
                self.submit(partial(self.to_client, encoded), (_SUPERVISOR, identity))
            return
        for worker in self.workers.values():
            if worker.identity == identity:
                self.submit(partial(worker.on_control, encoded), (_SUPERVISOR, identity))

    def fork(self, config: WorkerConfig, *, fresh: bool = False) -> None:
        """Make a worker."""
        del fresh
        self.submit(partial(self._make, config))

    def _make(self, config: WorkerConfig) -> None:
        pid = next(self._pids)
        self.core.workers.forked(config.address, config.incarnation, pid)
        try:
            worker = self._new_worker(config, pid)
        except Exception as error:  # whatever prevents the start is told to the supervisor
            failed = c.WorkerFailed(config.address, ErrorData.of(error))
            self.core.on_message(b"", failed)
            self.submit(partial(self.core.workers.reaped, pid, 1))
            return
        self.workers[config.address] = worker
        peer = c.PeerInfo(config.address, config.incarnation, "in-process", config.name)
        worker.connect(peer)
        worker.meter.switch(_IDLE)
        self.to_supervisor(worker.identity, c.WorkerReady(peer, pid))

    def signal(self, pid: int, number: int) -> None:
        """End a worker at once."""
        for worker in list(self.workers.values()):
            if worker.pid == pid:
                self.ended(worker, -number)

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call back after ``delay`` seconds."""
        return LoopTimer(self.loop.call_later(delay, self._due, callback))

    def _due(self, callback: Callable[[], None]) -> None:
        self.submit(callback)

    def call_at(self, when: float, callback: Callable[[], None]) -> int:
        """Call back at a monotonic time; give a number to cancel it."""
        number = next(self._numbers)

        def fire() -> None:
            if self._timers.pop(number, None) is not None:
                callback()

        self._timers[number] = self.call_later(max(0.0, when - self.now()), fire)
        return number

    def cancel(self, timer: int) -> None:
        """Forget a timer."""
        armed = self._timers.pop(timer, None)
        if armed is not None:
            armed.cancel()

    def account(self) -> WorkerSnapshot | None:
        """Give nothing: the supervisor's time is that of whoever runs the loop."""

    def read_page(self, slot: Slot, *, remove: bool) -> dict[str, int] | None:
        """Give what a worker process would keep in its counter page."""
        if remove:
            return self._last_pages.pop(slot.name, None)
        worker = self.workers.get(slot.address)
        return worker.page() if worker is not None else None

    def read_tally(self, peer: c.PeerInfo, *, remove: bool) -> Tally | None:
        """Give what a party has counted, or counted last."""
        worker = self.workers.get(peer.address)
        if worker is not None and not remove:
            counted, wires = worker.counted(), worker.wires
        elif peer.address in self._last_tallies:
            take = self._last_tallies.pop if remove else self._last_tallies.__getitem__
            counted, wires = take(peer.address)
        elif self._post is not None and peer.address >= c.FIRST_CLIENT:
            counted = counters.by_name(self._post.counters)
            wires = self._post.plane.wires
        else:
            return None
        return tally_of(peer, counted, wires.read())

    def remove_segments(self, owner: Process) -> None:
        """Remove the arrays that a worker has left in shared memory."""
        remove_segments(segment_directory(Path(self._config.run_dir)), owner)

    def look(self, slot: Slot) -> tuple[Sight | None, tuple[str, ...]]:
        """See what a worker does."""
        worker = self.workers.get(slot.address)
        return (worker.core.showing.activity.sight() if worker is not None else None), ()

    def out_of_memory(self) -> Likelihood:
        """Deny it: no worker can die of it alone."""
        return "no"

    def memory_of(self, pid: int) -> int:
        """Deny it: its memory is this process's."""
        del pid
        return 0

    def is_stopped(self, pid: int) -> bool:
        """Deny it: they stop with this process."""
        del pid
        return False

    def watch(self, pid: int, address: int) -> None:
        """Do nothing: the only client is this process."""

    def log(self, text: str) -> None:
        """Show a line."""
        print(f"[{self._config.node_id}] {text}", file=sys.stderr)

    def finish(self, exit_code: int, message: str) -> None:
        """Note the end; the client has been told."""
        del message
        self.exit_code = exit_code

    def close(self) -> None:
        """Stop what still runs and close the loop."""
        with self._lock:
            for worker in list(self.workers.values()):
                worker.close()
            self.workers.clear()
            self._work.clear()
            tasks = [] if self.loop.is_closed() else asyncio.all_tasks(self.loop)
            for task in tasks:
                task.cancel()
            if tasks:
                self._step(0.0)  # lets handlers leave
            self.loop.close()


def _loop_runs_here() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class _IdleSelector(selectors.DefaultSelector):
    """Tells the meters when the loop blocks."""

    def __init__(self, world: LocalWorld) -> None:
        super().__init__()
        self._world = world

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for descriptors; the wait is accounted as idle."""
        for worker in self._world.workers.values():
            worker.meter.switch(_IDLE)
        return super().select(timeout)
