"""``Recycle``: when a worker is replaced by a fresh one for what it has done or what it holds."""

from __future__ import annotations

import re

import msgspec

from gristmill.errors import UsageError

_SIZE = re.compile(r"(\d+)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}


class Recycle(msgspec.Struct, frozen=True):
    """The limits of a worker process; 0 is no limit.

    Workers that are over a limit are replaced one at a time, as a reload does it: nothing is lost.
    """

    messages: int = 0
    """Messages that it has handled."""
    memory: int | str = 0
    """Memory that it has for itself (USS), in bytes or as text: ``"512M"``, ``"2G"``."""

    def __post_init__(self) -> None:
        """Check the limits.

        Raises:
            UsageError: one is no such number.
        """
        if isinstance(self.messages, bool) or not isinstance(self.messages, int):
            raise UsageError(f"messages is {self.messages!r}; write a whole number, 0 for no limit")
        if self.messages < 0:
            raise UsageError(f"messages is {self.messages}; write 0 or more")
        size_of(self.memory)

    @property
    def limits(self) -> tuple[int, int]:
        """Messages and bytes; 0 for no limit."""
        return self.messages, size_of(self.memory)


def size_of(memory: int | str) -> int:
    """Read a size of memory: bytes, or text with K, M, G or T for powers of 1024.

    Raises:
        UsageError: it is neither.
    """
    found = None if isinstance(memory, bool) else _SIZE.fullmatch(str(memory).strip())
    if found is None:
        raise UsageError(f"memory is {memory!r}; write bytes, or a size such as '512M' or '2G'")
    return int(found[1]) << _UNITS[found[2].upper()]
