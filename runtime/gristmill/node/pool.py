"""``Pool``: several like actors behind one ref."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from gristmill.errors import UsageError
from gristmill.messages import Command, Event, Request
from gristmill.node.post import ClientPost
from gristmill.placement.balancing import Balancer, Routing
from gristmill.ref import DEFAULT_TIMEOUT, POOLED, Address, DeliveryGuarantee, Ref

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
        self._balancer = Balancer(name, routing)
        self._balancer.change(members)
        self._open: dict[int, int] = {member.key: 0 for member in members}
        self._lock = threading.Lock()

    @property
    def members(self) -> tuple[Ref[A], ...]:
        """The members now."""
        return tuple(Ref(member, self._post) for member in self._balancer.members)

    def member(self, key: str | None = None) -> Ref[A]:
        """Give the member that the next message goes to; ``key`` is for consistent hashing.

        Raises:
            UsageError: the pool routes by consistent hash and there is no key.
        """
        return Ref(self._choose(key), self._post)

    def _choose(self, key: str | None) -> Address:
        with self._lock:
            return self._balancer.choose(key, lambda member: self._open[member.key])

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
        self._opened(chosen, 1)
        try:
            return self._post.ask(chosen, request, timeout)
        finally:
            self._opened(chosen, -1)

    async def ask_async(
        self,
        request: Request[R],
        *,
        key: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> R:
        """Ask one member without blocking the event loop."""
        chosen = self._choose(key)
        self._opened(chosen, 1)
        try:
            return await self._post.ask_async(chosen, request, timeout)
        finally:
            self._opened(chosen, -1)

    def ask_many(
        self,
        requests: Iterable[Request[R]],
        *,
        window: int = 1024,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> Iterator[R]:
        """Spread requests over the members, ``window`` open at once; replies in order.

        Raises:
            UsageError: the pool routes by consistent hash, which needs a key for each request.
        """
        if self.routing is Routing.CONSISTENT_HASH:
            raise UsageError(
                f"pool {self.name!r} routes by consistent hash; ask with key=... one by one"
            )
        return self._post.ask_each(lambda _: self._next(), requests, window, timeout)

    def _next(self) -> Address:
        """Give the next member in turn: those of a window are alike."""
        with self._lock:
            return self._balancer.choose(None, lambda _: 0)

    def _opened(self, member: Address, more: int) -> None:
        with self._lock:
            self._open[member.key] += more

    def __len__(self) -> int:
        return len(self._balancer.members)

    def __repr__(self) -> str:
        return f"<Pool {self.name} of {len(self)}, {self.routing}>"


class ElasticPool(Pool[A]):
    """A pool whose members come and go: each message finds its member when it is sent.

    It goes by an address of the pool's own, for which the post chooses; so a member that leaves
    gets nothing behind the fence that says so.
    """

    def __init__(self, post: ClientPost, balancer: Balancer, address: Address) -> None:
        super().__init__(post, address.name, [], balancer.routing)
        self._balancer = balancer
        self._address = address

    def _choose(self, key: str | None) -> Address:
        if self.routing is not Routing.CONSISTENT_HASH:
            return self._address
        name = f"{self.name}/{self._balancer.checked(key)}"
        address = self._address
        return Address(address.key, POOLED, address.type, name, address.mailbox)

    def _next(self) -> Address:
        return self._address

    def _opened(self, member: Address, more: int) -> None:
        """Do nothing: the post knows what is open."""
