"""Routing: which member of a pool gets a message. Pure."""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Sequence
from enum import StrEnum

from gristmill.errors import UsageError

_POINTS = 64
"""Points of each member on the ring: shares differ by about 1/sqrt(points)."""


class Routing(StrEnum):
    """How a pool chooses."""

    ROUND_ROBIN = "round_robin"
    LEAST_LOADED = "least_loaded"
    """The member with the fewest open requests of this client."""
    HASH = "hash"
    """One key always goes to the same member."""


class HashRing:
    """Consistent hashing: a member that comes or goes moves only its own share of the keys."""

    def __init__(self, members: Sequence[str]) -> None:
        if not members:
            raise UsageError("a hash ring needs at least one member")
        points = [
            (_hash(f"{member}/{point}"), member) for member in members for point in range(_POINTS)
        ]
        points.sort()
        self._hashes = [at for at, _ in points]
        self._owners = [member for _, member in points]

    def owner(self, key: str) -> str:
        """Give the member that ``key`` belongs to; the same in every process."""
        at = bisect.bisect_right(self._hashes, _hash(key))
        return self._owners[at % len(self._owners)]


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
