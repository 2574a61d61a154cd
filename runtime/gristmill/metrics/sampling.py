"""Which messages are stamped, so that accounting costs no more than a part in a hundred."""

from __future__ import annotations

import math
from random import Random
from typing import Final

ALLOWED: Final = 0.01
"""The share of wall time that stamps may take."""
SPARSEST: Final = 4096
"""At least one message in so many is stamped."""
_LEAST: Final = 0.25
"""Part of what is allowed that messages have at least, whatever the stamps between them cost."""


class Sampling:
    """Says how many messages go by between two that are stamped. Pure.

    The gaps are random, so that no rhythm of the messages can hide from them.

    Args:
        random: where the gaps are drawn from.
    """

    def __init__(self, random: Random) -> None:
        self.n = 1
        """One message in so many is stamped; 1: every one."""
        self._random = random
        self._calls = 0
        self._stamped = 0
        self._cost_ns = 0
        self._cost_before = 0
        self._messages_before = 0

    def gap(self, cost_ns: int, messages: int = 1) -> int:
        """Count messages that were stamped together, and give how many go by until the next.

        Args:
            cost_ns: what that has cost.
            messages: how many messages it were.
        """
        self._calls += 1
        self._stamped += messages
        self._cost_ns += cost_ns
        return int(self._random.random() * (2 * self.n - 1))

    def adapt(self, cost_ns: int, messages: int, interruption_ns: int, wall_ns: int) -> None:
        """Choose ``n`` anew: the smallest power of two that keeps the cost within its share.

        It becomes smaller only when half of it would do, so that it does not waver.

        Args:
            cost_ns: what the accounting has cost so far, without the interruptions.
            messages: messages so far, stamped or not.
            interruption_ns: what a stamped call costs besides, where others go by unstamped.
            wall_ns: time since this was called last.
        """
        needed = 0.0
        if self._stamped and wall_ns:
            allowed = ALLOWED * wall_ns
            others = cost_ns - self._cost_before - self._cost_ns
            left = max(allowed - others, _LEAST * allowed)
            scale = max(1.0, (messages - self._messages_before) / self._stamped)
            all_ns = scale * self._cost_ns
            if self.n > 1 or all_ns > left:
                all_ns += scale * self._calls * interruption_ns
            needed = all_ns / left
        n = 2 ** math.ceil(math.log2(needed)) if needed > 1 else 1
        if n > self.n or needed <= self.n / 4:
            self.n = min(n, SPARSEST)
        self._cost_before, self._messages_before = cost_ns, messages
        self._calls = self._stamped = self._cost_ns = 0
