"""Runs grids on the workers of a node."""

from __future__ import annotations

import time
from collections import deque

from gristmill.metg.actors import PACKED, Begin, BlockActor, Meet, Share
from gristmill.metg.grid import Grid, WrongInputError
from gristmill.node.node import Node
from gristmill.ref import Pending

_SHARES = 4
"""Messages for each worker that the tasks of the trivial pattern come in, as in ``node.map``."""
_OPEN = 2
_LIMIT = 300.0
"""Seconds that a run may take."""


class NodeGrid:
    """A block of points on every worker; implements :class:`~gristmill.metg.sweep.System`.

    Args:
        node: runs in processes.
        workers: how many it has.
    """

    def __init__(self, node: Node, workers: int) -> None:
        self._blocks = [
            node.spawn(BlockActor, args=(number,), placement=f"w{number + 1}")
            for number in range(workers)
        ]
        for block in self._blocks:
            block.ask(Meet(list(self._blocks)))
        self._runs = 0

    def run(self, grid: Grid, steps: int, kernel: str, iterations: int) -> float:
        """Do all tasks of so many steps; give the seconds.

        Raises:
            WrongInputError: tasks are missing.
        """
        self._runs += 1
        begin = time.perf_counter()
        if grid.pattern == "trivial":
            done = self._hand_out(grid, steps, kernel, iterations)
        else:
            order = Begin(self._runs, grid.pattern, grid.width, steps, kernel, iterations)
            replies = [block.request(order) for block in self._blocks]
            done = sum(reply.result(_LIMIT) for reply in replies)
        seconds = time.perf_counter() - begin
        if done != grid.tasks(steps):
            raise WrongInputError(f"{done:,} tasks were done; there are {grid.tasks(steps):,}")
        return seconds

    def _hand_out(self, grid: Grid, steps: int, kernel: str, iterations: int) -> int:
        tasks, workers = grid.tasks(steps), len(self._blocks)
        size = -(-tasks // (_SHARES * workers))
        waiting: deque[Pending[bytes]] = deque()
        done = 0
        for number, first in enumerate(range(0, tasks, size)):
            if len(waiting) == _OPEN * workers:
                done += len(waiting.popleft().result(_LIMIT))
            share = Share(grid.width, first, min(size, tasks - first), kernel, iterations)
            waiting.append(self._blocks[number % workers].request(share))
        return (done + sum(len(reply.result(_LIMIT)) for reply in waiting)) // PACKED.size
