"""Actors that compute for a known time."""

from __future__ import annotations

import os
import time

from gristmill import Actor, Request, handles


class Spin(Request[int]):
    """Compute for so many ns; answered by the ns that it took by the handler's own clock."""

    ns: int


class ProcessTimes(Request[tuple[int, float]]):
    """Process id, and CPU seconds as the kernel counts them."""


class Spinner(Actor):
    """Computes."""

    @handles
    def spin(self, msg: Spin) -> int:
        """Spin."""
        began = time.perf_counter_ns()
        while (spent := time.perf_counter_ns() - began) < msg.ns:
            pass
        return spent

    @handles
    def times(self, msg: ProcessTimes) -> tuple[int, float]:
        """Read /proc."""
        with open("/proc/self/stat") as file:  # noqa: PTH123 - one line of /proc
            fields = file.read().rpartition(")")[2].split()
        ticks = os.sysconf("SC_CLK_TCK")
        return os.getpid(), (int(fields[11]) + int(fields[12])) / ticks
