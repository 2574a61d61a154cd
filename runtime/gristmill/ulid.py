"""ULIDs: ids of 26 characters that sort by the time in which they were made."""

from __future__ import annotations

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [first + second for first in _CROCKFORD for second in _CROCKFORD]
"""Ten bits as they are written."""
_SHIFTS = range(120, -1, -10)


def ulid(wall_time: float, randomness: int) -> str:
    """Make a ULID (github.com/ulid/spec): 48 bits of milliseconds, 80 random bits.

    Args:
        wall_time: seconds since 1970.
        randomness: 80 random bits.
    """
    return crockford(int(wall_time * 1000) << 80 | randomness)


def crockford(number: int) -> str:
    """Write a number of 128 bits as a ULID is written."""
    return "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])
