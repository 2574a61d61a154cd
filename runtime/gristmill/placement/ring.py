"""Consistent hashing: who owns a key, the same in every process."""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Sequence

from gristmill.errors import UsageError

_POINTS = 64
"""Points of each member on the ring: shares differ by about 1/sqrt(points)."""


class HashRing:
    """Consistent hashing: a member that comes or goes moves only its own share of the keys."""

    def __init__(self, members: Sequence[str]) -> None:
        if not members:
            raise UsageError("a hash ring needs at least one member")
        points = [
            (stable_hash(f"{member}/{point}"), member)
            for member in members
            for point in range(_POINTS)
        ]
        points.sort()
        self._hashes = [at for at, _ in points]
        self._owners = [member for _, member in points]

    def owner(self, key: str) -> str:
        """Give the member that ``key`` belongs to; the same in every process."""
        at = bisect.bisect_right(self._hashes, stable_hash(key))
        return self._owners[at % len(self._owners)]


class ShardTable:
    """Which member has which shard; a shard is what moves when members come or go.

    Args:
        shards: how many there are.
        members: the names of those that can have some.
    """

    def __init__(self, shards: int, members: Sequence[str]) -> None:
        ring = HashRing(members)
        self.owners = tuple(ring.owner(f"shard-{number}") for number in range(shards))

    def owner(self, key: str) -> str:
        """Give the member that has the shard of ``key``."""
        return self.owners[stable_hash(key) % len(self.owners)]


def stable_hash(text: str) -> int:
    """Hash a text to 64 bits; the same in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
