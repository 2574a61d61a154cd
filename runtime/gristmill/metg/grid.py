"""The grid of Task Bench: points in steps, whose tasks need outputs of the step before.

After Slaughter et al., "Task Bench: A Parameterized Benchmark for Evaluating Parallel Runtime
Performance" (SC 2020). Nothing here but Python and numpy, so that the environments of other
libraries can load this one file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

PATTERNS: Final = ("trivial", "stencil_1d", "nearest", "spread", "fft", "tree")
RADIX: Final = 5
"""How many points of the step before a task of ``nearest`` and ``spread`` needs."""
_PERIOD: Final = 3
"""After so many steps ``spread`` needs the same points again."""
BUSY_WAIT_NS: Final = 250
"""How long one iteration of ``busy_wait`` lasts."""

Output = tuple[int, int]
"""What a task gives: its step and its point. Who needs it checks both."""


class WrongInputError(Exception):
    """A task was given something else than what it needs."""


class Grid:
    """Which outputs each task needs.

    Args:
        pattern: one of :data:`PATTERNS`.
        width: points of a step.
    """

    def __init__(self, pattern: str, width: int) -> None:
        self.pattern = pattern
        self.width = width
        self._levels = max(1, (width - 1).bit_length())
        """How often the width can be halved, rounded up; one at least."""
        self._needs: dict[tuple[int, int], tuple[int, ...]] = {}

    def phase(self, step: int) -> int:
        """Give a number that is the same for steps whose points need the same points; first: 0."""
        if step == 0:
            return 0
        if self.pattern == "spread":
            return 1 + (step - 1) % _PERIOD
        if self.pattern == "fft":
            return 1 + (step - 1) % self._levels
        if self.pattern == "tree":
            return min(step, self._levels + 1)
        return 1

    def points(self, phase: int) -> int:
        """Give how many points a step of this phase has: a tree doubles them until it is full."""
        return min(self.width, 1 << phase) if self.pattern == "tree" else self.width

    def needs(self, phase: int, point: int) -> tuple[int, ...]:
        """Give the points of the step before whose outputs a task needs, in ascending order."""
        found = self._needs.get((phase, point))
        if found is None:
            found = self._needs[phase, point] = self._find_needs(phase, point)
        return found

    def _find_needs(self, phase: int, point: int) -> tuple[int, ...]:
        if phase == 0 or self.pattern == "trivial":
            return ()
        if self.pattern == "stencil_1d":
            return self._between(point - 1, point + 1)
        if self.pattern == "nearest":
            return self._between(point - RADIX // 2, point + (RADIX - 1) // 2)
        if self.pattern == "fft":
            stride = 1 << (phase - 1)
            return tuple(p for p in (point - stride, point, point + stride) if 0 <= p < self.width)
        if self.pattern == "tree":
            return (point // 2,)
        places = (
            (point + i * self.width // RADIX + (phase % _PERIOD if i else 0)) % self.width
            for i in range(RADIX)
        )
        return tuple(sorted(set(places)))

    def _between(self, first: int, last: int) -> tuple[int, ...]:
        return tuple(range(max(0, first), min(last, self.width - 1) + 1))

    def tasks(self, steps: int) -> int:
        """Count the tasks of so many steps."""
        filling = min(steps, self._levels + 1)
        filled = sum(self.points(self.phase(step)) for step in range(filling))
        return filled + (steps - filling) * self.width


def perform(
    grid: Grid, step: int, point: int, inputs: Sequence[Output], kernel: Kernel, iterations: int
) -> Output:
    """Do one task.

    Args:
        grid: where the task stands.
        step: its step.
        point: its point.
        inputs: the outputs that it needs, in the order of their points.
        kernel: what it computes.
        iterations: how often.

    Raises:
        WrongInputError: an input is missing, too many, or of another task.
    """
    needed = grid.needs(grid.phase(step), point)
    if len(inputs) != len(needed):
        raise WrongInputError(
            f"point {point} of step {step} got {len(inputs)} inputs; it needs {len(needed)}"
        )
    before = step - 1
    for place, (its_step, its_point) in zip(needed, inputs):  # noqa: B905 - as many of both
        if its_point != place or its_step != before:
            raise WrongInputError(
                f"point {point} of step {step} got the output of step {its_step}, point "
                f"{its_point}; it needs that of step {before}, point {place}"
            )
    kernel(iterations)
    return step, point


# --- kernels ---

Kernel = Callable[[int], None]

_state = np.linspace(-0.9, -0.1, 64)  # a*a + a goes from here to 0 for ever, and never reaches it
_square = np.empty_like(_state)
_multiply, _add = np.multiply, np.add


def busy_wait(iterations: int) -> None:
    """Look at the clock until :data:`BUSY_WAIT_NS` an iteration have gone by."""
    clock = time.perf_counter_ns
    end = clock() + iterations * BUSY_WAIT_NS
    while clock() < end:
        pass


def compute_bound(iterations: int) -> None:
    """Compute ``a = a * a + a`` on 64 doubles, 128 operations an iteration."""
    state, square = _state, _square
    for _ in range(iterations):
        _multiply(state, state, square)
        _add(state, square, state)


KERNELS: Final[dict[str, Kernel]] = {"compute_bound": compute_bound, "busy_wait": busy_wait}
