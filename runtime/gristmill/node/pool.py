"""``Pool``: several like actors behind one ref."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

from gristmill.errors import UsageError
from gristmill.messages import Command, Event, Request
from gristmill.node.post import ClientPost
from gristmill.node.routing import Routing
from gristmill.placement.ring import HashRing
from gristmill.ref import DEFAULT_TIMEOUT, Address, DeliveryGuarantee, Ref

A = TypeVar("A")
R = TypeVar("R")


class Pool(Generic[A]):
    """A group of actors of class ``A`` with a size and a routing rule. Safe from any thread."""

    def __init__(
        self, post: ClientPost, name: str, members: list[Address], routing: Routing
    ) -> None:
        self._post = post
        self.name = name
        self.routing = routing
        self.members: tuple[Ref[A], ...] = tuple(Ref(member, post) for member in members)
        self._names = [ref.name for ref in self.members]
        self._ring = HashRing(self._names)
        self._open: list[int] = [0] * len(members)
        self._next: int = 0
        self._lock = threading.Lock()

    def member(self, key: str | None = None) -> Ref[A]:
        """Give the member that the next message goes to; ``key`` is for hash routing.

        Raises:
            UsageError: the pool routes by hash and there is no key.
        """
        return self.members[self._choose(key)]

    def _choose(self, key: str | None) -> int:
        if self.routing is Routing.HASH:
            if key is None:
                raise UsageError(f"pool {self.name!r} routes by hash; say key=...")
            owner = self._ring.owner(key)
            return self._names.index(owner)
        with self._lock:
            self._next += 1
            if self.routing is Routing.LEAST_LOADED:
                size = len(self._open)
                return min(range(size), key=lambda i: (self._open[i], (i - self._next) % size))
            return self._next % len(self.members)

    def tell(
        self,
        message: Command | Event,
        *,
        key: str | None = None,
        delivery: DeliveryGuarantee | str = DeliveryGuarantee.AT_MOST_ONCE,
    ) -> None:
        """Send a message to one member; see :meth:`Ref.tell`."""
        self.member(key).tell(message, delivery=delivery)

    def ask(
        self,
        request: Request[R],
        *,
        key: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> R:
        """Ask one member; see :meth:`Ref.ask`."""
        chosen = self._choose(key)
        self._open[chosen] += 1
        try:
            return self.members[chosen].ask(request, timeout=timeout)
        finally:
            self._open[chosen] -= 1

    async def ask_async(
        self,
        request: Request[R],
        *,
        key: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> R:
        """Ask one member without blocking the event loop."""
        chosen = self._choose(key)
        self._open[chosen] += 1
        try:
            return await self.members[chosen].ask_async(request, timeout=timeout)
        finally:
            self._open[chosen] -= 1

    def ask_many(
        self,
        requests: Iterable[Request[R]],
        *,
        window: int = 1024,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> Iterator[R]:
        """Spread requests over the members, ``window`` open at once; replies in order.

        Raises:
            UsageError: the pool routes by hash, which needs a key for each request.
        """
        if self.routing is Routing.HASH:
            raise UsageError(f"pool {self.name!r} routes by hash; ask with key=... one by one")

        def choose(_: Any) -> Address:  # noqa: ANN401 - any request
            with self._lock:
                self._next += 1
                return self.members[self._next % len(self.members)].address

        return self._post.ask_each(choose, requests, window, timeout)

    def __len__(self) -> int:
        return len(self.members)

    def __repr__(self) -> str:
        return f"<Pool {self.name} of {len(self)}, {self.routing}>"
