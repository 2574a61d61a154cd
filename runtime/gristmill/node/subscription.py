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
    from gristmill.node.post import ClientPost


class Subscription:
    """Events of one channel, in the order in which each publisher sent them.

    At most ``capacity`` wait here; beyond it the oldest is dropped, and counted.
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
        self._closed = False

    def deliver(self, body: bytes) -> None:
        """Take in an event; one of a type that was not asked for is passed over."""
        try:
            event = self._decode(body)
        except msgspec.MsgspecError:
            return
        except ArrayGoneError:
            self.dropped += 1
            return
        if len(self._events) >= self._capacity:
            self._events.popleft()
            self.dropped += 1
        self._events.append(event)

    def get(self, timeout: float | None = None) -> Any:  # noqa: ANN401 - one of the event types
        """Give the next event, or None if none came within ``timeout`` seconds.

        Raises:
            ChannelClosedError: the subscription was closed and all that it had was taken.
        """
        if not self._events and not self._closed:
            self._post.read_available()
            self._post.wait_until(lambda: bool(self._events) or self._closed, timeout)
        if self._events:
            return self._events.popleft()
        if self._closed:
            raise ChannelClosedError(f"the subscription to {self.channel!r} is closed")
        return None

    def drain(self) -> list[Any]:
        """Give all events that are there, without waiting."""
        if not self._closed:
            self._post.read_available()
        events = list(self._events)
        self._events.clear()
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
