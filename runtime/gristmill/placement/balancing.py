"""Which member of a pool gets a message. Pure."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from enum import StrEnum

from gristmill.errors import ActorNotFoundError, UsageError
from gristmill.placement.ring import HashRing
from gristmill.ref import Address


class Routing(StrEnum):
    """How a pool chooses."""

    ROUND_ROBIN = "round_robin"
    LEAST_LOADED = "least_loaded"
    """The member with the fewest open requests of this client."""
    CONSISTENT_HASH = "consistent_hash"
    """One key always goes to the same member, as long as that is one."""


class Loads:
    """How many requests of a client are open, for each member of a pool. Safe from any thread."""

    def __init__(self) -> None:
        self._open: dict[int, int] = {}
        self._lock = threading.Lock()

    def of(self, member: Address) -> int:
        """Give how many are open to a member."""
        return self._open.get(member.key, 0)

    def add(self, member: Address, more: int) -> None:
        """So many more are open, or fewer if it is negative."""
        with self._lock:
            self._open[member.key] = self._open.get(member.key, 0) + more


class Balancer:
    """Chooses a member for each message; the members may change.

    Args:
        name: of the pool.
        routing: how to choose.
    """

    def __init__(self, name: str, routing: Routing) -> None:
        self.name = name
        self.routing = routing
        self.members: tuple[Address, ...] = ()
        self._by_name: dict[str, Address] = {}
        self._ring: HashRing | None = None
        self._next = 0

    def change(self, members: Sequence[Address]) -> None:
        """Have these members from now on."""
        self.members = tuple(members)
        self._by_name = {member.name: member for member in members}
        self._ring = HashRing(list(self._by_name)) if members else None

    def choose(self, key: str | None, load: Callable[[Address], int]) -> Address:
        """Give the member that the next message goes to.

        Args:
            key: for consistent hashing.
            load: how much a member has to do, as far as the caller knows.

        Raises:
            UsageError: a key is needed, and there is none.
            ActorNotFoundError: the pool has no members any more.
        """
        if self._ring is None:
            raise ActorNotFoundError(f"pool {self.name!r} has no members any more")
        if self.routing is Routing.CONSISTENT_HASH:
            return self._by_name[self._ring.owner(self.checked(key))]
        self._next += 1
        size = len(self.members)
        if self.routing is Routing.ROUND_ROBIN:
            return self.members[self._next % size]
        turn = self._next  # among equals each has its turn
        at = min(range(size), key=lambda at: (load(self.members[at]), (at - turn) % size))
        return self.members[at]

    def checked(self, key: str | None) -> str:
        """Give a key for consistent hashing.

        Raises:
            UsageError: there is none.
        """
        if key is None:
            raise UsageError(f"pool {self.name!r} routes by consistent hash; say key=...")
        return key
