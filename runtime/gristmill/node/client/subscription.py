"""``Subscription``: a client's share of a channel's events."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any, Self

import msgspec

from gristmill.channels import ChannelClosedError
from gristmill.messages import Event
from gristmill.transport.arrays import ArrayGoneError

if TYPE_CHECKING:
    from gristmill.node.client.post import ClientPost


class Subscription:
    """Events of one channel, in the order in which each publisher sent them.

    At most ``capacity`` wait here; beyond it the oldest is dropped, and counted, if the events come
    in memory. Redis and Kafka keep what has no room here. Of a group's events the last one given
    is acknowledged when the next one is asked for, or with :meth:`acknowledge`.
    """

    def __init__(
        self,
        post: ClientPost,
        channel: str,
        kinds: tuple[type[Event], ...],
        capacity: int,
        cancel: Callable[[Subscription], None],
    ) -> None:
        self.channel = channel
        self.dropped = 0
        """How many were dropped: nobody took them in time, or their arrays had gone."""
        self._post = post
        self._decode = post.codec.decoder(reduce(or_, kinds)).decode
        self._capacity = capacity
        self._cancel = cancel
        self._events: deque[Any] = deque()
        self._handled: deque[Callable[[], None]] = deque()
        """Says of each event, if it came from a broker, that it was handled."""
        self._given = 0
        """How many were given and not acknowledged."""
        self._closed = False

    def deliver(self, bodies: list[bytes]) -> None:
        """Take in events; one of a type that was not asked for is passed over."""
        decode, events = self._decode, self._events
        for body in bodies:
            try:
                event = decode(body)
            except msgspec.MsgspecError:
                continue
            except ArrayGoneError:
                self.dropped += 1
                continue
            if len(events) >= self._capacity:
                events.popleft()
                self.dropped += 1
            events.append(event)

    def take(self, body: bytes, handled: Callable[[], None]) -> None:
        """Take in an event from a broker; called on the broker's thread."""
        try:
            event = self._decode(body)
        except msgspec.MsgspecError:
            handled()
            return
        self._handled.append(handled)
        self._events.append(event)
        self._post.wake()

    def acknowledge(self) -> None:
        """Say that every event given so far was handled; matters for a group alone."""
        given, self._given = self._given, 0
        for _ in range(min(given, len(self._handled))):
            self._handled.popleft()()

    def get(self, timeout: float | None = None) -> Any:  # noqa: ANN401 - one of the event types
        """Give the next event, or None if none came within ``timeout`` seconds.

        Raises:
            ChannelClosedError: the subscription was closed and all that it had was taken.
        """
        self.acknowledge()
        if not self._events and not self._closed:
            self._post.read_available()
            self._post.wait_until(lambda: bool(self._events) or self._closed, timeout)
        if self._events:
            self._given += 1
            return self._events.popleft()
        if self._closed:
            raise ChannelClosedError(f"the subscription to {self.channel!r} is closed")
        return None

    @property
    def waiting(self) -> int:
        """How many events are here and were not taken."""
        if not self._closed:
            self._post.read_available()
        return len(self._events)

    def drain(self) -> list[Any]:
        """Give all events that are there, without waiting."""
        self.acknowledge()
        if not self._closed:
            self._post.read_available()
        events = [self._events.popleft() for _ in range(len(self._events))]
        self._given = len(events)
        return events

    def __iter__(self) -> Iterator[Any]:
        while self._events or not self._closed:
            with suppress(ChannelClosedError):
                yield self.get()

    def close(self) -> None:
        """Get no more events; those that have come can still be taken."""
        if not self._closed:
            self._closed = True
            self._cancel(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
