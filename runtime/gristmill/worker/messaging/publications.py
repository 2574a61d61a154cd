"""``Publications``: what a worker's actors publish, on its way to the brokers.

An event leaves behind the commit of what its handler has decided, and is journaled with it, once
for each broker, so that it outlives the worker until that broker has it.
"""

from __future__ import annotations

import logging
import secrets
from collections import deque
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING

import msgspec

from gristmill.channels.contract import ChannelFullError
from gristmill.channels.driver import Driver
from gristmill.channels.publisher import Publisher
from gristmill.channels.records import Publication
from gristmill.config import ChannelConfig
from gristmill.durability import JournalStore
from gristmill.messages import Event
from gristmill.metrics import TimeClass
from gristmill.worker.actors.cell import Cell
from gristmill.worker.messaging.outbox import CHANNEL_LANE
from gristmill.worker.telemetry import counters

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore

_SER = int(TimeClass.SER)
_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(tuple[str, str, bytes])
"""A publication as the journal keeps it: channel, key, body."""
_LEAVE_SECONDS = 3.0
"""How long the end of a worker waits for what is published to reach each broker."""

_log = logging.getLogger("gristmill.channels")


class _Broker:
    """One broker's share."""

    def __init__(self, publisher: Publisher) -> None:
        self.publisher = publisher
        self.lane = CHANNEL_LANE + publisher.kind
        self.outgoing: list[Publication] = []
        """What leaves when the turn is committed."""
        self.last = 0
        """The number of the last event, where no journal counts."""


class Publications:
    """A worker's way to all brokers."""

    def __init__(self, core: WorkerCore, store: JournalStore | None, config: ChannelConfig) -> None:
        self._core = core
        self._store = store
        self._config = config
        self._brokers: list[_Broker] = []
        self._name = ""
        self._confirmed: deque[tuple[str, int]] = deque()
        """Lanes, each with the number up to which its broker has everything."""
        self._counting = Lock()

    def add(self, driver: Driver) -> None:
        """From now on, publish to this broker too; first what an earlier incarnation has left."""
        fate = _Fate(self, CHANNEL_LANE + driver.kind)
        broker = _Broker(Publisher(driver, fate, self._config.max_unsent))
        self._brokers.append(broker)
        self._resume(broker)

    def open(self, store: JournalStore | None) -> None:
        """Take the journal over from the worker before, with what it has not got rid of."""
        self._store = store
        for broker in self._brokers:
            self._resume(broker)

    def _resume(self, broker: _Broker) -> None:
        if self._store is None:
            return
        for _, number, payload in self._store.pending(broker.lane):
            channel, key, body = _decoder.decode(payload)
            broker.outgoing.append(Publication(channel, key, self._publisher(), number, body))
        self.committed()

    # --- publishing ---

    def publish(self, channel: str, event: Event, key: str) -> None:
        """Publish an event on every broker when what its publisher has decided is safe.

        Raises:
            ChannelFullError: there is no room for it; it is published nowhere.
        """
        brokers = self._with_room()
        if not brokers:
            return
        previous = self._core.meter.switch(_SER)
        try:
            body = self._core.codec.encode_in_band(event)
        finally:
            self._core.meter.switch(previous)
        origin = self._core.sending.origin
        if origin is not None and origin.durable:
            effect = (self._publish, brokers, channel, key, body)  # leaves with the commit
            (origin.effects or origin.own("effects")).append(effect)
        else:
            self._publish(origin, brokers, channel, key, body)

    def _with_room(self) -> list[_Broker]:
        """Give the brokers that may be behind by one event more."""
        try:
            for broker in self._brokers:
                broker.publisher.check_room()
        except ChannelFullError as error:
            if self._config.when_full == "refuse":
                raise
            _log.error("%s", error)
            free = [each for each in self._brokers if each.publisher.has_room]
            self._drop(len(self._brokers) - len(free))
            return free
        return self._brokers

    def _publish(
        self, _origin: Cell | None, brokers: list[_Broker], channel: str, key: str, body: bytes
    ) -> None:
        self._core.counters[counters.PUBLISHED] += len(brokers)
        store, publisher = self._store, self._name or self._publisher()
        payload = b"" if store is None else _encode((channel, key, body))
        for broker in brokers:
            if store is None:
                number = broker.last = broker.last + 1
            else:
                number = store.enqueue(broker.lane, payload)
            broker.outgoing.append(Publication(channel, key, publisher, number, body))
        self._core.shell.request_turn()

    def _publisher(self) -> str:
        """Give this publisher's name; it stays the same for as long as its numbers go on."""
        if self._name:
            return self._name
        store, slot = self._store, self._core.shell.name
        name = f"{slot}-{secrets.token_hex(8)}"
        if store is not None:
            kept = store.get_all(f"channels/{slot}").get("publisher")
            if kept is None:
                store.put(f"channels/{slot}", "publisher", name.encode())  # committed with an event
            else:
                name = kept.decode()
        self._name = name
        return name

    def committed(self) -> None:
        """What the turn has decided is safe: let it leave."""
        leaves = False
        for broker in self._brokers:
            if broker.outgoing:
                outgoing, broker.outgoing = broker.outgoing, []
                broker.publisher.send(outgoing)
                leaves = True
        if leaves:
            self._count_unconfirmed()

    def _count_unconfirmed(self) -> None:
        with self._counting:  # else a count that is old could be written over a newer one
            waiting = sum(len(broker.publisher) for broker in self._brokers)
            self._core.counters[counters.UNCONFIRMED] = waiting

    # --- what became of it ---

    def was_confirmed(self, lane: str, number: int) -> None:
        """A broker has everything up to a number; called on a publisher's thread."""
        self._count_unconfirmed()
        if self._store is not None:
            self._confirmed.append((lane, number))  # forgotten with the next commit

    def rests(self) -> None:
        """A broker has everything; called on a publisher's thread."""
        if self._store is not None:
            self._core.shell.from_thread(self._rested)

    def _rested(self) -> None:
        self.forget_confirmed()
        self._core.leaving.leave_when_done()

    @property
    def owed(self) -> int:
        """How many events the journal keeps that a broker does not have yet."""
        if self._store is None:
            return 0
        return sum(len(broker.outgoing) + len(broker.publisher) for broker in self._brokers)

    def forget_confirmed(self) -> None:
        """Have the next commit forget what brokers have."""
        store = self._store
        while self._confirmed and store is not None:
            store.acknowledge(*self._confirmed.popleft())

    def was_refused(self, publication: Publication, reason: str) -> None:
        """A broker will never take an event; called on a publisher's thread."""
        text = f"channel {publication.channel!r} does not take it: {reason}"
        letter = partial(self._core.failures.dead_letter, None, "", publication.body, text)
        self._core.shell.from_thread(letter)

    def _drop(self, events: int) -> None:
        self._core.counters[counters.SENT] += events
        self._core.counters[counters.OVERFLOW] += events

    def close(self) -> None:
        """Let what is published reach its broker."""
        for broker in self._brokers:
            left = broker.publisher.close(_LEAVE_SECONDS)
            if left and self._store is None:
                self._drop(left)
                _log.error("%d events for %s were not published", left, broker.publisher.kind)
        self.forget_confirmed()


class _Fate:
    """What becomes of the events for one broker."""

    def __init__(self, publications: Publications, lane: str) -> None:
        self._publications = publications
        self._lane = lane

    def confirmed(self, last: Publication) -> None:
        self._publications.was_confirmed(self._lane, last.number)

    def refused(self, publication: Publication, reason: str) -> None:
        self._publications.was_refused(publication, reason)

    def rests(self) -> None:
        self._publications.rests()
