"""The sweep: ever smaller tasks on several systems in turns, until their efficiency is below half.

The first size is large enough for every system to run at its peak. Then iterations are halved. A
run of smaller tasks has more of them, so that all runs last about as long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from gristmill.metg.curves import Curve, Point, metg, middle
from gristmill.metg.grid import Grid

_ENOUGH = 0.45
"""A sweep ends where all runs are below this efficiency: the peak may still change a little."""
_COARSE_SIZES = 3
"""So many of the largest sizes show the peak."""
_FEWEST_STEPS = 4


class System(Protocol):
    """What grids are run on."""

    def run(self, grid: Grid, steps: int, kernel: str, iterations: int) -> float:
        """Do all tasks of so many steps, each checked; give the seconds."""


@dataclass(frozen=True)
class Plan:
    """How to measure."""

    patterns: Sequence[str]
    workers: int
    """Cores that every system has."""
    width: int
    kernel: str = "compute_bound"
    repetitions: int = 5
    coarsest: int = 1 << 13
    """Iterations of the largest tasks."""
    seconds: float = 0.25
    """About how long a run lasts."""

    def quick(self) -> Plan:
        """Give one with fewer, smaller and shorter runs, for a look."""
        return replace(self, repetitions=3, coarsest=1 << 10, seconds=0.05)


@dataclass
class Swept:
    """What one system did on one pattern."""

    system: str
    pattern: str
    sizes: list[int] = field(default_factory=list)
    """Iterations, largest first."""
    granularities: list[list[float]] = field(default_factory=list)
    """In us, one list a size, with one value a repetition."""
    floor: list[float] = field(default_factory=list)
    """In us, of tasks without iterations."""

    def points(self, peak_ns: float, repetition: int) -> list[Point]:
        """Give the sweep of one repetition."""
        return [
            Point(size, runs[repetition], size * peak_ns / 1e3 / runs[repetition])
            for size, runs in zip(self.sizes, self.granularities, strict=True)
        ]

    def metgs(self, peak_ns: float, efficiency: float) -> list[float | None]:
        """Give the METG of each repetition, in us; None where the efficiency was not reached."""
        repetitions = range(len(self.granularities[0]))
        return [metg(self.points(peak_ns, number), efficiency).us for number in repetitions]

    def curve(self, peak_ns: float) -> Curve:
        """Give the medians over the repetitions."""
        repetitions = range(len(self.granularities[0]))
        sweeps = [self.points(peak_ns, number) for number in repetitions]
        points = [middle(size) for size in zip(*sweeps, strict=True)]
        return Curve.of(self.system, self.pattern, points, sorted(self.floor)[len(self.floor) // 2])


class Sweep:
    """Measures systems side by side; each repetition of a size runs all of them in turns.

    Args:
        systems: by name.
        plan: how.
        progress: told what is going to be measured.
    """

    def __init__(
        self, systems: Mapping[str, System], plan: Plan, progress: Callable[[str], None]
    ) -> None:
        self._systems = systems
        self._plan = plan
        self._progress = progress
        self.swept = {
            (name, pattern): Swept(name, pattern) for pattern in plan.patterns for name in systems
        }
        """By system and pattern."""

    @property
    def peak_ns(self) -> float:
        """Time of an iteration on one core: the 25th percentile of the runs of large tasks.

        Of all systems and patterns: one that ran while the machine was slow has no peak of its own.
        """
        coarse = sorted(
            1e3 * granularity / size
            for swept in self.swept.values()
            for size, runs in zip(swept.sizes[:_COARSE_SIZES], swept.granularities, strict=False)
            for granularity in runs
        )
        return coarse[len(coarse) // 4]

    def measure(self) -> None:
        """Run everything: the largest tasks of all patterns first, for the peak."""
        plan = self._plan
        for pattern in plan.patterns:  # what a system does at its first run is not measured
            for system in self._systems.values():
                system.run(Grid(pattern, plan.width), _FEWEST_STEPS, plan.kernel, 1)
        for pattern in plan.patterns:
            self._measure_size(pattern, list(self._systems), plan.coarsest)
        for pattern in plan.patterns:
            self._progress(f"{pattern}: {plan.repetitions} runs of each size")
            self._descend(pattern)

    def _descend(self, pattern: str) -> None:
        size, running = self._plan.coarsest, list(self._systems)
        while size > 1 and running:
            size //= 2
            self._measure_size(pattern, running, size)
            running = [name for name in running if not self._is_below(name, pattern)]
        for _ in range(self._plan.repetitions):
            for name in self._systems:
                swept = self.swept[name, pattern]
                swept.floor.append(self._run(swept, 0))

    def _is_below(self, name: str, pattern: str) -> bool:
        """Tell whether two sizes in a row were inefficient: one may be, while others compute."""
        swept = self.swept[name, pattern]
        return all(
            size * self.peak_ns / 1e3 < _ENOUGH * granularity
            for size, runs in zip(swept.sizes[-2:], swept.granularities[-2:], strict=True)
            for granularity in runs
        )

    def _measure_size(self, pattern: str, names: list[str], size: int) -> None:
        chosen = [self.swept[name, pattern] for name in names]
        runs: list[list[float]] = [[] for _ in chosen]
        for number in range(self._plan.repetitions):
            turns = list(zip(chosen, runs, strict=True))
            for swept, found in turns if number % 2 else reversed(turns):
                found.append(self._run(swept, size))
        for swept, found in zip(chosen, runs, strict=True):
            swept.sizes.append(size)
            swept.granularities.append(found)

    def _run(self, swept: Swept, size: int) -> float:
        """Run tasks of a size once; give their granularity in us."""
        plan = self._plan
        grid = Grid(swept.pattern, plan.width)
        steps = max(_FEWEST_STEPS, round(plan.seconds / self._step_seconds(swept, size)))
        seconds = self._systems[swept.system].run(grid, steps, plan.kernel, size)
        return 1e6 * seconds * plan.workers / grid.tasks(steps)

    def _step_seconds(self, swept: Swept, size: int) -> float:
        """Guess how long a step lasts, from the tasks before, which were larger."""
        plan = self._plan
        each = plan.width / plan.workers / 1e6
        if not swept.granularities:
            return plan.seconds / _FEWEST_STEPS
        larger = min(swept.granularities[-1])
        return each * (larger if size == 0 else max(larger / 2, 0.1))
