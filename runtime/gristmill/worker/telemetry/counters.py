"""The delivery counters of a process: no message disappears without being counted.

They are cells of a page that outlives the process, so each is exact after a SIGKILL too. What a
process has sent or received, and has neither finished nor passed on, is still in it: in a mailbox,
in hand, or on its way out.
"""

from __future__ import annotations

from typing import Final, Protocol

NAMES: Final = (
    "sent",
    "resent",
    "published",
    "handled",
    "rejected",
    "dead_lettered",
    "overflow",
    "unwanted",
    "duplicate",
    "cancelled",
    "ended",
    "in_hand",
    "unconfirmed",
)
(
    SENT, RESENT, PUBLISHED, HANDLED, REJECTED, DEAD_LETTERED,
    OVERFLOW, UNWANTED, DUPLICATE, CANCELLED, ENDED, IN_HAND, UNCONFIRMED,
) = range(len(NAMES))  # fmt: skip
"""``SENT``: messages sent, also those to oneself and each copy of an event; ``RESENT``: how many of
them had been sent before. ``IN_HAND``: handlers that have begun and not finished, at most.
``UNCONFIRMED``: events published to brokers that have not confirmed them, once for each broker.
"""
NOW: Final = ("in_hand", "unconfirmed")
"""Those that say how it is, and not how often it was: a dead process has none."""
FINISHED: Final = ("handled", "rejected", "dead_lettered")
DROPPED: Final = ("overflow", "unwanted", "duplicate", "cancelled", "ended")
"""The reasons for which a message is dropped: there was no room for an event; a subscriber does not
handle it; it had been handled before, or came before one that is missing; its asker gave it up; it
was of its actor's own making (a timer, a continuation, a tell that waited for room), which ended.
"""


class Cells(Protocol):
    """One process's counters, by their places."""

    def __getitem__(self, place: int, /) -> int:
        """Read one."""

    def __setitem__(self, place: int, value: int, /) -> None:
        """Set one; seen at once by whoever reads the page."""


def by_name(cells: Cells) -> dict[str, int]:
    """Give the counters by their names."""
    return {name: cells[place] for place, name in enumerate(NAMES)}
