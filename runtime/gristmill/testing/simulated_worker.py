"""A simulated worker: the shell around a real core, whose time and whose end the world decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, NoReturn

from gristmill.behaviours.actor_host import Timer
from gristmill.messages import tag_of
from gristmill.node.in_process.worker import LocalWorker, LoopbackPlane
from gristmill.testing.faults import InjectedCrash, Point
from gristmill.testing.virtual_loop import VirtualLoop, new_loop
from gristmill.transport.codec import message_tag
from gristmill.worker.actors.cell import Cell, State
from gristmill.worker.config import WorkerConfig

if TYPE_CHECKING:
    from gristmill.testing.simulated_world import SimulatedWorld


class WorkerKilled(BaseException):
    """Leaves a turn at the point at which its worker is killed."""


class WorkerTimer:
    """A timer of a worker. It can be cancelled until its worker comes to it, however late."""

    def __init__(self) -> None:
        self._over = False
        self.due: Timer | None = None
        """When the world comes to it."""

    def cancel(self) -> bool:
        """Make sure that nothing comes of it any more; give whether something would have."""
        live, self._over = not self._over, True
        if self.due is not None:
            self.due.cancel()
        return live


class SimulatedPlane(LoopbackPlane):
    """The data plane of one party: frames take their time, and end with the party they go to."""

    def __init__(self, world: SimulatedWorld, address: int, incarnation: int) -> None:
        super().__init__(world, address, incarnation)
        self._simulation = world

    def flush(self) -> bool:
        """Send what waits for those that live; what waits for a dead one is lost with it."""
        world = self._simulation
        for address, outbound in list(self._outbound.items()):
            incarnation = self._peers.get(address)
            if outbound.messages and incarnation is not None and world.lives(address, incarnation):
                frame = self._frame(address, outbound)
                world.send_frame((self._address, self._incarnation), (address, incarnation), frame)
        return False


class SimulatedWorker(LocalWorker):
    """Drives a :class:`~gristmill.worker.core.WorkerCore` step by step."""

    loop: VirtualLoop

    def __init__(self, world: SimulatedWorld, config: WorkerConfig, pid: int) -> None:
        self._simulation = world
        self.loop = new_loop(world.now, world.call_later, self._wake)
        self.dies_at: Point | None = None
        """The point at which it is killed when it gets there."""
        self._held: list[Callable[[], None]] | None = None
        """What it would have done while it stands still."""
        random = Random(f"{world.seed}/{config.name}.{config.incarnation}")
        super().__init__(world, config, pid, self.loop, random)

    # --- steps ---

    def _do(self, act: Callable[[], None]) -> None:
        """Do something in this worker, unless it is dead; later if it stands still."""
        if self._held is not None:
            self._held.append(act)
        elif self.alive:
            self._simulation.inside_worker(self, act)

    def receive(self, frame: bytes) -> None:
        """Take in a frame; what it brings is handled in a turn, perhaps with the next one's."""

        def take() -> None:
            self.core.intake.on_frame(frame)
            self.request_turn()

        self._do(take)

    def request_turn(self) -> None:
        """Take a turn soon."""
        if not self._turn_requested:
            self._turn_requested = True
            self._simulation.submit(self._requested_turn)

    def _requested_turn(self) -> None:
        def turn() -> None:
            self._turn_requested = False
            self.turn()

        self._do(turn)

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call back after ``delay`` seconds, then take a turn."""
        timer = WorkerTimer()

        def fire() -> None:
            if timer.cancel():
                callback()
                self.request_turn()

        timer.due = self._simulation.call_later(delay, lambda: self._do(fire))
        return timer

    def _wake(self) -> None:
        self._simulation.submit(lambda: self._do(self.loop.run_round))

    # --- faults ---

    def flush(self) -> None:
        """Commit the journal, then send what waits, unless it is killed before or between."""
        self.core.effects.settle()
        dirty = self._store is not None and self._store.dirty
        if dirty or self.plane.unsent:
            self._reach(Point.BEFORE_COMMIT)
            if dirty and self._store is not None:
                self._store.commit()
            self._reach(Point.AFTER_COMMIT)
            self.plane.flush()

    def flush_midway(self) -> None:
        """Flush."""
        self.flush()

    def _reach(self, point: Point) -> None:
        if self.dies_at is point:
            self._simulation.note(self.name, f"is killed {point}")
            raise WorkerKilled

    def stand_still(self) -> None:
        """Do nothing from now on, until :meth:`go_on`."""
        if self._held is None:
            self._held = []

    def go_on(self) -> None:
        """Do what it would have done meanwhile, in that order."""
        held, self._held = self._held or [], None
        for act in held:
            self._do(act)

    def living_cells(self) -> list[Cell]:
        """Give the actors that run and have not been told to crash yet."""
        cells = self.core.cells.values()
        return [c for c in cells if c.state is State.RUNNING and not is_doomed(c)]

    def close(self) -> None:
        """Do nothing more, not even what its handlers would do at their end."""
        self.alive = False
        self._held = None
        if self._store is not None:
            self._store.close()

    # --- what it does now ---

    @property
    def acting(self) -> str:
        """The actor whose code runs now, and what it does; empty if none does."""
        cell = self.core.sending.origin
        if cell is None:
            return ""
        entry = cell.current
        if entry is None:
            return f"{cell.label} on {self.name}, outside of a handler"
        tag = tag_of(type(entry.message)) if entry.message else message_tag(entry.body)
        return f"{cell.label} on {self.name}, while it handles {tag.rpartition(':')[2]}"


def doom(cell: Cell) -> None:
    """Have an actor crash on the next message that it handles."""

    def crash(*_: object) -> NoReturn:
        raise InjectedCrash("the simulation has this actor crash")

    cell.handlers = {
        message: replace(handler, function=crash, is_async=False, name=crash.__name__)
        for message, handler in cell.handlers.items()
    }


def is_doomed(cell: Cell) -> bool:
    """Tell whether an actor is to crash on its next message."""
    return any(handler.name == "crash" for handler in cell.handlers.values())
