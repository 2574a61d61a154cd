"""Blocks: how the points of a grid are shared out, and what each step takes and gives.

Each worker has one block of adjacent points, as in a halo exchange.
"""

from __future__ import annotations

from dataclasses import dataclass

from gristmill.metg.grid import Grid

Tasks = tuple[tuple[int, tuple[int, ...]], ...]
"""Points, each with the points of the step before that it needs."""


@dataclass(frozen=True)
class Exchange:
    """What one block does in a step."""

    edge: Tasks
    """Its points that other blocks need: they come first, so that outputs travel meanwhile."""
    inner: Tasks
    """The others."""
    sources: int
    """From how many other blocks outputs of the step before must have come."""
    sends: tuple[tuple[int, tuple[int, ...]], ...]
    """Other blocks, each with the points of this one whose outputs they need in the next step."""


class Block:
    """One of ``blocks`` parts of a grid.

    Args:
        grid: the grid.
        number: which part, from 0.
        blocks: how many there are, at most as many as points.
    """

    def __init__(self, grid: Grid, number: int, blocks: int) -> None:
        self._grid = grid
        self._number = number
        self._blocks = blocks
        self._own = range(self._first(number), self._first(number + 1))
        self._exchanges: dict[tuple[int, int], Exchange] = {}

    def exchange(self, step: int) -> Exchange:
        """Give what there is to do in a step."""
        phases = self._grid.phase(step), self._grid.phase(step + 1)
        found = self._exchanges.get(phases)
        if found is None:
            found = self._exchanges[phases] = self._find_exchange(*phases)
        return found

    def tasks(self, step: int) -> Tasks:
        """Give the tasks of a step, in the order of their points."""
        exchange = self.exchange(step)
        return tuple(sorted(exchange.edge + exchange.inner))

    def receivers(self, step: int) -> dict[int, list[tuple[int, int]]]:
        """Give for its points the (block, point) pairs elsewhere that need them one step later."""
        return self._receivers(self._grid.phase(step + 1))

    def _find_exchange(self, phase: int, following: int) -> Exchange:
        grid = self._grid
        tasks = tuple((p, grid.needs(phase, p)) for p in self._own if p < grid.points(phase))
        homes = {self._home(need) for _, needs in tasks for need in needs}
        sends: dict[int, set[int]] = {}
        for point, receivers in self._receivers(following).items():
            for home, _ in receivers:
                sends.setdefault(home, set()).add(point)
        sent = set().union(*sends.values())
        return Exchange(
            edge=tuple(task for task in tasks if task[0] in sent),
            inner=tuple(task for task in tasks if task[0] not in sent),
            sources=len(homes - {self._number}),
            sends=tuple((home, tuple(sorted(points))) for home, points in sorted(sends.items())),
        )

    def _receivers(self, following: int) -> dict[int, list[tuple[int, int]]]:
        found: dict[int, list[tuple[int, int]]] = {}
        for point in range(self._grid.points(following)):
            home = self._home(point)
            for need in self._grid.needs(following, point):
                if home != self._number and need in self._own:
                    found.setdefault(need, []).append((home, point))
        return found

    def _first(self, number: int) -> int:
        return number * self._grid.width // self._blocks

    def _home(self, point: int) -> int:
        """Give the block of a point."""
        return ((point + 1) * self._blocks - 1) // self._grid.width
