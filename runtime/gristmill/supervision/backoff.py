"""``Backoff``: how long to wait before a restart."""

from __future__ import annotations

import math

import msgspec


class Backoff(msgspec.Struct, frozen=True):
    """Delays before restarts: ``min(maximum, minimum * 2**n) * (1 + random * jitter)`` seconds.

    ``n`` counts the restarts in a row. It begins at 0 again after an incarnation that ran for
    ``reset_after`` seconds; None is as long as ``maximum``.
    """

    minimum: float
    maximum: float
    jitter: float = 0.2
    reset_after: float | None = None

    def delay(self, restarts: int, rand: float) -> float:
        """Give the seconds to wait before restart number ``restarts`` (from 0).

        Args:
            restarts: restarts in a row before this one.
            rand: a random number in [0, 1).
        """
        # 2.0**1024 overflows a float
        grown = self.minimum * 2.0 ** min(restarts, 1000)
        return min(self.maximum, grown) * (1 + rand * self.jitter)

    def in_a_row(self, restarts: int, ran: float | None) -> int:
        """Give how many of the restarts before this one count.

        Args:
            restarts: those in a row up to now.
            ran: seconds that the incarnation ran; None if it did not come up.
        """
        quiet = self.maximum if self.reset_after is None else self.reset_after
        return 0 if ran is not None and ran >= quiet else restarts

    @property
    def fault(self) -> str:
        """What the numbers would have to be; empty if they are."""
        reset_after = self.maximum if self.reset_after is None else self.reset_after
        numbers = (self.minimum, self.maximum, self.jitter, reset_after)
        if (
            all(map(is_number, numbers))
            and 0 < self.minimum <= self.maximum
            and self.jitter >= 0
            and reset_after >= 0
        ):
            return ""
        return "0 < minimum <= maximum, jitter >= 0 and reset_after >= 0, all finite"


def is_number(value: object) -> bool:
    """Tell whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
