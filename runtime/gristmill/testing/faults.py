"""What goes wrong in a simulation: faults by plan, and random ones drawn from its seed."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from gristmill.errors import UsageError


class Point(StrEnum):
    """Where in its work a worker is killed."""

    NOW = "now"
    """Between two turns."""
    BEFORE_COMMIT = "before the commit"
    """Its actors have handled messages; nothing of it is in the journal or has been sent."""
    AFTER_COMMIT = "after the commit"
    """What they did is in the journal, and nothing has been sent."""


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """Random faults: the mean of the virtual seconds between two of a kind; None: never.

    Raises:
        UsageError: one of them is not above 0.
    """

    kill_every: float | None = None
    """A worker is killed, at one of the points of :class:`Point`."""
    crash_every: float | None = None
    """An actor crashes on the next message that it handles."""
    pause_every: float | None = None
    """A worker stands still."""
    pause_seconds: float = 0.5
    """For how long it does, at most."""
    until: float | None = None
    """Virtual seconds from the start after which nothing goes wrong any more; None: never."""

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"faults: {name} is {value!r}; give seconds above 0, or None")


class InjectedCrash(Exception):  # noqa: N818 - it stands in for a bug
    """What a handler raises when an actor is to crash."""
