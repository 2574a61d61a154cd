"""``Replacing``: a new worker process takes the place of one that lives, and nothing is lost.

1. The new process is started, and gets ready beside the old one.
2. The old one hands over: its actors finish what they have in hand and end (``HandOver``,
   ``HandedOver``; see :mod:`gristmill.worker.handover.departure`).
3. The new one takes the place: everyone is told to send to it, the actors are started in it, and
   the old one passes on what still comes to it (``TakeOver``, ``PeerMoved``, ``TookOver``).

A restart like this is nobody's failure, and no supervisor counts it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from gristmill.node.supervisor.actors.endings import Endings
from gristmill.node.supervisor.roster import Roster
from gristmill.node.supervisor.shell import SupervisorShell
from gristmill.node.supervisor.workers.newcomers import Newcomers
from gristmill.node.supervisor.workers.remains import Remains
from gristmill.node.supervisor.workers.slots import Slot, Slots, SlotState
from gristmill.transport import control as c
from gristmill.worker.config import WorkerConfig

_OF_ACTORS = c.StartActors | c.StopActor | c.KillActor | c.ForgetActor | c.AwaitFences


class Driver(Protocol):
    """The part of the core that a replacement acts on."""

    def worker_config(self, slot: Slot, *, arriving: bool = False) -> WorkerConfig:
        """Say how to start a worker."""

    def took_place(self, slot: Slot) -> None:
        """A worker is ready in its slot."""


@dataclass(slots=True)
class _Replacement:
    """What is under way in one slot."""

    why: str
    ready: Callable[[], None]
    done: Callable[[str], None]
    handing_over: bool = False
    told: list[c.ControlMessage] = field(default_factory=list)
    """What the old worker was told about its actors since it was asked to hand over."""
    missing: set[int] = field(default_factory=set)
    """The actors that have not started again."""


class Replacing:
    """Replaces workers.

    Args:
        driver: carries out what follows.
        shell: of the supervisor process.
        roster: who is where.
        newcomers: introduces the new processes.
        remains: takes in what the old ones leave.
        endings: tells the tree that their actors go on elsewhere.
        patience: seconds that handlers under way get before they are ended.
    """

    def __init__(
        self,
        driver: Driver,
        shell: SupervisorShell,
        roster: Roster,
        newcomers: Newcomers,
        remains: Remains,
        endings: Endings,
        patience: float,
    ) -> None:
        self._patience = patience
        self._driver = driver
        self._shell = shell
        self._roster = roster
        self._slots = roster.slots
        self._newcomers = newcomers
        self._remains = remains
        self._endings = endings
        self._open: dict[int, _Replacement] = {}
        self._dropped: list[Slot] = []
        """New workers that are not wanted any more and may still live."""
        self.count = 0
        """How many workers have been replaced."""

    def begin(
        self,
        slot: Slot,
        why: str,
        done: Callable[[str], None],
        *,
        fresh: bool = False,
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        """Replace the worker of a slot, if it :func:`can_be_replaced`.

        Args:
            slot: where it stands.
            why: what people are told of its end.
            done: called with "" when its actors run again, else with what was wrong.
            fresh: whether the new one comes from the fork server that is not adopted yet.
            ready: called when the new process is up, and nothing is replaced yet.
        """
        slot.issued += 1
        successor = Slot(slot.address, slot.name, slot.shared, slot.cpu, slot.issued)
        slot.successor = successor
        self._open[slot.address] = _Replacement(why, ready, done)
        config = self._driver.worker_config(successor, arriving=True)
        self._shell.fork(config, fresh=fresh)

    # --- events ---

    def forked(self, address: int, incarnation: int, pid: int) -> None:
        """A process exists that stands in no slot."""
        for other in (*self._slots.others(), *self._dropped):
            if (other.address, other.incarnation) == (address, incarnation):
                other.pid = pid
                if other in self._dropped:
                    self._shell.signal(pid, 9)

    def worker_ready(self, identity: bytes, message: c.WorkerReady) -> None:
        """A new worker is up beside the old one."""
        slot = self._slots.get(message.peer.address)
        successor = slot.successor if slot is not None else None
        if slot is None or successor is None or successor.incarnation != message.peer.incarnation:
            return
        successor.state, successor.identity = SlotState.READY, identity
        successor.peer, successor.pid = message.peer, message.pid
        self._newcomers.introduce(successor)
        one = self._open[slot.address]
        one.ready()
        one.handing_over = True
        self._shell.send(slot.identity, c.HandOver(message.peer, self._patience))

    def told(self, slot: Slot, message: c.ControlMessage) -> None:
        """The worker of a slot was told something."""
        one = self._open.get(slot.address)
        if one is not None and one.handing_over and isinstance(message, _OF_ACTORS):
            one.told.append(message)

    def handed_over(self, message: c.HandedOver) -> None:
        """The old worker has ended its actors: the new one takes its place."""
        slot = self._slots.get(message.address)
        if slot is None or slot.incarnation != message.incarnation or not slot.pid:
            return
        if slot.successor is None:  # it died, or was given up, when this was on its way
            slot.verdict, slot.collateral = "it had left its place to a worker that died", True
            self._shell.signal(slot.pid, 9)
            return
        one = self._open[slot.address]
        one.handing_over = False
        before = slot.former = _occupant(slot)
        slot.last_exit = one.why
        self._take_place(slot)
        self._shell.send(slot.identity, c.TakeOver(tuple(slot.keys), before.peer, message.legacy))
        assert slot.peer is not None
        moved = c.PeerMoved(slot.peer)
        self._roster.broadcast(moved, but=slot.address)
        self._shell.send(before.identity, moved)
        for late in one.told[message.taken :]:
            self._shell.send(slot.identity, late)
        ended = [(k, i) for k, i in message.ended if self._runs(k, i)]
        one.missing = {key for key, _ in ended}
        self.count += 1
        self._endings.replaced(ended)
        self._settle(slot.address)

    def _runs(self, key: int, incarnation: int) -> bool:
        record = self._roster.actors.get(key)
        return record is not None and record.alive and record.incarnation == incarnation

    def took_over(self, message: c.TookOver) -> None:
        """The new worker has everything: the one before is not needed any more."""
        slot = self._slots.get(message.address)
        if slot is not None and slot.former is not None:
            self._shell.send(slot.former.identity, c.Exit())

    def settled(self, key: int) -> None:
        """An actor runs, or is forgotten."""
        for address, one in list(self._open.items()):
            if key in one.missing:
                one.missing.discard(key)
                self._settle(address)

    def _settle(self, address: int) -> None:
        if not self._open[address].missing:
            self._open.pop(address).done("")

    # --- ends ---

    def reaped(self, pid: int, how: str) -> bool:
        """A process has ended; tell whether it was one that stood in no slot."""
        for slot in self._slots.all():
            if slot.successor is not None and slot.successor.pid == pid:
                successor, slot.successor = slot.successor, None
                self._remains.of_worker(successor, pid)
                self._shell.send(slot.identity, c.Stay())
                self._fail(slot, f"the new worker {slot.name} did not come up: {how}")
                return True
            if slot.former is not None and slot.former.pid == pid:
                self._departed(slot, pid)
                return True
        for other in self._dropped:
            if other.pid == pid:
                self._dropped.remove(other)
                self._remains.of_worker(other, pid)
                return True
        return False

    def _departed(self, slot: Slot, pid: int) -> None:
        former, slot.former = slot.former, None
        assert former is not None
        self._remains.of_worker(former, pid)
        self._roster.broadcast(c.Departed(former.address, former.incarnation))

    def failed(self, address: int, why: str) -> bool:
        """A worker can't start; tell whether it was a new one beside an old one."""
        slot = self._slots.get(address)
        if slot is None or slot.successor is None:
            return False
        self.cancel(slot, f"the new worker {slot.name} can't start: {why}")
        return True

    def cancel(self, slot: Slot, why: str) -> None:
        """Let the worker of a slot stay, if another one was to take its place."""
        if self._drop(slot):
            self._shell.send(slot.identity, c.Stay())
            self._fail(slot, why)

    def _drop(self, slot: Slot) -> bool:
        """Do without the new worker of a slot; give whether there was one."""
        successor, slot.successor = slot.successor, None
        if successor is not None:
            self._dropped.append(successor)
            if successor.pid:
                self._shell.signal(successor.pid, 9)
        return successor is not None

    def _fail(self, slot: Slot, why: str) -> None:
        one = self._open.pop(slot.address, None)
        if one is not None:
            one.done(why)

    def worker_died(self, slot: Slot) -> bool:
        """The worker of a slot has died; tell whether the new one takes its place at once."""
        if slot.former is not None and slot.former.pid:
            self._shell.signal(slot.former.pid, 9)  # it passes on to a process that is no more
        if slot.successor is None:
            return False
        if slot.successor.state is not SlotState.READY:
            self._drop(slot)
            self._fail(slot, f"worker {slot.name} died before it could be replaced")
            return False
        one = self._open[slot.address]
        one.handing_over = False
        one.missing = set(slot.keys)
        self.count += 1
        self._take_place(slot)
        self._shell.send(slot.identity, c.TakeOver(tuple(slot.keys), None, None))
        self._driver.took_place(slot)
        self._settle(slot.address)
        return True

    def _take_place(self, slot: Slot) -> None:
        successor, slot.successor = slot.successor, None
        assert successor is not None
        slot.incarnation, slot.pid = successor.incarnation, successor.pid
        slot.identity, slot.peer = successor.identity, successor.peer
        slot.state = successor.state


def can_be_replaced(slot: Slot, slots: Slots) -> bool:
    """Tell whether the worker of a slot is ready, and no other one is being replaced.

    One that has been replaced counts until it has ended: until then others may send to it.
    """
    return slot.state is SlotState.READY and not slot.leaving and not slots.others()


def _occupant(slot: Slot) -> Slot:
    """Give the worker that stands in a slot as one that stands beside it."""
    other = Slot(slot.address, slot.name, slot.shared, slot.cpu, slot.incarnation)
    other.state, other.pid = slot.state, slot.pid
    other.identity, other.peer = slot.identity, slot.peer
    return other
