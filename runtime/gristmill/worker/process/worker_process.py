"""The process around a worker's core: sockets, clock, event loop, signals."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

import zmq

from gristmill.behaviours.actor_host import Timer
from gristmill.death import LAST_WORDS_SECONDS
from gristmill.durability import JournalStore
from gristmill.errors import ErrorData
from gristmill.metrics import Calibration, CounterPage, TimeClass
from gristmill.metrics.wires import Wires
from gristmill.transport.control import (
    ControlMessage,
    PeerInfo,
    Terminating,
    WorkerFailed,
    WorkerReady,
)
from gristmill.transport.control_link import ControlLink
from gristmill.transport.data import DataPlane, NoticeSender
from gristmill.transport.envelope import NOTICE, SWITCH, is_lone_ask, pack
from gristmill.transport.exchange import ArrayExchange
from gristmill.transport.sockets import open_sockets
from gristmill.worker.config import WorkerConfig
from gristmill.worker.handover.succession import Succession
from gristmill.worker.process.journal import open_slot
from gristmill.worker.process.loop import LoopTimer, MeteredSelector
from gristmill.worker.process.outlet import Outlet
from gristmill.worker.process.output import WorkerOutput
from gristmill.worker.telemetry import counters
from gristmill.worker.telemetry.accounting import Accounting
from gristmill.worker.telemetry.activity import Activity
from gristmill.worker.telemetry.duties import Duties
from gristmill.worker.telemetry.traces import ACTIVITY, STACKS, WIRES, write_stacks
from gristmill.worker.turns.tracing import Parts

_IDLE, _ASK_WAIT, _IO_WAIT, _POLL, _RECV, _DISPATCH = map(
    int,
    (
        TimeClass.IDLE,
        TimeClass.ASK_WAIT,
        TimeClass.IO_WAIT,
        TimeClass.POLL,
        TimeClass.RECV,
        TimeClass.DISPATCH,
    ),
)
_SWITCH = pack((SWITCH,))
_FRAMES_A_TURN = 64
_SMALL_FRAME = 400
"""Bytes of a frame with so few messages that waiting for more would cost more than it saves."""
_CONVERSE_NS = 5_000_000
_SOON = 0.001
"""Seconds in which somebody who was answered may ask the next thing."""
_PIPE_FRAMES = 10_000
"""Frames to look at for those of a dead process: more than wait in the pipe."""


class WorkerProcess:
    """Drives a worker's core; implements :class:`~gristmill.worker.shell.Shell`."""

    def __init__(self, config: WorkerConfig, calibration: Calibration) -> None:
        self.config = config
        self.address = config.address
        self.incarnation = config.incarnation
        self.name = config.name
        self.node_id = config.node_id
        self.random: Random = SystemRandom()
        self.now = time.monotonic
        self.wall_time = time.time
        self.sleep = asyncio.sleep
        parts = Parts.of(config, calibration.probe_ns or 0)
        self.meter = parts.meter
        self.pid = os.getpid()
        page = page_path(config)
        counted = CounterPage.create(page, counters.NAMES)
        self.counters: counters.Cells = counted.counters
        self.wires = Wires(page.with_suffix(WIRES))
        activity = Activity.create(page.with_suffix(ACTIVITY))
        self._stacks = write_stacks(page.with_suffix(STACKS))
        self._turn_requested = False
        self._context = copy_context()
        """What turns run in, and not in that of the handler that has asked for one."""
        self._exiting = False
        self._status = 0
        self._selector = MeteredSelector(self)
        self.loop = asyncio.SelectorEventLoop(self._selector)
        asyncio.set_event_loop(self.loop)
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        path = f"{config.run_dir}/{config.name}.{config.incarnation}"
        self.plane = DataPlane(
            open_sockets(config.transport, self.context, path),
            config.address,
            config.incarnation,
            self.wires,
            parts.outbound,
        )
        self.post = self.plane.post
        self.outbound = self.plane.outbound
        self.arrays = ArrayExchange.of(config.run_dir, config.address, config.incarnation)
        self.waiting = self.plane.waiting
        self.disconnect = self.plane.disconnect
        self.close_moved = self.plane.close_moved
        self._notices = NoticeSender(self.plane)
        self._control = ControlLink(self.context, config.control, self._on_control)
        self.control = self._control.send
        own = config.journal and not config.arriving
        store = open_slot(config, threaded=True) if own else None
        self.core = parts.core(
            self, self.meter, store, config.channels, activity, governs=config.governor
        )
        self.accounting = Accounting(config.name, counted, self.meter, self.core, self.control)
        self.lone_turns = self.accounting.lone_turns
        self._outlet = Outlet(self.core, self.plane, self.arrays, self.accounting, self.loop, store)
        self.flush = self._outlet.flush
        self.flush_midway = self._outlet.flush_midway
        self.send_now = self._outlet.send_now
        self._duties = Duties(self.core, self.accounting, self.loop.call_later)
        self.core.succession = Succession(self.core, self, arriving=config.arriving)
        for key in config.expected:
            self.core.lifecycle.expect(key)
        self._output = WorkerOutput(config.name, self._speaker, activity.keep)

    def _speaker(self) -> str:
        origin = self.core.sending.origin
        return origin.label if origin is not None else ""

    # --- the loop ---

    def run(self) -> int:
        """Serve until told to exit; give the exit status."""
        self.meter.install_gc()
        self._control.start()
        self.loop.add_reader(self.plane.fd, self._drain)
        self.loop.add_signal_handler(signal.SIGTERM, self._terminate)
        self.loop.call_soon(self._drain)
        peer = PeerInfo(self.address, self.incarnation, self.plane.endpoint, self.name)
        self.accounting.begin()
        self.meter.switch(_POLL)
        self.control(WorkerReady(peer, self.pid))
        try:
            self.loop.run_forever()
        finally:
            self._close()
        return self._status

    def _drain(self) -> None:
        """Take in what has arrived and handle it."""
        try:
            self._take_in()
        except BaseException:
            self.loop.call_soon(self._drain)  # the descriptor is edge-triggered: come back
            raise

    def _take_in(self) -> None:
        if self._duties.resting:
            self._duties.begin()
        meter, plane = self.meter, self.plane
        meter.switch(_RECV)
        frame = self._converse(plane.take())
        room = _FRAMES_A_TURN
        while frame is not None:
            meter.switch(_DISPATCH)
            self.core.inlet.take_in(self.core.intake.read(frame))
            room -= 1
            if not room:
                self.loop.call_soon(self._drain)  # the descriptor is edge-triggered
                break
            meter.switch(_RECV)
            frame = plane.receive()
        self._turn()

    def _converse(self, frame: bytes | None) -> bytes | None:
        """Handle small frames and lone asks as they come; give the first that is something else.

        Who asks one thing after another is answered sooner from here than by way of the loop,
        which has nothing to do meanwhile, and is kept waiting a few milliseconds at most.
        """
        meter, core = self.meter, self.core
        until = meter.last + _CONVERSE_NS
        while frame is not None and meter.last < until:
            meter.switch(_DISPATCH)
            envelopes = core.intake.read(frame)
            if len(frame) > _SMALL_FRAME and not is_lone_ask(envelopes):
                core.inlet.take_in(envelopes)
                meter.switch(_RECV)
                return self.plane.receive()
            core.inlet.take_in_alone(envelopes)
            elsewhere = core.waiting.count or core.parking.parked
            if elsewhere or self._turn_requested or self._exiting:
                meter.switch(_RECV)
                return self.plane.receive()
            meter.switch(_IDLE)
            self.lone_turns.sleep()
            frame = self.plane.receive_within(_SOON, expected=True)
            self.lone_turns.wake()
        meter.switch(_RECV)
        return frame

    def _requested_turn(self) -> None:
        if self._duties.resting:
            self._duties.begin()
        self._turn_requested = False
        self._turn()

    def _turn(self) -> None:
        if self.meter.current != _DISPATCH:
            self.meter.switch(_DISPATCH)
        self.core.turn()
        self.meter.switch(_POLL)
        if self._exiting:
            self.loop.stop()

    def _on_control(self, encoded: bytes) -> None:
        # on the control thread: hand it to the loop in the order of arrival
        self._notices.send(pack([NOTICE, encoded]))

    def _terminate(self) -> None:
        """SIGTERM has come; if it came to the whole node this worker goes on until it is told."""
        self.control(Terminating(self.address, self.incarnation))

    def _close(self) -> None:
        self.flush()
        self.core.records.close()
        self.flush()
        self.accounting.write()
        self.report_metrics()
        self._control.close()
        self.plane.close()
        self._notices.close()
        if self._outlet.store is not None:
            self._outlet.store.close()
        self._output.finish()
        self.context.term()

    # --- Shell ---

    def request_turn(self) -> None:
        """Take a turn soon."""
        if not self._turn_requested:
            self._turn_requested = True
            self.loop.call_soon(self._requested_turn, context=self._context)

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call back after ``delay`` seconds, then take a turn."""

        def fire() -> None:
            self.meter.switch(_DISPATCH)
            callback()
            self.meter.switch(_POLL)
            self.request_turn()  # timers that are due together share a turn

        return LoopTimer(self.loop.call_later(delay, fire))

    def from_thread(self, callback: Callable[[], None]) -> None:
        """Call back on the loop soon, then take a turn; from any thread."""

        def call() -> None:
            self.meter.switch(_DISPATCH)
            callback()
            self.meter.switch(_POLL)
            self.request_turn()

        with suppress(RuntimeError):  # the loop has been closed
            self.loop.call_soon_threadsafe(call)

    def when_drained(self, callback: Callable[[], None]) -> None:
        """Let what a dead process has left in the pipe come in, read it all, and call back."""
        self.call_later(LAST_WORDS_SECONDS, partial(self._read_all, callback))

    def when_arrived(self, callback: Callable[[], None]) -> None:
        """Read all that is in the pipe, and call back."""
        self.call_later(0.0, partial(self._read_all, callback))

    def _read_all(self, then: Callable[[], None]) -> None:
        for _ in range(_PIPE_FRAMES):
            frame = self.plane.receive()
            if frame is None:
                break
            self.core.inlet.take_in(self.core.intake.read(frame))
        then()

    def create_task(
        self, coroutine: Coroutine[Any, Any, None], *, context: Context | None = None
    ) -> asyncio.Task[None]:
        """Run a coroutine on the loop, in a copy of the present context if none is given."""
        return self.loop.create_task(coroutine, context=context)

    def create_future(self) -> asyncio.Future[Any]:
        """Make a future of the loop."""
        return self.loop.create_future()

    def heard(self, news: int) -> None:
        """Have frames say that news up to this number have been heard."""
        self.plane.news = news

    def connect(self, peer: PeerInfo) -> None:
        """Open the way to a process."""
        succession = self.core.succession
        if peer.address != self.address and not (succession and succession.holds(peer)):
            self.plane.connect(peer.address, peer.incarnation, peer.endpoint)

    def move(self, peer: PeerInfo) -> None:
        """Open the way to the worker that replaces another one, behind what was sent to that."""
        self.plane.move(peer.address, peer.incarnation, peer.endpoint, _SWITCH)
        self.flush()

    def exit(self, status: int = 0) -> None:
        """End the process after this turn."""
        self._status = status
        self._exiting = True

    # --- Wires: what a hand-over needs ---

    @property
    def unsent(self) -> bool:
        """Whether something has not left yet."""
        return self.plane.unsent

    def open_journal(self) -> JournalStore | None:
        """Open the journal, if the node has one."""
        if self.config.journal:
            self._outlet.store = open_slot(self.config, threaded=True)
        return self._outlet.store

    def close_journal(self) -> bool:
        """Commit and let go of the journal; if that can't be done the process ends instead."""
        closed = self._outlet.close_journal()
        if not closed:
            self.exit(1)
        return closed

    def connect_other(self, address: int, peer: PeerInfo) -> None:
        """Open the way to the other worker of this place, under an address for it."""
        self.plane.connect(address, peer.incarnation, peer.endpoint)

    # --- accounting ---

    def idle_class(self) -> int:
        """Say what it means when the loop blocks now."""
        if self.core.asks:
            return _ASK_WAIT
        if self.core.waiting.count:
            return _IO_WAIT
        return _IDLE

    def report_metrics(self) -> None:
        """Send the accounting so far to the supervisor process."""
        self.accounting.report()


def page_path(config: WorkerConfig) -> Path:
    """Give where a worker's counter page is."""
    return Path(config.run_dir) / f"{config.name}.{config.incarnation}.page"


def run_worker(config: WorkerConfig, calibration: Calibration) -> int:
    """Be a worker until told to exit; give the exit status."""
    if config.cpu >= 0 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {config.cpu})
    try:
        process = WorkerProcess(config, calibration)
    except Exception as error:  # whatever prevents the start is told to the supervisor process
        _report_failure(config, error)
        return 1
    return process.run()


def _report_failure(config: WorkerConfig, error: Exception) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    link = ControlLink(context, config.control, lambda _: None)
    link.start()
    message: ControlMessage = WorkerFailed(config.address, ErrorData.of(error))
    link.send(message)
    link.close()
    context.term()
    print(f"worker {config.name} can't start: {error}", file=sys.stderr)
