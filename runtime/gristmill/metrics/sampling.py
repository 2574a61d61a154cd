"""Which messages are stamped, so that accounting costs no more than a part in a hundred."""

from __future__ import annotations

import math
from random import Random
from typing import Final

ALLOWED: Final = 0.01
"""The share of wall time that stamps may take."""
SPARSEST: Final = 1024
"""At least one message in so many is stamped."""


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
        self._stamped = 0
        self._probes = 0
        self._before = 0
        self._messages = 0

    def gap(self, probes: int, messages: int = 1) -> int:
        """Count messages that were stamped together, and give how many go by until the next.

        Args:
            probes: what that has cost, in stamps.
            messages: how many messages it were.
        """
        self._stamped += messages
        self._probes += probes
        return self._random.randrange(2 * self.n - 1)

    def adapt(self, probes: int, messages: int, probe_ns: int, wall_ns: int) -> None:
        """Choose ``n`` anew: the smallest power of two that keeps the cost within its share.

        It becomes smaller only when half of it would do, so that it does not waver.

        Args:
            probes: what the accounting has cost so far, in stamps.
            messages: messages so far, stamped or not.
            probe_ns: what one stamp costs.
            wall_ns: time since this was called last.
        """
        cost = probes - self._before
        if self._stamped:
            unstamped = messages - self._messages - self._stamped
            cost += unstamped * self._probes // self._stamped
        needed = cost * probe_ns / wall_ns / ALLOWED
        n = 2 ** math.ceil(math.log2(needed)) if needed > 1 else 1
        if n > self.n or needed <= self.n / 4:
            self.n = min(n, SPARSEST)
        self._before, self._messages = probes, messages
        self._stamped = self._probes = 0
