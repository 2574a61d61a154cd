"""A worker without a process of its own: the shell around its core in ``Node(in_process=True)``."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from gristmill.behaviours.actor_host import Timer
from gristmill.metrics import Meter, TimeClass
from gristmill.metrics.classes import NAMES as CLASS_NAMES
from gristmill.metrics.wires import Wires
from gristmill.transport import control as c
from gristmill.transport.envelope import NOTICE, count_messages, pack, pack_frame
from gristmill.transport.exchange import ArrayExchange
from gristmill.transport.outbound import Outbound
from gristmill.worker.config import WorkerConfig
from gristmill.worker.core import WorkerCore
from gristmill.worker.process.journal import open_slot
from gristmill.worker.telemetry import counters
from gristmill.worker.telemetry.accounting import account

if TYPE_CHECKING:
    from gristmill.node.in_process.world import LocalWorld

_IDLE = int(TimeClass.IDLE)
_DISPATCH = int(TimeClass.DISPATCH)


class LoopbackPlane:
    """The data plane of one party inside the process."""

    def __init__(self, world: LocalWorld, address: int, incarnation: int) -> None:
        self._world = world
        self._address = address
        self._incarnation = incarnation
        self._peers: dict[int, int] = {}
        self._outbound: dict[int, Outbound] = {}
        self._sent: dict[int, int] = {}
        """Messages sent to the present incarnation of each peer."""
        self.wires = Wires()
        self.news = 0
        """The number of the last news that were heard here; frames carry it."""
        self.endpoint = "in-process"
        self.fd = -1  # nobody watches it: LocalPost doesn't read from a loop
        self.now = world.now
        self.inbox: deque[bytes] = deque()

    def identify(self, address: int, incarnation: int) -> None:
        """Take the address that was given to this party."""
        self._address = address
        self._incarnation = incarnation
        self._world.planes[address] = self

    def linger(self, _seconds: float, /) -> None:
        """Do nothing: there is no pipe."""

    def receive(self) -> bytes | None:
        """Take the next frame, or None when there is none now."""
        return self.inbox.popleft() if self.inbox else None

    def receive_within(self, seconds: float, *, expected: bool = False) -> bytes | None:
        """Take the next frame, running the node for it ``seconds`` at most."""
        del expected
        self._world.run(lambda: bool(self.inbox), seconds)
        return self.receive()

    def connect(self, address: int, incarnation: int, endpoint: str) -> None:
        """Note that a peer can be reached."""
        del endpoint
        self._peers[address] = incarnation
        self._sent[address] = 0

    def move(self, address: int, incarnation: int, endpoint: str, fence: bytes) -> None:
        """Note the next incarnation of a peer: here none lives beside the one before."""
        del fence
        self.connect(address, incarnation, endpoint)

    def close_moved(self, _address: int) -> None:
        """Do nothing: there is one way to a peer."""

    def disconnect(self, address: int, *, final: bool) -> None:
        """Forget a dead peer: what still waits for it counts as sent, and is lost."""
        self._count(address, *self._to(address).take())
        self._peers.pop(address, None)
        if final:
            del self._outbound[address]
            self._sent.pop(address, None)

    def incarnation_of(self, address: int) -> int:
        """Give the incarnation of the peer that envelopes for ``address`` go to."""
        return self._peers.get(address, 0)

    def waiting(self, address: int) -> int:
        """Count the messages that wait for a peer."""
        return self._to(address).messages

    @property
    def inside(self) -> bool:
        """Whether the caller is a handler."""
        return self._world.inside

    @property
    def unsent(self) -> bool:
        """Whether a flush has something to do."""
        return any(outbound.messages for outbound in self._outbound.values())

    def post(self, address: int, envelope: bytes) -> None:
        """Put an envelope into the next frame for a peer."""
        self._to(address).add(envelope)

    def outbound(self, address: int) -> Outbound:
        """Give where to put what is for a peer; it stays the same."""
        return self._to(address)

    def _to(self, address: int) -> Outbound:
        outbound = self._outbound.get(address)
        if outbound is None:
            outbound = self._outbound[address] = Outbound(_nothing)
        return outbound

    def send_now(self, address: int, envelope: bytes) -> bool:
        """Hand an envelope over; give whether the node has to run for it to be handled."""
        self.post(address, envelope)
        return self.flush()

    def flush(self) -> bool:
        """Hand over what waits; give whether the node has to run for it to be handled."""
        for address, outbound in list(self._outbound.items()):
            if outbound.messages and address in self._peers:
                self._world.deliver(address, self._frame(address, outbound))
        return self._world.pending and not self._world.inside

    def _frame(self, address: int, outbound: Outbound) -> bytes:
        now, before = self._world.now_ns(), self._sent.get(address, 0)
        envelopes, sizes = outbound.take()
        messages = self._count(address, envelopes, sizes)
        here = self._address, self._incarnation
        return pack_frame(*here, before, envelopes, now, messages, self.news)

    def _count(self, address: int, envelopes: list[bytes], sizes: list[int]) -> int:
        messages = count_messages(envelopes, sizes)
        if messages:
            self._sent[address] = self._sent.get(address, 0) + messages
            self.wires.sent(address, self._peers.get(address, 0), messages)
        return messages

    def close(self) -> None:
        """Do nothing: there is nothing to close."""


def _nothing() -> None:
    """Do nothing: whoever flushes looks at everything."""


class LocalWorker:
    """Drives a :class:`WorkerCore`; implements :class:`~gristmill.worker.shell.Shell`."""

    def __init__(
        self,
        world: LocalWorld,
        config: WorkerConfig,
        pid: int,
        loop: asyncio.AbstractEventLoop,
        random: Random,
    ) -> None:
        self._world = world
        self.pid = pid
        self.address = config.address
        self.incarnation = config.incarnation
        self.name = config.name
        self.node_id = config.node_id
        self.random = random
        self.now = world.now
        self.wall_time = world.wall_time
        self.sleep = asyncio.sleep
        self.create_task = loop.create_task
        self.create_future = loop.create_future
        self.meter = Meter(world.now_ns, config.asked_ns)
        self.alive = True
        self._exiting = False
        self._status = 0
        self._turn_requested = False
        self.plane = world.new_plane(config.address, config.incarnation)
        self.plane.identify(config.address, config.incarnation)
        self.counters: counters.Cells = [0] * len(counters.NAMES)
        self.wires = self.plane.wires
        self.post = self.plane.post
        self.outbound = self.plane.outbound
        self.arrays = ArrayExchange.of(config.run_dir, config.address, config.incarnation)
        self.waiting = self.plane.waiting
        self.disconnect = self.plane.disconnect
        self.close_moved = self.plane.close_moved
        self._store = open_slot(config, threaded=False) if config.journal else None
        self.core = WorkerCore(
            self, self.meter, self._store, config.channels, governs=config.governor
        )
        for key in config.expected:
            self.core.lifecycle.expect(key)

    @property
    def identity(self) -> bytes:
        """Its routing id on the control plane."""
        return f"{self.name}.{self.incarnation}".encode()

    def receive(self, frame: bytes) -> None:
        """Take in a frame and handle what it brings."""
        if self.alive:
            self.meter.switch(_DISPATCH)
            self.core.intake.on_frame(frame)
            self.turn()

    def on_control(self, encoded: bytes) -> None:
        """Take in a message of the supervisor's."""
        self.receive(pack_frame(0, 0, 0, [pack((NOTICE, encoded))], self._world.now_ns()))

    def turn(self) -> None:
        """Let the actors handle what they have."""
        if not self.alive:
            return
        self.meter.switch(_DISPATCH)
        self.core.turn()
        self.meter.switch(_IDLE)
        if self._exiting:
            self.report_metrics()
            self._world.ended(self, self._status)

    def close(self) -> None:
        """Stop at once: no handler of it runs any more."""
        self.alive = False
        for cell in self.core.cells.values():
            if cell.task is not None:
                cell.task.cancel()
            for timer in list(cell.timers):
                timer.cancel()
        self.core.records.close()
        if self._store is not None:
            self._store.commit()
            self._store.close()

    # --- Shell ---

    def request_turn(self) -> None:
        """Take a turn soon."""
        if not self._turn_requested:
            self._turn_requested = True
            self._world.submit(self._requested_turn)

    def _requested_turn(self) -> None:
        self._turn_requested = False
        self.turn()

    def from_thread(self, callback: Callable[[], None]) -> None:
        """Call back soon, when somebody runs the node, then take a turn; from any thread."""

        def call() -> None:
            if self.alive:
                callback()
                self.request_turn()

        self._world.submit(call)

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call back after ``delay`` seconds, then take a turn."""

        def fire() -> None:
            if self.alive:
                self.meter.switch(_DISPATCH)
                callback()
                self.meter.switch(_IDLE)
                self.request_turn()  # timers that are due together share a turn

        return self._world.call_later(delay, fire)

    def when_drained(self, callback: Callable[[], None]) -> None:
        """Call back behind what has been handed over before."""
        self.call_later(0.0, callback)

    def when_arrived(self, callback: Callable[[], None]) -> None:
        """Call back at once: there is one pipe, in which nothing overtakes."""
        callback()

    def heard(self, news: int) -> None:
        """Have frames say that news up to this number have been heard."""
        self.plane.news = news

    def connect(self, peer: c.PeerInfo) -> None:
        """Note that a process can be reached."""
        self.plane.connect(peer.address, peer.incarnation, peer.endpoint)

    def move(self, peer: c.PeerInfo) -> None:
        """Take note of the next incarnation of a worker."""
        self.connect(peer)

    def send_now(self, address: int, envelope: bytes) -> None:
        """Hand an envelope over, behind what waits and the journal's commit."""
        self.post(address, envelope)
        self.flush()

    def flush(self) -> None:
        """Commit the journal, then hand over what waits."""
        self.core.effects.settle()
        if self._store is not None and self._store.dirty:
            self.core.records.publications.forget_confirmed()
            self._store.commit()
        self.core.records.committed()
        if self.arrays.pool.release_due:
            self.arrays.give_back(self.post)
        self.plane.flush()

    def flush_midway(self) -> None:
        """Flush."""
        self.flush()

    def exit(self, status: int = 0) -> None:
        """End after this turn."""
        self._status = status
        self._exiting = True

    def control(self, message: c.ControlMessage) -> None:
        """Send a message to the supervisor."""
        self._world.to_supervisor(self.identity, message)

    # --- accounting ---

    def busy_ns(self) -> int:
        """Give the time in which it had work and a core: its part of the process's CPU time."""
        classes = self.meter.read()
        return sum(classes) - classes[_IDLE] - self.meter.stood_still

    def report_metrics(self) -> None:
        """Send the accounting so far to the supervisor."""
        cpu_ns, probe_ns = self.busy_ns(), self._world.calibration.probe_ns or 0
        told = account(self.core, self.meter, name=self.name, cpu_ns=cpu_ns, probe_ns=probe_ns)
        self.control(told)

    def counted(self) -> dict[str, int]:
        """Give the delivery counters by name."""
        return counters.by_name(self.counters)

    def page(self) -> dict[str, int]:
        """Give what a worker process keeps in its counter page."""
        meter = self.meter
        return {
            **dict(zip(CLASS_NAMES, meter.read(), strict=True)),
            "current": meter.current,
            "last": self._world.now_ns(),
            "start": meter.start,
            "transitions": meter.transitions,
            "probe_ns": meter.probes * (self._world.calibration.probe_ns or 0),
            "stood_still": meter.stood_still,
            "cpu_ns": self.busy_ns(),
            "messages": self.core.counters[counters.HANDLED],
            **self.counted(),
        }
