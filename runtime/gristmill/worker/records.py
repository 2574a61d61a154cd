"""``Records``: what a worker's actors publish to brokers, and what they get from them.

Published events leave behind the commit of what their handler has decided, and are journaled with
it, so that they outlive the worker. Events that come in are acknowledged behind the commit of what
came of them; a durable actor commits its mark with that, so that it handles none of them twice.
"""

from __future__ import annotations

import logging
import secrets
import socket
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from gristmill.channels.broker import retries_of
from gristmill.channels.consumer import Consumer
from gristmill.channels.contract import ChannelBackend, ChannelFullError, Listen
from gristmill.channels.driver import Driver
from gristmill.channels.publisher import Publisher
from gristmill.channels.records import Delivery, Publication
from gristmill.config import ChannelConfig
from gristmill.durability import JournalStore
from gristmill.errors import Nack
from gristmill.messages import Event, tag_of
from gristmill.metrics import TimeClass
from gristmill.transport.codec import NO_MESSAGE, message_tag
from gristmill.worker import counters
from gristmill.worker.cell import RECORD, Cell, Entry, State
from gristmill.worker.outbox import CHANNEL_LANE

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore

_SER = int(TimeClass.SER)
_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(tuple[str, str, bytes])
"""A publication as the journal keeps it: channel, key, body."""
_LEAVE_SECONDS = 3.0
"""How long the end of a worker waits for each: what is published to leave, subscriptions to end."""

_log = logging.getLogger("gristmill.channels")


class _Handed(NamedTuple):
    """An event in a mailbox."""

    cell: int
    consumer: Consumer
    token: int
    delivery: Delivery


class Records:
    """A worker's end of all brokers; implements ``BrokerProcess``."""

    def __init__(self, core: WorkerCore, store: JournalStore | None, config: ChannelConfig) -> None:
        self._core = core
        self._store = store
        self._config = config
        self._drivers: list[Driver] = []
        self._publishers: dict[ChannelBackend, Publisher] = {}
        self._numbers: dict[ChannelBackend, int] = {}
        self._name = ""
        self._outgoing: list[tuple[Publisher, Publication]] = []
        self._handled_now: dict[Consumer, list[int]] = {}
        """What consumers are told when the turn is committed: the tokens of handled events."""
        self._returned: list[Consumer] = []
        """Consumers whose subscribers have ended in this turn."""
        self._consumers: dict[tuple[ChannelBackend, str, str, int], Consumer] = {}
        self._leaving: list[Consumer] = []
        self._handed: dict[int, _Handed] = {}
        self._begun: set[int] = set()
        """Those of them whose handlers have begun: a broker's events are counted from there on."""
        self._last = 0
        self._confirmed: deque[tuple[ChannelBackend, int]] = deque()

    # --- publishing ---

    def resume(self, driver: Driver) -> None:
        """Publish what an earlier incarnation of this worker has journaled and not got rid of."""
        self._drivers.append(driver)
        self._resume(driver)

    def open(self, store: JournalStore | None) -> None:
        """Take the journal over from the worker before, with what it has not got rid of."""
        self._store = store
        for driver in self._drivers:
            self._resume(driver)

    def _resume(self, driver: Driver) -> None:
        lane = CHANNEL_LANE + driver.kind
        if self._store is None:
            return
        left = [
            (self._publisher(driver), self._publication(number, *_decoder.decode(payload)))
            for _, number, payload in self._store.pending(lane)
        ]
        self._outgoing += left
        self.committed()

    def publish(self, driver: Driver, channel: str, event: Event, key: str) -> None:
        """Publish an event when what its publisher has decided is safe."""
        publisher = self._publisher(driver)
        try:
            publisher.check_room()
        except ChannelFullError as error:
            if self._config.when_full == "refuse":
                raise
            self.count(counters.OVERFLOW, 1)
            _log.error("%s", error)
            return
        previous = self._core.meter.switch(_SER)
        try:
            body = self._core.codec.encode_in_band(event)
        finally:
            self._core.meter.switch(previous)
        origin = self._core.sending.origin
        if origin is not None and origin.durable:
            origin.effects.append((self._publish, driver.kind, channel, key, body))
        else:
            self._publish(origin, driver.kind, channel, key, body)

    def _publish(
        self, _origin: Cell | None, kind: ChannelBackend, channel: str, key: str, body: bytes
    ) -> None:
        self._core.counters[counters.PUBLISHED] += 1
        if self._store is not None:
            number = self._store.enqueue(CHANNEL_LANE + kind, _encode((channel, key, body)))
        else:
            number = self._numbers[kind] = self._numbers.get(kind, 0) + 1
        publication = self._publication(number, channel, key, body)
        self._outgoing.append((self._publishers[kind], publication))
        self._core.shell.request_turn()

    def _publication(self, number: int, channel: str, key: str, body: bytes) -> Publication:
        return Publication(channel, key, self._name or self._named(), number, body)

    def _named(self) -> str:
        """Make up this publisher's name; it stays the same for as long as its numbers go on."""
        store, slot = self._store, self._core.shell.name
        if store is None:
            self._name = f"{slot}-{secrets.token_hex(8)}"
            return self._name
        kept = store.get_all(f"channels/{slot}").get("publisher")
        if kept is None:
            kept = f"{slot}-{secrets.token_hex(8)}".encode()
            store.put(f"channels/{slot}", "publisher", kept)  # committed with what it publishes
        self._name = kept.decode()
        return self._name

    def _publisher(self, driver: Driver) -> Publisher:
        found = self._publishers.get(driver.kind)
        if found is None:
            fate = _Fate(self, driver.kind)
            found = Publisher(driver, fate, self._config.max_unsent)
            self._publishers[driver.kind] = found
        return found

    def was_confirmed(self, kind: ChannelBackend, number: int) -> None:
        """A broker has everything up to a number; called on a publisher's thread."""
        if self._store is not None:
            self._confirmed.append((kind, number))
            self._core.shell.from_thread(self._forget_confirmed)

    def was_refused(self, publication: Publication, reason: str) -> None:
        """A broker will never take an event; called on a publisher's thread."""
        text = f"channel {publication.channel!r} does not take it: {reason}"
        letter = partial(self._core.failures.dead_letter, None, "", publication.body, text)
        self._core.shell.from_thread(letter)

    def _forget_confirmed(self) -> None:
        store = self._store
        while self._confirmed and store is not None:
            kind, number = self._confirmed.popleft()
            store.acknowledge(CHANNEL_LANE + kind, number)

    # --- subscribing ---

    def listen(self, driver: Driver, listen: Listen, subscriber: int, *, wanted: bool) -> None:
        """Begin or end a subscription."""
        key = (driver.kind, listen.channel, listen.group, subscriber)
        found = self._consumers.get(key)
        if wanted and found is None:
            cell = self._core.cells[subscriber]
            consumer = self._consumers[key] = Consumer(
                driver,
                listen,
                self._member(cell),
                retries_of(self._config),
                _Subscriber(self, cell),
                lasting=cell.spec is not None and bool(cell.spec.name),
            )
            if cell.state is State.RUNNING:
                consumer.open()
        elif not wanted and found is not None:
            self._end(key)

    def _member(self, cell: Cell) -> str:
        """Name a subscriber: its incarnations are one member, wherever it lives on this node."""
        shell = self._core.shell
        name = cell.spec.name if cell.spec is not None and cell.spec.name else f"#{cell.key}"
        return f"{socket.gethostname()}/{shell.node_id}/{name}"

    def _end(self, key: tuple[ChannelBackend, str, str, int]) -> None:
        consumer = self._consumers.pop(key)
        self._leaving = [each for each in self._leaving if not each.ended]
        self._leaving.append(consumer)
        consumer.close(0.0)

    def from_thread(self, act: Callable[[], None]) -> None:
        """Have something done on the worker's loop."""
        self._core.shell.from_thread(act)

    def count(self, counter: int, events: int) -> None:
        """Count events that no handler gets."""
        self._core.counters[counters.SENT] += events
        self._core.counters[counter] += events

    def arrive(
        self, subscriber: int, consumer: Consumer, batch: list[tuple[int, Delivery]]
    ) -> None:
        """Put events into a subscriber's mailbox."""
        cell = self._core.cells.get(subscriber)
        if cell is None:
            return
        arrived = self._core.meter.last
        for token, delivery in batch:
            if consumer.is_current(token):
                self._last += 1
                self._handed[self._last] = _Handed(subscriber, consumer, token, delivery)
                entry = Entry(RECORD, 0, 0, self._last, 0.0, delivery.body, None, arrived)
                cell.queue.append(entry)
        self._core.schedule(cell)

    # --- a subscriber's life ---

    def started(self, cell: Cell) -> None:
        """A subscriber takes events."""
        for (*_, subscriber), consumer in self._consumers.items():
            if subscriber == cell.key:
                consumer.open()

    def ended(self, cell: Cell) -> None:
        """An incarnation has ended: its successor gets what it has left."""
        if not self._consumers:
            return
        for (*_, subscriber), consumer in self._consumers.items():
            if subscriber == cell.key:
                self._returned.append(consumer)
        stale = [number for number, handed in self._handed.items() if handed.cell == cell.key]
        for number in stale:
            if number in self._begun and entry_in_hand(cell) != number:  # it was postponed
                self._core.counters[counters.ENDED] += 1
            self._pop(number)

    def forget(self, cell: Cell) -> None:
        """A subscriber is gone for good."""
        for key in [key for key in self._consumers if key[3] == cell.key]:
            self._end(key)

    # --- an event in hand ---

    def begin(self, cell: Cell, entry: Entry) -> bool:
        """Tell whether an event that a mailbox had is still to be handled."""
        handed = self._handed.get(entry.number)
        if handed is None:
            return False
        if not handed.consumer.begin(handed.token):
            self._pop(entry.number)
            return False
        if entry.number not in self._begun:  # else it was postponed
            self._begun.add(entry.number)
            self._core.counters[counters.SENT] += 1
        if cell.durable:
            sender, number = _mark(handed)
            if number <= cell.marks.get(sender, 0):
                self._core.counters[counters.DUPLICATE] += 1
                self.handled(cell, entry)
                return False
        return True

    def handled(self, cell: Cell, entry: Entry) -> None:
        """An event was handled; its broker hears of it when that is committed."""
        handed = self._pop(entry.number)
        if handed is None:
            return
        if cell.durable and self._store is not None and cell.spec is not None:
            sender, number = _mark(handed)
            if number > cell.marks.get(sender, 0):
                cell.marks[sender] = number
                self._store.mark(cell.spec.name, sender, number)
        self._handled_now.setdefault(handed.consumer, []).append(handed.token)

    def failed(self, entry: Entry, error: BaseException, reason: str) -> None:
        """The handler of an event has raised: it comes again, until it has failed too often."""
        refused = isinstance(error, Nack)
        self._core.counters[counters.REJECTED if refused else counters.ENDED] += 1
        after = error.after if isinstance(error, Nack) else None
        self._give_back(entry, reason, final=False, after=after)

    def refuse(self, entry: Entry, reason: str) -> None:
        """An event can never be handled here."""
        self._give_back(entry, reason, final=True, after=None)

    def _pop(self, number: int) -> _Handed | None:
        self._begun.discard(number)
        return self._handed.pop(number, None)

    def _give_back(self, entry: Entry, reason: str, *, final: bool, after: float | None) -> None:
        handed = self._pop(entry.number)
        if handed is not None:
            handed.consumer.failed(handed.token, reason, final=final, after=after)

    # --- commits ---

    def committed(self) -> None:
        """What the turn has decided is safe: let it leave."""
        if self._outgoing:
            outgoing, self._outgoing = self._outgoing, []
            for publisher in self._publishers.values():
                own = [event for by, event in outgoing if by is publisher]
                if own:
                    publisher.send(own)
        if self._handled_now:
            handled, self._handled_now = self._handled_now, {}
            for consumer, tokens in handled.items():
                consumer.handled(tokens)
        if self._returned:
            returned, self._returned = self._returned, []
            for consumer in returned:  # behind what it has handled
                consumer.returned()

    def close(self) -> None:
        """Leave every group in order, and let what is published reach its broker."""
        for key in list(self._consumers):
            self._end(key)
        for consumer in self._leaving:
            consumer.close(_LEAVE_SECONDS)
        for kind, publisher in self._publishers.items():
            left = publisher.close(_LEAVE_SECONDS)
            if left and self._store is None:
                self.count(counters.OVERFLOW, left)
                _log.error("%d events for %s were not published", left, kind)
        self._forget_confirmed()


class _Subscriber:
    """An actor that events of a broker are for; called on a consumer's thread."""

    def __init__(self, records: Records, cell: Cell) -> None:
        self._records = records
        self._cell = cell.key
        self._tags = frozenset(map(tag_of, cell.handlers))

    def wants(self, delivery: Delivery) -> bool:
        """Tell whether it has a handler; what is no message at all it has to refuse."""
        tag = message_tag(delivery.body)
        return tag in self._tags or tag == NO_MESSAGE

    def take(self, consumer: Consumer, batch: list[tuple[int, Delivery]]) -> None:
        self._records.from_thread(partial(self._records.arrive, self._cell, consumer, batch))

    def spared(self, count: int) -> None:
        self._count(counters.UNWANTED, count)

    def lost(self, count: int) -> None:
        self._count(counters.OVERFLOW, count)

    def _count(self, counter: int, events: int) -> None:
        self._records.from_thread(partial(self._records.count, counter, events))


class _Fate:
    """What became of the events of one publisher."""

    def __init__(self, records: Records, kind: ChannelBackend) -> None:
        self._records = records
        self._kind = kind

    def confirmed(self, last: Publication) -> None:
        self._records.was_confirmed(self._kind, last.number)

    def refused(self, publication: Publication, reason: str) -> None:
        self._records.was_refused(publication, reason)


def entry_in_hand(cell: Cell) -> int:
    """Give the number of the event whose handler runs; 0 for none."""
    entry = cell.current
    return entry.number if entry is not None and entry.kind == RECORD else 0


def _mark(handed: _Handed) -> tuple[str, int]:
    """Give under what name, and as what number, a durable actor remembers an event."""
    listen, delivery = handed.consumer.listen, handed.delivery
    place = f"{handed.consumer.kind}:{listen.channel}/{delivery.partition}"
    if delivery.number:
        return f"{place} {delivery.publisher}", delivery.number
    return place, _as_number(delivery.position)


def _as_number(position: str) -> int:
    """Give a number that rises with the position: an offset, or milliseconds and a count."""
    first, _, second = position.partition("-")
    return (int(first) << 20) + int(second or 0) + 1
