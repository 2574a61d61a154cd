"""The world of a simulation: a supervisor, workers, their client, and what happens when.

All orders that are free in reality come from the seed: each way of a frame or of a message of the
control plane, each turn of a worker, each boot takes a virtual time of its own.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NoReturn, TypeVar, cast

from gristmill.behaviours.actor_host import Timer
from gristmill.errors import GristmillError, UsageError
from gristmill.messages import Request
from gristmill.metrics import Calibration
from gristmill.node.client.sending import ControlSide
from gristmill.node.config import NodeConfig
from gristmill.node.in_process.client import LocalPost
from gristmill.node.in_process.worker import LocalWorker, LoopbackPlane
from gristmill.node.in_process.world import LocalWorld, Sources
from gristmill.ref import Address
from gristmill.testing.determinism import Determinism
from gristmill.testing.faults import Faults, Point
from gristmill.testing.random_faults import RandomFaults
from gristmill.testing.schedule import Schedule
from gristmill.testing.simulated_worker import (
    SimulatedPlane,
    SimulatedWorker,
    WorkerKilled,
    doom,
)
from gristmill.testing.trace import Trace
from gristmill.testing.virtual_loop import new_loop
from gristmill.transport import control as c
from gristmill.worker.config import WorkerConfig

_START = 1_000.0
"""The virtual monotonic time at the beginning, in seconds."""
_EPOCH = 1_700_000_000.0
"""The virtual time of the wall clock when the monotonic one stands at 0."""
_FOR_EVER = 86_400.0
"""Virtual seconds of waiting for something, with nothing left that could happen."""
_SIGKILL = 9

R = TypeVar("R")

Party = tuple[int, int]
"""A process: its address and its incarnation."""


class SimulatedPost(LocalPost):
    """The client's post, of one thread and without an event loop."""

    async def ask_async(self, to: Address, request: Request[R], timeout: float | None) -> NoReturn:
        """Refuse: a loop of the client's has a time of its own."""
        del request, timeout
        raise UsageError(
            f"a simulation is driven from plain code; ask {to.label} with ref.ask(...), several at "
            "once with ref.ask_many(...)"
        )


class StalledError(GristmillError):
    """Somebody waits without a limit in a simulation in which nothing is left to happen."""


class SimulatedWorld(LocalWorld):
    """A node whose time is virtual. One thread drives it.

    Args:
        config: how the node is started.
        seed: decides everything that is free.
        faults: what goes wrong at random.
    """

    def __init__(self, config: NodeConfig, seed: int, faults: Faults) -> None:
        self.seed = seed
        self.trace = Trace()
        self._schedule = Schedule(Random(f"{seed}/order"), _START)
        self._losses = Random(f"{seed}/losses")
        self._determinism = Determinism(self._acting_actor, self._refused)
        self._acting: SimulatedWorker | None = None
        self._running = False
        self._idle_since = _START
        self._dead: list[SimulatedWorker] = []
        self.delays: dict[tuple[int, int], float] = {}
        """What frames take longer, in seconds, by the addresses that they go from and to."""
        self.faults = RandomFaults(self, faults, Random(f"{seed}/faults"))
        sources = Sources(
            now=lambda: self._schedule.now,
            now_ns=lambda: round(self._schedule.now * 1e9),
            wall_time=lambda: _EPOCH + self._schedule.now,
            random=Random(f"{seed}/supervisor"),
            calibration=Calibration(),
        )
        super().__init__(config, sources)

    def _new_loop(self) -> asyncio.AbstractEventLoop:
        return new_loop(self.now, self.call_later, lambda: None)  # each worker has its own

    def _new_worker(self, config: WorkerConfig, pid: int) -> LocalWorker:
        self.note(config.name, f"boots as incarnation {config.incarnation}")
        return SimulatedWorker(self, config, pid)

    def new_plane(self, address: int, incarnation: int) -> SimulatedPlane:
        """Make the data plane of a party."""
        return SimulatedPlane(self, address, incarnation)

    def new_post(self, plane: LoopbackPlane, control: ControlSide) -> SimulatedPost:
        """Make the post of the client."""
        post = self._post = SimulatedPost(plane, control, Path(self._config.run_dir))
        return post

    # --- running ---

    @property
    def inside(self) -> bool:
        """Whether the caller is a handler, or something else that the simulation runs."""
        return self._running

    def submit(self, work: Callable[[], None], lane: object = None) -> None:
        """Do something soon, behind what is in the same lane."""
        self._schedule.soon(work, lane)

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call back after ``delay`` virtual seconds."""
        return self._schedule.after(delay, callback)

    def settle(self) -> None:
        """Do nothing: time passes only where the client waits."""

    def run(self, done: Callable[[], bool], timeout: float | None) -> bool:
        """Let things happen until ``done`` holds, ``timeout`` virtual seconds at most."""
        deadline = math.inf if timeout is None else self._schedule.now + timeout
        if done() or self._is_idle_until(deadline):
            return done()
        with self._determinism:
            while True:
                self._let_happen()
                if done() or self._is_idle_until(deadline):
                    return done()

    def _is_idle_until(self, deadline: float) -> bool:
        """Let the time be the deadline if nothing happens before it; give whether that is so."""
        schedule = self._schedule
        due = schedule.next_due
        too_long = deadline == math.inf or schedule.now - self._idle_since > _FOR_EVER
        if due == math.inf and too_long:
            raise StalledError("nothing is left to happen, and what is waited for has not")
        if due <= deadline:
            return False
        schedule.now = max(schedule.now, deadline)
        return True

    def _let_happen(self) -> None:
        """Let the next thing happen."""
        schedule = self._schedule
        act = schedule.take_next()
        self._idle_since = schedule.now
        self._running = True
        try:
            act()
        finally:
            self._running = False
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def inside_worker(self, worker: SimulatedWorker, act: Callable[[], None]) -> None:
        """Do something as a worker would: on its loop, and under the eyes of determinism."""
        outer, self._acting = self._acting, worker
        before = asyncio._get_running_loop()  # noqa: SLF001 - what event loops are to use
        asyncio._set_running_loop(worker.loop)  # noqa: SLF001 - what event loops are to use
        try:
            act()
        except WorkerKilled:
            self.end_by_signal(worker, _SIGKILL)
        finally:
            asyncio._set_running_loop(before)  # noqa: SLF001 - what event loops are to use
            self._acting = outer

    def _acting_actor(self) -> str:
        return self._acting.acting if self._acting is not None else ""

    def _refused(self, error: Exception) -> None:
        self._failure = error

    def note(self, who: str, what: str | bytes | c.ControlMessage) -> None:
        """Put a line into the trace."""
        self.trace.note(self._schedule.now, who, what)

    # --- frames and messages of the control plane ---

    def lives(self, address: int, incarnation: int) -> bool:
        """Tell whether a process can be reached."""
        if address >= c.FIRST_CLIENT:
            return address in self.planes
        worker = self.workers.get(address)
        return worker is not None and worker.incarnation == incarnation

    def send_frame(self, source: Party, target: Party, frame: bytes) -> None:
        """Put a frame on its way. It arrives unless its target, or the wire, dies before."""

        def arrive() -> None:
            address, incarnation = target
            if not self.lives(address, incarnation):
                return
            self.note(f"{self._name(source[0])} -> {self._name(address)}", frame)
            if address >= c.FIRST_CLIENT:
                self.planes[address].inbox.append(frame)
            else:
                self.workers[address].receive(frame)

        more = self.delays.get((source[0], target[0]), 0.0)
        self._schedule.soon(arrive, (source, target), more=more)

    def _name(self, address: int) -> str:
        worker = self.workers.get(address)
        return worker.name if worker is not None else f"process {address}"

    def to_supervisor(self, identity: bytes, message: c.ControlMessage) -> None:
        """Give the supervisor a message."""
        self.note(identity.decode(), message)
        super().to_supervisor(identity, message)

    def send(self, identity: bytes, message: c.ControlMessage) -> None:
        """Send a message to a worker or to the client."""
        self.note(f"supervisor -> {identity.decode()}", message)
        super().send(identity, message)

    def log(self, text: str) -> None:
        """Put what the supervisor says into the trace."""
        self.note("supervisor", text)

    # --- the ends of workers ---

    @property
    def living(self) -> list[SimulatedWorker]:
        """The workers that live, those of the lowest addresses first."""
        return [cast("SimulatedWorker", self.workers[address]) for address in sorted(self.workers)]

    def signal(self, pid: int, number: int) -> None:
        """End a worker at once."""
        for worker in self.living:
            if worker.pid == pid:
                self.end_by_signal(worker, number)

    def end_by_signal(self, worker: SimulatedWorker, number: int) -> None:
        """End a worker: what it has not committed and what is on the way to it is gone.

        Of what it has sent, the last part may be gone too: it was still in its process.
        """
        party = (worker.address, worker.incarnation)
        for lane in self._schedule.lanes():
            if isinstance(lane, tuple) and lane[0] in (party, worker.identity):
                waiting = self._schedule.waiting(lane)
                lost = self._schedule.drop(lane, self._losses.randint(0, waiting))
                if lost:
                    self.note(worker.name, f"takes along the last {lost} of what it has sent")
        self.note(worker.name, f"ends by signal {number}")
        self.ended(worker, -number)

    def ended(self, worker: LocalWorker, status: int) -> None:
        """A worker has ended."""
        self._dead.append(cast("SimulatedWorker", worker))
        super().ended(worker, status)

    # --- faults ---

    def worker_named(self, name: str) -> SimulatedWorker | None:
        """Give the worker of this name, if it lives."""
        return next((worker for worker in self.living if worker.name == name), None)

    def kill(self, worker: SimulatedWorker, point: Point) -> None:
        """Kill a worker at a point."""
        if point is Point.NOW:
            self.note(worker.name, "is killed")
            self.end_by_signal(worker, _SIGKILL)
        else:
            worker.dies_at = point

    def crash(self, worker: SimulatedWorker, key: int) -> None:
        """Have an actor crash on the next message that it handles."""
        cell = worker.core.cells[key]
        self.note(worker.name, f"{cell.label} is going to crash")
        doom(cell)

    def pause(self, worker: SimulatedWorker, seconds: float) -> None:
        """Have a worker stand still for a time."""
        self.note(worker.name, f"stands still for {seconds:.3f} s")
        worker.stand_still()
        self.call_later(seconds, worker.go_on)

    # --- the end ---

    def close(self) -> None:
        """Let go of everything that has run."""
        for worker in self.living:
            worker.close()
            self._dead.append(worker)
        self.workers.clear()
        for worker in self._dead:
            worker.loop.finish()
        self._dead.clear()
