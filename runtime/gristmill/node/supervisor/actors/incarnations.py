"""``Incarnations``: has actors start and end where they live, as the tree decides."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from typing import Protocol

import msgspec

from gristmill.errors import AlreadyStartedError, ErrorData, GristmillError
from gristmill.node.supervisor.actors.dormant import Dormant
from gristmill.node.supervisor.roster import ActorRecord, Roster
from gristmill.node.supervisor.shell import SupervisorShell
from gristmill.node.supervisor.workers.slots import Slot
from gristmill.supervision import ChildSpec, Crash, ExitReason, StartActor, SupervisionTree
from gristmill.transport import control as c

_KILL_GRACE = 0.5
"""Seconds that a worker gets to drop an actor before the worker is killed for it."""
_STARTS_TOGETHER = 500
"""Starts in one message: many enough to be cheap, few enough to need little memory at a time."""


class Driver(Protocol):
    """The part of the core that carries out what follows."""

    def fork(self, slot: Slot) -> None:
        """Start a process in a slot."""

    def tell_slot(self, slot: Slot, message: c.ControlMessage) -> None:
        """Tell a worker something, once it is ready."""

    def limit_start(self, key: int, incarnation: int, seconds: float) -> None:
        """A start begins that may take so long."""

    def start_failed(self, key: int, incarnation: int, reason: ExitReason) -> None:
        """An incarnation could not start."""


class Incarnations:
    """Where actors live, and the messages to their workers that start and end them.

    Args:
        driver: the core.
        shell: the process around it.
        tree: the node's tree.
        roster: its actors.
    """

    def __init__(
        self, driver: Driver, shell: SupervisorShell, tree: SupervisionTree, roster: Roster
    ) -> None:
        self._driver = driver
        self._shell = shell
        self._tree = tree
        self._roster = roster
        self.dormant = Dormant(tree)
        """The actors that are down and may start again."""

    def admit(self, key: int, spec: c.ActorSpec) -> ActorRecord:
        """Give a new actor its place."""
        slot, new = self._roster.slots.place(spec.placement)
        slot.keys.add(key)
        record = ActorRecord(spec, slot.address)
        self._roster.add(key, record)
        if new:
            self._driver.fork(slot)
        return record

    def start(self, actions: Iterable[StartActor]) -> None:
        """Start incarnations, those of one worker with one message."""
        starts: defaultdict[int, list[c.StartActor]] = defaultdict(list)
        for key, incarnation, spec in actions:
            try:
                record = self._roster.actors.get(key) or self._admit_again(key, spec.start)
            except GristmillError as error:
                self._refuse_start(key, incarnation, error)
                continue
            record.incarnation = incarnation
            record.alive = True
            path = self._tree.path_of(key)
            together = starts[record.home]
            together.append(c.StartActor(key, incarnation, path, record.spec, record.suspects))
            if record.spec.start_timeout:
                self._driver.limit_start(key, incarnation, record.spec.start_timeout)
            if len(together) == _STARTS_TOGETHER:
                self._tell_starts(record.home, starts.pop(record.home))
        for home, together in starts.items():
            self._tell_starts(home, together)

    def _admit_again(self, key: int, start: bytes | None) -> ActorRecord:
        """Give an actor that was not there its place, the old one if it can.

        Raises:
            AlreadyStartedError: somebody else has its name by now.
            UsageError: its worker has been removed.
        """
        known = self.dormant.get(key)
        spec = (
            msgspec.msgpack.decode(start or b"", type=c.ActorSpec) if known is None else known.spec
        )
        if spec.name in self._roster.names:
            path = self._tree.path_of(key)
            raise AlreadyStartedError(f"{path} can't start: another actor has its name by now")
        slot = self._roster.slots.get(known.home) if known is not None else None
        if known is None or slot is None or slot.leaving:
            self._roster.slots.check(spec.placement)
            self.dormant.take(key)
            return self.admit(key, spec)
        self.dormant.take(key)
        slot.keys.add(key)
        self._roster.add(key, known)
        return known

    def _refuse_start(self, key: int, incarnation: int, error: GristmillError) -> None:
        """An actor can't start: the tree hears of it as of any other that could not."""
        reason = Crash(ErrorData(type(error).__qualname__, str(error)))
        fail = partial(self._driver.start_failed, key, incarnation, reason)
        self._shell.call_at(self._shell.now(), fail)

    def _tell_starts(self, home: int, starts: list[c.StartActor]) -> None:
        slot = self._roster.slots.get(home)
        if slot is not None:
            self._driver.tell_slot(slot, c.StartActors(tuple(starts)))

    def kill(self, key: int, incarnation: int) -> None:
        """End an incarnation at once, with its worker if it does not let go of it."""
        self.tell_home(key, c.KillActor(key, incarnation))

        def insist() -> None:
            record = self._roster.actors.get(key)
            if record is None or not record.alive or record.incarnation != incarnation:
                return
            slot = self._roster.slots.get(record.home)
            if slot is not None and slot.pid:
                label = self._roster.label(key)
                self._shell.log(f"{label} does not stop: killing worker {slot.name}")
                slot.verdict, slot.collateral = f"{label} did not stop", True
                self._shell.signal(slot.pid, 9)

        self._shell.call_at(self._shell.now() + _KILL_GRACE, insist)

    def tell_home(self, key: int, message: c.ControlMessage) -> None:
        """Tell an actor's worker something, if the actor is there."""
        record = self._roster.actors.get(key)
        slot = self._roster.slots.get(record.home) if record is not None else None
        if slot is not None:
            self._driver.tell_slot(slot, message)

    def change(self, changed: list[tuple[int, ChildSpec]]) -> None:
        """Start actors, given with their keys, as other specs say from their next start on."""
        for key, spec in changed:
            record = self._roster.actors.get(key) or self.dormant.get(key)
            if record is not None and self._tree.change(key, spec):
                actor = msgspec.msgpack.decode(spec.start or b"", type=c.ActorSpec)
                record.spec = msgspec.structs.replace(actor, placement=record.spec.placement)
