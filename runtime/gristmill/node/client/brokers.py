"""``ClientBrokers``: what a client publishes to brokers, and what it gets from them."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import Protocol

from gristmill.channels.broker import retries_of
from gristmill.channels.consumer import Consumer
from gristmill.channels.contract import Listen
from gristmill.channels.driver import Driver
from gristmill.channels.publisher import Publisher
from gristmill.channels.records import Delivery, Publication
from gristmill.config import ChannelConfig
from gristmill.errors import UsageError
from gristmill.messages import Event
from gristmill.transport.codec import Codec
from gristmill.worker.telemetry import counters

_LEAVE_SECONDS = 3.0

_log = logging.getLogger("gristmill.channels")


class Taker(Protocol):
    """A client's subscription."""

    def take(self, body: bytes, handled: Callable[[], None]) -> None:
        """Take an event in; ``handled`` is called when it was."""


class ClientBrokers:
    """A client's end of all brokers; implements ``BrokerProcess``.

    What it publishes is kept in memory until a broker has it.
    """

    def __init__(
        self, config: ChannelConfig, codec: Codec, node_id: str, counted: counters.Cells
    ) -> None:
        self._counted = counted
        self._config = config
        self._codec = codec
        self._node_id = node_id
        self._name = f"client-{os.getpid()}-{secrets.token_hex(8)}"
        self._lock = threading.Lock()
        self._publishers: list[Publisher] = []
        self._number = 0
        self._consumers: list[Consumer] = []
        self.dropped = 0
        """How many events were not published: there was no room, or the broker refused them."""

    def add(self, driver: Driver) -> None:
        """From now on, publish to this broker too."""
        self._publishers.append(Publisher(driver, self, self._config.max_unsent))

    def publish(self, channel: str, event: Event, key: str) -> None:
        """Publish an event on every broker."""
        body = self._codec.encode_in_band(event)
        with self._lock:
            if self._config.when_full == "refuse":
                for publisher in self._publishers:
                    publisher.check_room()
            self._number += 1
            publication = Publication(channel, key, self._name, self._number, body)
            for publisher in self._publishers:
                if publisher.has_room:
                    publisher.send([publication])
                else:
                    self.dropped += 1
            self._count_unconfirmed()

    def _count_unconfirmed(self) -> None:
        self._counted[counters.UNCONFIRMED] = sum(map(len, self._publishers))

    def confirmed(self, last: Publication) -> None:
        """Everything up to this event is safe."""
        del last
        with self._lock:
            self._count_unconfirmed()

    def rests(self) -> None:
        """A broker has everything; nothing is to be forgotten."""

    def refused(self, publication: Publication, reason: str) -> None:
        """A broker will never take an event; that was logged."""
        del publication, reason
        self.dropped += 1

    def listen(self, driver: Driver, listen: Listen, subscriber: int, *, wanted: bool) -> None:
        """Refuse: a client's subscriptions are made with :meth:`subscribe`."""
        del driver, subscriber, wanted
        raise UsageError(f"subscribe to {listen.channel!r} with node.subscribe(...)")

    def subscribe(self, driver: Driver, listen: Listen, taker: Taker) -> Consumer:
        """Begin a subscription."""
        member = f"{socket.gethostname()}/{self._node_id}/{self._name}-{len(self._consumers)}"
        retries = retries_of(self._config)
        consumer = Consumer(driver, listen, member, retries, _Subscriber(taker), lasting=False)
        consumer.open()
        self._consumers.append(consumer)
        return consumer

    def close(self) -> None:
        """End every subscription, and let what is published reach its broker."""
        for consumer in self._consumers:
            consumer.close(0.0)
        for consumer in self._consumers:
            consumer.close(_LEAVE_SECONDS)
        for publisher in self._publishers:
            left = publisher.close(_LEAVE_SECONDS)
            if left:
                self.dropped += left
                _log.error("%d events for %s were not published", left, publisher.kind)


class _Subscriber:
    """Hands a client's subscription what comes for it, which sorts out by itself what it wants."""

    def __init__(self, taker: Taker) -> None:
        self._taker = taker

    def wants(self, delivery: Delivery) -> bool:
        del delivery
        return True

    def take(self, consumer: Consumer, batch: list[tuple[int, Delivery]], spared: int) -> None:
        del spared  # it wants all
        for token, delivery in batch:
            self._taker.take(delivery.body, partial(consumer.handled, (token,)))

    def lost(self, count: int) -> None:
        _log.warning("%d events were dropped by the server before they were read", count)
