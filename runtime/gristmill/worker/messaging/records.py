"""``Records``: a worker's end of all brokers, and what its actors get from them.

Events that come in are acknowledged behind the commit of what came of them; a durable actor commits
its mark with that, so that it handles none of them twice.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from gristmill.channels.broker import retries_of
from gristmill.channels.consumer import Consumer
from gristmill.channels.contract import ChannelBackend, Listen
from gristmill.channels.driver import Driver
from gristmill.channels.records import Delivery
from gristmill.config import ChannelConfig
from gristmill.durability import JournalStore
from gristmill.errors import Nack
from gristmill.messages import Event, tag_of
from gristmill.transport.codec import NO_MESSAGE, message_head, message_tag
from gristmill.worker.actors.cell import RECORD, Cell, Entry, State
from gristmill.worker.messaging.publications import Publications
from gristmill.worker.telemetry import counters

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore

_LEAVE_SECONDS = 3.0
"""How long the end of a worker waits for each subscription to end."""


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
        self.publications = Publications(core, store, config)
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

    def open(self, store: JournalStore | None) -> None:
        """Take the journal over from the worker before."""
        self._store = store
        self.publications.open(store)

    def add(self, driver: Driver) -> None:
        """From now on, publish to this broker too."""
        self.publications.add(driver)

    def publish(self, channel: str, event: Event, key: str) -> None:
        """Publish an event on every broker."""
        self.publications.publish(channel, event, key)

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

    def lost(self, events: int) -> None:
        """Count events that a broker has dropped unread."""
        self._core.counters[counters.SENT] += events
        self._core.counters[counters.OVERFLOW] += events

    def arrive(
        self, subscriber: int, consumer: Consumer, batch: list[tuple[int, Delivery]], spared: int
    ) -> None:
        """Put events into a subscriber's mailbox, and count those that it is spared."""
        if spared:
            self._core.counters[counters.SENT] += spared
            self._core.counters[counters.UNWANTED] += spared
        cell = self._core.cells.get(subscriber)
        if cell is None:
            return
        arrived, queue = self._core.meter.last, cell.own("queue")
        for token, delivery in batch:
            if consumer.is_current(token):
                self._last += 1
                self._handed[self._last] = _Handed(subscriber, consumer, token, delivery)
                entry = Entry(RECORD, 0, 0, self._last, 0.0, delivery.body, None, arrived)
                queue.append(entry)
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
                cell.own("marks")[sender] = number
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
        self.publications.committed()
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
        self.publications.close()


class _Subscriber:
    """An actor that events of a broker are for; called on a consumer's thread."""

    def __init__(self, records: Records, cell: Cell) -> None:
        self._records = records
        self._cell = cell.key
        self._wanted = {msgspec.msgpack.encode(tag_of(kind)) for kind in cell.handlers}
        self._unwanted: set[bytes] = set()

    def wants(self, delivery: Delivery) -> bool:
        """Tell whether it has a handler; what is no message at all it has to refuse."""
        head = message_head(delivery.body)
        if head in self._wanted:
            return True
        if head in self._unwanted:
            return False
        if message_tag(delivery.body) == NO_MESSAGE:
            return True
        self._unwanted.add(head)
        return False

    def take(self, consumer: Consumer, batch: list[tuple[int, Delivery]], spared: int) -> None:
        self._records.from_thread(
            partial(self._records.arrive, self._cell, consumer, batch, spared)
        )

    def lost(self, count: int) -> None:
        self._records.from_thread(partial(self._records.lost, count))


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
