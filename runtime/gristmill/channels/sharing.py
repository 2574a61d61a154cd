"""Who gets what: keys are spread over partitions, and partitions over the members of a group."""

from __future__ import annotations

import zlib
from collections.abc import Iterable


def partition_of(key: str, partitions: int) -> int:
    """Give the partition of a key, from 0: the CRC-32 of its UTF-8 form, modulo ``partitions``."""
    return zlib.crc32(key.encode()) % partitions


def share_of(member: str, members: Iterable[str], partitions: int) -> frozenset[int]:
    """Give the partitions that a member should own.

    Every member that knows the same members comes to the same division: each partition has one
    owner, and no member has two more than another.
    """
    ranked = sorted({*members, member})
    return frozenset(range(ranked.index(member), partitions, len(ranked)))


def to_change(
    owned: Iterable[int], share: Iterable[int], free: Iterable[int]
) -> tuple[frozenset[int], frozenset[int]]:
    """Give the partitions to take and those to give back.

    Args:
        owned: what the member has now.
        share: what it should have.
        free: what nobody has.
    """
    mine, wanted = frozenset(owned), frozenset(share)
    return (wanted - mine) & frozenset(free), mine - wanted
