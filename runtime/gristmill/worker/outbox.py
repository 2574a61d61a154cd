"""At-least-once sending: journaled before it is sent, forgotten when it was handled.

Messages to one target are numbered from 1 without gaps and sent in order, a mailbox's capacity of
them at a time. Whatever was not acknowledged is sent again to a new incarnation of the target's
process, and at the next start of the node.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from gristmill.durability import JournalStore
from gristmill.ref import Address

_encode = msgspec.msgpack.Encoder().encode


class Parcel(msgspec.Struct, frozen=True, array_like=True):
    """An at-least-once message as the journal keeps it."""

    sender: str
    """The sending actor's name; empty for a client or an unnamed actor."""
    body: bytes


class _Open(NamedTuple):
    number: int
    parcel: Parcel


class _Lane:
    """What is open for one target."""

    __slots__ = ("acknowledged", "home", "open", "sent")

    def __init__(self) -> None:
        self.open: deque[_Open] = deque()
        self.acknowledged = 0
        self.sent = 0
        """The highest number sent to the target's present process."""
        self.home = (0, 0)
        """The process, and its incarnation, that they were sent to."""


class Outbox:
    """The open at-least-once messages of one process.

    Args:
        store: the process's journal.
        transmit: sends one message: (target, sender's name, number, body).
    """

    def __init__(
        self, store: JournalStore, transmit: Callable[[Address, str, int, bytes], None]
    ) -> None:
        self._store = store
        self._transmit = transmit
        self._lanes: dict[str, _Lane] = {}
        self._targets: dict[str, Address] = {}
        for target, number, payload in store.pending():
            parcel = msgspec.msgpack.decode(payload, type=Parcel)
            self._lane(target).open.append(_Open(number, parcel))
        for lane in self._lanes.values():
            lane.acknowledged = lane.sent = lane.open[0].number - 1

    def __len__(self) -> int:
        """How many messages are open."""
        return sum(len(lane.open) for lane in self._lanes.values())

    def send(self, to: Address, sender: str, body: bytes) -> None:
        """Journal a message and send it when there is room."""
        parcel = Parcel(sender, body)
        number = self._store.enqueue(to.name, _encode(parcel))
        lane = self._lane(to.name)
        if not lane.open:
            lane.acknowledged = lane.sent = number - 1
        lane.open.append(_Open(number, parcel))
        address = self._targets.get(to.name)
        if address is not None:
            self._advance(address, lane)

    def located(self, target: Address, incarnation: int) -> None:
        """Take in where a named actor is; a new process gets everything that is open."""
        self._targets[target.name] = target
        lane = self._lane(target.name)
        home = (target.home, incarnation)
        if lane.home != home:
            lane.home = home
            lane.sent = lane.acknowledged
        self._advance(target, lane)

    def unlocated(self, target: str) -> None:
        """A target has gone, with or without its process: keep what comes until it is back.

        Sending on would let a later number overtake those that must be sent again.
        """
        if self._targets.pop(target, None) is not None:
            self._lane(target).home = (0, 0)

    def lost(self, home: int) -> None:
        """A process has died, and with it every target there."""
        gone = [name for name, address in self._targets.items() if address.home == home]
        for name in gone:
            self.unlocated(name)

    def acknowledged(self, target: str, number: int) -> None:
        """Forget everything up to ``number``, and send what waited for room."""
        lane = self._lane(target)
        if number <= lane.acknowledged:
            return
        lane.acknowledged = number
        lane.sent = max(lane.sent, number)
        while lane.open and lane.open[0].number <= number:
            lane.open.popleft()
        self._store.acknowledge(target, number)
        address = self._targets.get(target)
        if address is not None:
            self._advance(address, lane)

    def _lane(self, target: str) -> _Lane:
        lane = self._lanes.get(target)
        if lane is None:
            lane = self._lanes[target] = _Lane()
        return lane

    def _advance(self, address: Address, lane: _Lane) -> None:
        """Send what there is room for."""
        if not lane.open:
            return
        first = lane.open[0].number
        last = min(lane.acknowledged + address.mailbox.capacity, lane.open[-1].number)
        while lane.sent < last:
            lane.sent = max(lane.sent + 1, first)
            item = lane.open[lane.sent - first]
            self._transmit(address, item.parcel.sender, item.number, item.parcel.body)
