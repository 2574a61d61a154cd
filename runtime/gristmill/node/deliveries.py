"""What became of all messages of a node: the counts of its processes, living and dead, as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from gristmill.metrics.wires import Wire
from gristmill.worker.telemetry.counters import DROPPED, FINISHED, NAMES, NOW

LOST_WITH_PROCESS = "lost_with_process"
"""Waited in a process that was killed: in a mailbox, or on its way out."""
LOST_ON_WIRE = "lost_on_wire"
"""Sent and not received by one of two processes of which one was killed."""
REASONS = (*DROPPED, LOST_WITH_PROCESS, LOST_ON_WIRE)


class Deliveries(msgspec.Struct, frozen=True):
    """Messages of a node by what became of them, from counters that outlive their processes.

    An event counts once for each subscriber, a message to oneself (a timer) counts too, and one
    that is sent again after a death counts again.
    """

    sent: int = 0
    handled: int = 0
    rejected: int = 0
    """Refused by their handlers."""
    dead_lettered: int = 0
    dropped: dict[str, int] = {}  # msgspec copies it
    """By reason: ``overflow``, ``unwanted``, ``duplicate``, ``cancelled``, ``ended``,
    ``lost_with_process``, ``lost_on_wire``; those with none are left out."""
    in_doubt: int = 0
    """Were perhaps handled: in hand when their workers were killed."""
    waiting: int = 0
    """Have no fate yet: in mailboxes, in hand, or on the way. 0 when nothing is left to do."""
    resent: int = 0
    """How many of ``sent`` had been sent before, and were sent again to a new incarnation."""
    published: int = 0
    """Events published, however many subscribers they had."""
    unconfirmed: int = 0
    """Events that a broker has not confirmed yet, once for each broker."""

    @property
    def dropped_in_all(self) -> int:
        """How many were dropped, whatever the reason."""
        return sum(self.dropped.values())

    @property
    def accounted(self) -> int:
        """How many have a fate: handled, rejected, dead-lettered, dropped or in doubt."""
        done = self.handled + self.rejected + self.dead_lettered
        return done + self.dropped_in_all + self.in_doubt

    @property
    def balanced(self) -> bool:
        """Whether every message sent has exactly one fate; False while some have none yet."""
        return self.sent == self.accounted

    def __sub__(self, earlier: Deliveries) -> Deliveries:
        """Give what has happened since an earlier count."""
        names = set(Deliveries.__struct_fields__) - {"dropped"}
        dropped = {r: n - earlier.dropped.get(r, 0) for r, n in self.dropped.items()}
        return Deliveries(
            dropped={r: n for r, n in dropped.items() if n},
            **{name: getattr(self, name) - getattr(earlier, name) for name in names},
        )

    def __str__(self) -> str:
        dropped = ", ".join(f"{n:,} {reason}" for reason, n in self.dropped.items())
        return (
            f"sent {self.sent:,} = handled {self.handled:,} + rejected {self.rejected:,} + "
            f"dead-lettered {self.dead_lettered:,} + dropped {self.dropped_in_all:,}"
            f"{dropped and f' ({dropped})'} + in doubt {self.in_doubt:,}"
            f"{f' + waiting {self.waiting:,}' if self.waiting else ''}"
            f"{f'; {self.unconfirmed:,} events wait for a broker' if self.unconfirmed else ''}"
        )


class Tally(NamedTuple):
    """The counts of one incarnation of a process."""

    address: int
    incarnation: int
    counters: dict[str, int]
    """By the names of :mod:`~gristmill.worker.telemetry.counters`."""
    wires: tuple[Wire, ...]

    @property
    def content(self) -> int:
        """How many messages are in the process: neither finished nor passed on."""
        counted = self.counters
        gone = sum(counted[name] for name in (*FINISHED, *DROPPED))
        passed = sum(wire.sent for wire in self.wires)
        return counted["sent"] + sum(wire.received for wire in self.wires) - gone - passed


_Process = tuple[int, int]


class DeliveryBook:
    """Adds up the tallies of processes; what two dead ones have exchanged is settled for good."""

    def __init__(self) -> None:
        self._closed: Counter[str] = Counter()
        self._dead: set[_Process] = set()
        self._open: dict[tuple[_Process, _Process], list[int]] = {}
        """Sent and received, from a process to another one, of which one is dead."""

    def close(self, tally: Tally) -> None:
        """A process has died and has left these counts."""
        self._closed.update(_sums(tally))
        content = tally.content
        in_doubt = min(content, tally.counters["in_hand"])
        self._closed["in_doubt"] += in_doubt
        self._closed[LOST_WITH_PROCESS] += content - in_doubt
        dead = (tally.address, tally.incarnation)
        self._dead.add(dead)
        for wire in tally.wires:
            _enter(self._open, dead, wire)
        for pair in [p for p in self._open if dead in p and self._dead.issuperset(p)]:
            sent, received, _ = self._open.pop(pair)
            self._closed[LOST_ON_WIRE] += sent - received

    def read(self, living: Iterable[Tally]) -> Deliveries:
        """Add up what the dead have left and the living have counted so far."""
        sums = Counter(self._closed)
        pairs = {pair: counts.copy() for pair, counts in self._open.items()}
        for tally in living:
            sums.update(_sums(tally))
            sums["waiting"] += tally.content
            sums["unconfirmed"] += tally.counters["unconfirmed"]
            for wire in tally.wires:
                _enter(pairs, (tally.address, tally.incarnation), wire)
        for pair, (sent, received, missing) in pairs.items():
            on_wire = sent - received
            lost = missing if self._dead.isdisjoint(pair) else on_wire
            sums[LOST_ON_WIRE] += lost
            sums["waiting"] += on_wire - lost
        dropped = {reason: sums[reason] for reason in REASONS if sums[reason]}
        names = (*FINISHED, "sent", "resent", "published", "in_doubt", "waiting", "unconfirmed")
        return Deliveries(dropped=dropped, **{name: sums[name] for name in names})


def _sums(tally: Tally) -> dict[str, int]:
    return {name: tally.counters[name] for name in NAMES if name not in NOW}


def _enter(
    pairs: dict[tuple[_Process, _Process], list[int]], process: _Process, wire: Wire
) -> None:
    """Enter what a process has exchanged with another one: sent, received, missing."""
    peer = (wire.address, wire.incarnation)
    pairs.setdefault((process, peer), [0, 0, 0])[0] += wire.sent
    incoming = pairs.setdefault((peer, process), [0, 0, 0])
    incoming[1] += wire.received
    incoming[2] += wire.missing
