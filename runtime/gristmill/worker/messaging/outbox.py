"""At-least-once sending: journaled before it is sent, forgotten when it was handled.

Messages to one target are numbered from 1 without gaps and sent in order, a mailbox's capacity of
them at a time. Whatever was not acknowledged is sent again to a new incarnation of the target's
process, and at the next start of the node.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import count, groupby, islice, repeat
from typing import Protocol

import msgspec

from gristmill.durability import JournalStore
from gristmill.ref import Address

_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(tuple[str, bytes])
"""A message as the journal keeps it: the sending actor's name, empty for none, and the body."""

CHANNEL_LANE = "channel://"
"""How the names begin under which a journal keeps what is published to brokers."""


class Transmit(Protocol):
    """Sends messages to one target whose numbers follow each other."""

    def __call__(
        self, to: Address, sender: str, first: int, bodies: list[bytes], /, *, again: bool
    ) -> None:
        """Send them; ``again``: they may have been sent before."""


class _Lane:
    """What is open for one target."""

    __slots__ = ("acknowledged", "home", "latest", "open", "sent", "target")

    def __init__(self) -> None:
        self.open: deque[tuple[int, str, bytes]] = deque()
        """(number, sender, body) of what is not acknowledged."""
        self.acknowledged = 0
        self.sent = 0
        """The highest number sent to the target's present process."""
        self.latest = 0
        """The highest number that may have been sent to anybody."""
        self.target: Address | None = None
        """Where the target is; None while it is nowhere."""
        self.home = (0, 0)
        """The process, and its incarnation, that they were sent to."""


class Outbox:
    """The open at-least-once messages of one process.

    Args:
        store: the process's journal.
        transmit: sends messages.
    """

    def __init__(self, store: JournalStore, transmit: Transmit) -> None:
        self._store = store
        self._transmit = transmit
        self._lanes: dict[str, _Lane] = {}
        for target, number, payload in store.pending():
            if target.startswith(CHANNEL_LANE):
                continue
            self._lane(target).open.append((number, *_decoder.decode(payload)))
        for lane in self._lanes.values():
            lane.acknowledged = lane.sent = lane.open[0][0] - 1
            lane.latest = lane.open[-1][0]

    def __len__(self) -> int:
        """How many messages are open."""
        return sum(len(lane.open) for lane in self._lanes.values())

    def send(self, to: Address, sender: str, bodies: list[bytes]) -> None:
        """Journal messages to one target, and send each when there is room."""
        lane = self._lanes.get(to.name) or self._lane(to.name)
        first = self._store.enqueue_all(to.name, [_encode((sender, body)) for body in bodies])
        if not lane.open:
            lane.acknowledged = lane.sent = first - 1
        lane.open.extend(zip(count(first), repeat(sender), bodies))
        target, last = lane.target, first + len(bodies) - 1
        if target is None:
            return
        if lane.sent == first - 1 and last - lane.acknowledged <= target.mailbox.capacity:
            lane.sent = lane.latest = last
            self._transmit(target, sender, first, bodies, again=False)
        else:
            self._advance(lane, target)

    def located(self, target: Address, incarnation: int) -> None:
        """Take in where a named actor is; a new process gets everything that is open."""
        lane = self._lane(target.name)
        lane.target = target
        home = (target.home, incarnation)
        if lane.home != home:
            lane.home = home
            lane.sent = lane.acknowledged
        self._advance(lane, target)

    def moved(self, home: int, before: int, now: int) -> None:
        """A target's process was replaced by its next incarnation, which has all that was sent."""
        for lane in self._lanes.values():
            if lane.home == (home, before):
                lane.home = (home, now)

    def positions(self) -> dict[str, tuple[int, int, int]]:
        """Say by target how far it was sent: to which process, its incarnation, and the number."""
        return {name: (*lane.home, lane.sent) for name, lane in self._lanes.items() if lane.open}

    def resume(self, positions: dict[str, tuple[int, int, int]]) -> None:
        """Take over from a process that has sent so far."""
        for name, (home, incarnation, sent) in positions.items():
            lane = self._lane(name)
            lane.home = (home, incarnation)
            lane.sent = max(lane.sent, sent)

    def unlocated(self, target: str) -> None:
        """A target has gone, with or without its process: keep what comes until it is back.

        Sending on would let a later number overtake those that must be sent again.
        """
        lane = self._lanes.get(target)
        if lane is None:
            return
        if lane.open:
            lane.target = None
            lane.home = (0, 0)
        else:
            del self._lanes[target]

    def lost(self, home: int) -> None:
        """A process has died, and with it every target there."""
        for name, lane in list(self._lanes.items()):
            if lane.target is not None and lane.target.home == home:
                self.unlocated(name)

    def acknowledged(self, target: str, number: int) -> None:
        """Forget everything up to ``number``, and send what waited for room."""
        lane = self._lanes.get(target)
        if lane is None or number <= lane.acknowledged:
            return
        lane.acknowledged = number
        lane.sent = max(lane.sent, number)
        while lane.open and lane.open[0][0] <= number:
            lane.open.popleft()
        self._store.acknowledge(target, number)
        if lane.target is not None:
            self._advance(lane, lane.target)

    def pass_on(self, target: str, choose: Callable[[], Address]) -> None:
        """Give what is open for a target that is no more to others; ``choose`` gives whom to."""
        left = list(self._lane(target).open)
        for _, sender, body in left:
            self.send(choose(), sender, [body])
        if left:
            self.acknowledged(target, left[-1][0])

    def open_to(self, target: str) -> int:
        """Count what a target has not handled."""
        lane = self._lanes.get(target)
        return len(lane.open) if lane is not None else 0

    def open_targets(self, prefix: str) -> list[str]:
        """Give the targets whose names begin so and that have not handled everything."""
        lanes = self._lanes.items()
        return [name for name, lane in lanes if lane.open and name.startswith(prefix)]

    def has_open(self, target: str) -> bool:
        """Tell whether a target has not handled everything."""
        lane = self._lanes.get(target)
        return lane is not None and bool(lane.open)

    def _lane(self, target: str) -> _Lane:
        lane = self._lanes.get(target)
        if lane is None:
            lane = self._lanes[target] = _Lane()
        return lane

    def _advance(self, lane: _Lane, target: Address) -> None:
        """Send what there is room for."""
        if not lane.open:
            return
        first, latest = lane.open[0][0], lane.open[-1][0]
        begin = max(lane.sent + 1, first)
        last = min(lane.acknowledged + target.mailbox.capacity, latest)
        if begin > last:
            return
        known, lane.sent, lane.latest = lane.latest, last, max(lane.latest, last)
        due = islice(lane.open, begin - first, last + 1 - first)
        for (sender, again), run in groupby(due, lambda item: (item[1], item[0] <= known)):
            numbers, _, bodies = zip(*run, strict=True)
            self._transmit(target, sender, numbers[0], list(bodies), again=again)
