"""What a call of a batch handler costs: a fixed part, and a part for each message.

Least squares of ``cost = fixed + each * messages`` over the calls, old ones forgotten.
"""

from __future__ import annotations

from typing import Final

FORGET: Final = 0.8
"""What the calls of one window weigh in the next."""
_SPREAD: Final = 0.01
"""The least variance of the batch sizes, over their mean squared, that says anything of a slope."""


class CostModel:
    """A straight line through costs. Pure; costs in any unit."""

    __slots__ = ("_each", "_n", "_sx", "_sxx", "_sxy", "_sy")

    def __init__(self) -> None:
        self._each: float | None = None
        self._n = self._sx = self._sy = self._sxx = self._sxy = 0.0

    def add(self, messages: float, cost: float) -> None:
        """Take in a call, or the mean of several."""
        self._n += 1
        self._sx += messages
        self._sy += cost
        self._sxx += messages * messages
        self._sxy += messages * cost

    def take_in(self, other: CostModel) -> None:
        """Take in the calls of another model."""
        self._n += other._n
        self._sx += other._sx
        self._sy += other._sy
        self._sxx += other._sxx
        self._sxy += other._sxy

    @property
    def _variance(self) -> float:
        return self._sxx / self._n - (self._sx / self._n) ** 2

    @property
    def tells(self) -> bool:
        """Whether batches were of sizes so different that the two parts can be told apart."""
        return self._n > 0 and self._variance > _SPREAD * (self._sx / self._n) ** 2

    def line(self, guess: float, least: float = 0.0) -> tuple[float, float]:
        """Give the fixed part and the part of each message; neither is negative.

        Args:
            guess: the part of each message, where all batches were of one size and nothing is
                known from earlier ones.
            least: what each message costs at the least.
        """
        if not self._n:
            return 0.0, guess
        mean, cost = self._sx / self._n, self._sy / self._n
        if self.tells:
            self._each = (self._sxy / self._n - mean * cost) / self._variance
        each = max(least, guess if self._each is None else self._each)
        each = min(each, max(cost / mean, 0.0))
        return max(cost - each * mean, 0.0), each

    def forget(self) -> None:
        """Let what is known count for less from now on."""
        self._n *= FORGET
        self._sx *= FORGET
        self._sy *= FORGET
        self._sxx *= FORGET
        self._sxy *= FORGET
