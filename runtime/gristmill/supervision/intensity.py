"""How many restarts a supervisor allows itself: a sliding window over exact times."""

from __future__ import annotations

from collections import deque


class RestartIntensity:
    """Counts restarts in a sliding window.

    A restart counts for as long as its age is at most ``within``; each one ages out alone.

    Args:
        max_restarts: how many restarts the window may hold.
        within: length of the window in seconds.
    """

    def __init__(self, max_restarts: int, within: float) -> None:
        self.max_restarts = max_restarts
        self.within = within
        self._restarts: deque[tuple[float, int | None]] = deque()

    def record(self, now: float, event: int | None = None) -> bool:
        """Count a restart at ``now`` and tell whether the window still holds no more than it may.

        Args:
            now: monotonic time in seconds.
            event: what the restart follows from; an event that is in the window counts once.
        """
        self._forget(now)
        if event is None or all(event != known for _, known in self._restarts):
            self._restarts.append((now, event))
        return len(self._restarts) <= self.max_restarts

    def count(self, now: float) -> int:
        """Give the number of restarts in the window that ends at ``now``."""
        self._forget(now)
        return len(self._restarts)

    def _forget(self, now: float) -> None:
        while self._restarts and now - self._restarts[0][0] > self.within:
            self._restarts.popleft()
