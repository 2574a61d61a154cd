"""``Pool``: several like actors behind one ref."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from gristmill.behaviours.actor import Actor
from gristmill.errors import ActorTypeError, UsageError
from gristmill.importing import resolve
from gristmill.messages import Command, Event, Request
from gristmill.node.client.post import ClientPost
from gristmill.node.client.spreading import Spread, lanes
from gristmill.node.client.streams import Part, check_window, in_turn
from gristmill.placement.balancing import Balancer, Loads, Routing
from gristmill.placement.pacing import SharedLane
from gristmill.ref import DEFAULT_TIMEOUT, POOLED, Address, DeliveryGuarantee, Ref

A = TypeVar("A")
R = TypeVar("R")

_WINDOW = 1024
"""Requests of a stream that were sent and whose replies were not given yet, by default."""


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
        self._loads = Loads()
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
            return self._balancer.choose(key, self._loads.of)

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
        self._loads.add(chosen, 1)
        try:
            return self._post.ask(chosen, request, timeout)
        finally:
            self._loads.add(chosen, -1)

    async def ask_async(
        self,
        request: Request[R],
        *,
        key: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> R:
        """Ask one member without blocking the event loop."""
        chosen = self._choose(key)
        self._loads.add(chosen, 1)
        try:
            return await self._post.ask_async(chosen, request, timeout)
        finally:
            self._loads.add(chosen, -1)

    def ask_many(
        self,
        requests: Iterable[Request[R]],
        *,
        window: int | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> Iterator[R]:
        """Spread requests over the members; replies in order.

        A pool that routes by load gives the next request to whoever has the fewest open ones.

        Args:
            requests: questions of any types.
            window: how many are open at once, and as many replies may have come before their turn.
                By default as many as keep the members busy: one or two each where they take long;
                1,024 where members take batches, or the pool routes in turn.
            timeout: seconds that each may take.

        Raises:
            UsageError: the pool routes by consistent hash, which needs a key for each request; or
                the window is less than 1.
        """
        if self.routing is Routing.CONSISTENT_HASH:
            raise UsageError(
                f"pool {self.name!r} routes by consistent hash; ask with key=... one by one"
            )
        if window is not None:
            check_window(window)
        return self._replies(requests, window, timeout)

    def _replies(
        self, requests: Iterable[Request[R]], window: int | None, timeout: float | None
    ) -> Iterator[R]:
        if self.routing is Routing.ROUND_ROBIN:
            return in_turn(
                self._post, lambda _: self._choose(None), requests, window or _WINDOW, timeout
            )
        members = self._balancer.members
        if window is None and _take_batches(members[0]):
            window = _WINDOW
        ahead = _WINDOW if window is None else 2 * window
        ways = lanes(members, window, ahead)
        return Spread[R](
            self._post, ways, self._loads, window=window, ahead=ahead, timeout=timeout
        ).replies(requests)

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

    def _replies(
        self, requests: Iterable[Request[R]], window: int | None, timeout: float | None
    ) -> Iterator[R]:
        to = self._address
        if window is None and not _take_batches(to):
            # what was sent before a member came stays with those that were there
            way = SharedLane[Part](to, lambda: len(self._balancer.members))
            return Spread[R](
                self._post, [way], self._loads, window=None, ahead=_WINDOW, timeout=timeout
            ).replies(requests)
        return in_turn(self._post, lambda _: to, requests, window or _WINDOW, timeout)


def _take_batches(member: Address) -> bool:
    """Tell whether members of a type take batches, as far as is known here."""
    try:
        kind: type[Actor] = resolve(member.type)
    except ActorTypeError:
        return True
    return kind.__protocol__.takes_batches
