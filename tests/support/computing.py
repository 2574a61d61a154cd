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


class Grind(Request[int]):
    """Compute for each item; answered by the CPU ns that it took."""

    items: tuple[bytes, ...]
    rounds: int


class CpuTime(Request[int]):
    """CPU ns of the process so far."""


class Mill(Actor):
    """Computes for items, and measures by CPU time, which a busy neighbour does not add to."""

    @handles
    def grind(self, msg: Grind) -> int:
        """Compute."""
        began = time.thread_time_ns()
        for _ in msg.items:
            for _ in range(msg.rounds):
                pass
        return time.thread_time_ns() - began

    @handles
    def cpu(self, msg: CpuTime) -> int:
        """Read the clock."""
        return time.process_time_ns()
