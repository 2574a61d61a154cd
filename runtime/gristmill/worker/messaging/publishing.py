"""``Publishing``: events of the in-memory channels, from a worker's actors to all subscribers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from gristmill.messages import Event
from gristmill.metrics import TimeClass
from gristmill.transport.control import Subscribe
from gristmill.transport.envelope import EVENT, pack
from gristmill.transport.outbound import Head
from gristmill.worker.actors.cell import Cell, Entry
from gristmill.worker.telemetry import counters
from gristmill.worker.turns.effects import PUBLISH

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore

_SER = int(TimeClass.SER)
_SENT = counters.SENT
_BACKLOG = 100_000
"""Envelopes that may wait for a process before events for it are dropped."""


class Publishing:
    """Implements :class:`~gristmill.channels.contract.FanOut` for a worker."""

    def __init__(self, core: WorkerCore) -> None:
        self._core = core
        self._shell = core.shell
        self._here = core.shell.address
        self._seal = core.shell.arrays.seal
        self._subscribers: dict[str, dict[int, list[int]]] = {}

    def subscribers(self, channel: str, targets: Iterable[tuple[int, int]]) -> None:
        """Take in who gets a channel's events."""
        homes: dict[int, list[int]] = {}
        for address, key in targets:
            homes.setdefault(address, []).append(key)
        self._subscribers[channel] = homes

    def attach(self, channel: str, subscriber: int, *, wanted: bool) -> None:
        """Have an actor of this worker known, or forgotten, as a subscriber."""
        self._shell.control(Subscribe(channel, self._here, subscriber, wanted))

    def fan_out(self, channel: str, event: Event) -> None:
        """Send an event to the subscribers that are known here."""
        previous = self._core.meter.switch(_SER)
        try:
            body = self._core.codec.encode(event)
            origin = self._core.sending.origin
            if origin is not None and origin.durable:
                (origin.effects or origin.own("effects")).append((PUBLISH, channel, body))
            else:
                self.send(origin, channel, [body])
        finally:
            self._core.meter.switch(previous)

    def send(self, origin: Cell | None, channel: str, bodies: list[bytes]) -> None:
        """Send encoded events to them."""
        counted = self._core.counters
        counted[counters.PUBLISHED] += len(bodies)
        sender = origin.key if origin is not None else 0
        for address, keys in self._subscribers.get(channel, {}).items():
            if address == self._here:
                counted[_SENT] += len(keys) * len(bodies)
                for body in bodies:
                    entry = Entry(EVENT, 0, sender, 0, 0.0, body, None, self._core.meter.last)
                    for key in keys:
                        self._core.deliver_event(key, entry)
            elif self._shell.waiting(address) < _BACKLOG:
                counted[_SENT] += len(bodies)  # its receiver counts the other copies
                self._post(address, (EVENT, channel, keys, sender), bodies)
            else:
                counted[_SENT] += len(keys) * len(bodies)
                counted[counters.OVERFLOW] += len(keys) * len(bodies)

    def _post(self, address: int, head: Head, bodies: list[bytes]) -> None:
        outbound = self._shell.outbound(address)
        for body in bodies:
            if type(body) is bytes:
                outbound.put(head, 0, body)
            else:
                self._shell.post(address, pack(self._seal((*head, 0, body), address)))
