"""The outcomes that a circuit breaker judges by: the last so many, and none too old."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import msgspec


class Outcome(msgspec.Struct, frozen=True, array_like=True):
    """How one call ended."""

    at: float
    """When it ended, in seconds of the breaker's clock."""
    failed: bool
    slow: bool


class OutcomeWindow:
    """The last ``calls`` outcomes, of those that are at most ``seconds`` old.

    Args:
        calls: how many outcomes count at most.
        seconds: how old an outcome may be and still count; infinity if age does not matter.
        outcomes: what the window starts with, oldest first.
    """

    def __init__(self, calls: int, seconds: float, outcomes: Iterable[Outcome] = ()) -> None:
        self._limit = calls
        self._seconds = seconds
        self._outcomes: deque[Outcome] = deque()
        self.failures = 0
        self.slow = 0
        for outcome in outcomes:
            self.record(outcome)

    @property
    def calls(self) -> int:
        """How many outcomes are in the window."""
        return len(self._outcomes)

    @property
    def failure_rate(self) -> float:
        """The share of failures, 0 to 1; 0 for an empty window."""
        return self.failures / len(self._outcomes) if self._outcomes else 0.0

    @property
    def slow_rate(self) -> float:
        """The share of slow calls, 0 to 1; 0 for an empty window."""
        return self.slow / len(self._outcomes) if self._outcomes else 0.0

    def record(self, outcome: Outcome) -> None:
        """Take in a new outcome, and let go of those that no longer count."""
        self._outcomes.append(outcome)
        self.failures += outcome.failed
        self.slow += outcome.slow
        if len(self._outcomes) > self._limit:
            self._forget_oldest()
        self.trim(outcome.at)

    def trim(self, now: float) -> None:
        """Let go of the outcomes that are too old at ``now``."""
        while self._outcomes and now - self._outcomes[0].at > self._seconds:
            self._forget_oldest()

    def outcomes(self) -> tuple[Outcome, ...]:
        """Give what is in the window, oldest first."""
        return tuple(self._outcomes)

    def _forget_oldest(self) -> None:
        oldest = self._outcomes.popleft()
        self.failures -= oldest.failed
        self.slow -= oldest.slow
