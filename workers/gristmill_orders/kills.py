"""Fault injection: kills workers of a running node, one every few seconds."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from random import Random

from gristmill import Node


class Killer:
    """Kills a worker by SIGKILL every so often.

    Args:
        node: whose workers.
        every: seconds between two kills; None: never.
        seed: fixes which worker it is each time.
        now: the time, in seconds of the clock that ``poll`` gets.
    """

    def __init__(self, node: Node, every: float | None, seed: int, now: float) -> None:
        self.node = node
        self._every = every
        self._random = Random(seed)
        self._next = now + (every or 0.0)
        self.killed = 0
        """How many workers it has killed."""

    def poll(self, now: float) -> None:
        """Kill a worker if it is time."""
        if self._every is None or now < self._next:
            return
        self._next = now + self._every
        alive = [worker.pid for worker in self.node.status().workers if worker.pid]
        if not alive:
            return
        with suppress(ProcessLookupError):
            os.kill(self._random.choice(alive), signal.SIGKILL)
            self.killed += 1
