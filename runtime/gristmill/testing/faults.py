"""What goes wrong in a simulation: faults by plan, and random ones drawn from its seed."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from random import Random

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


class RandomFaults:
    """Says when the random faults strike.

    Args:
        faults: how often they do.
        random: where that is drawn from.
        after: has something happen in so many seconds.
        strikes: what each kind of fault does, by the name of its rate.
    """

    def __init__(
        self,
        faults: Faults,
        random: Random,
        after: Callable[[float, Callable[[], None]], object],
        strikes: dict[str, Callable[[], None]],
    ) -> None:
        self._faults = faults
        self._random = random
        self._after = after
        self._strikes = strikes
        self._ended = False

    def begin(self) -> None:
        """Let things go wrong from now on."""
        if self._faults.until is not None:
            self._after(self._faults.until, self.end)
        for kind in self._strikes:
            self._arm(kind)

    def end(self) -> None:
        """Let nothing go wrong any more."""
        self._ended = True

    def _arm(self, kind: str) -> None:
        mean = getattr(self._faults, kind)
        if mean is not None:
            self._after(self._random.expovariate(1 / mean), lambda: self._strike(kind))

    def _strike(self, kind: str) -> None:
        if not self._ended:
            self._strikes[kind]()
            self._arm(kind)
