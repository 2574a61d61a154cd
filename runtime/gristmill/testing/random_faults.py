"""``RandomFaults``: what goes wrong in a simulation at random, and when."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from gristmill.testing.faults import Faults, Point

if TYPE_CHECKING:
    from gristmill.testing.simulated_worker import SimulatedWorker
    from gristmill.testing.simulated_world import SimulatedWorld


class RandomFaults:
    """Strikes workers and actors of a world again and again.

    Args:
        world: where things go wrong.
        faults: how often they do.
        random: where times and victims are drawn from.
    """

    def __init__(self, world: SimulatedWorld, faults: Faults, random: Random) -> None:
        self._world = world
        self._faults = faults
        self._random = random
        self._ended = False

    def begin(self) -> None:
        """Let things go wrong from now on."""
        faults = self._faults
        if faults.until is not None:
            self._world.call_later(faults.until, self.end)
        self._repeat(faults.kill_every, self._kill)
        self._repeat(faults.crash_every, self._crash)
        self._repeat(faults.pause_every, self._pause)

    def end(self) -> None:
        """Let nothing go wrong any more."""
        self._ended = True

    def _repeat(self, mean: float | None, strike: Callable[[SimulatedWorker], None]) -> None:
        if mean is None:
            return

        def fire() -> None:
            if self._ended:
                return
            living = self._world.living
            if living:
                strike(self._random.choice(living))
            self._repeat(mean, strike)

        self._world.call_later(self._random.expovariate(1 / mean), fire)

    def _kill(self, worker: SimulatedWorker) -> None:
        self._world.kill(worker, self._random.choice(list(Point)))

    def _crash(self, worker: SimulatedWorker) -> None:
        cells = worker.living_cells()
        if cells:
            self._world.crash(worker, self._random.choice(cells).key)

    def _pause(self, worker: SimulatedWorker) -> None:
        self._world.pause(worker, self._random.uniform(0.0, self._faults.pause_seconds))
