"""The grid of METG on other libraries, run the same way on each; nothing here but Python and numpy.

Each library is a script beside this one: it says how it runs a grid, and calls :func:`serve`,
which prints ``ready`` and then a line with the seconds for each line that it reads: pattern, width,
steps, kernel and iterations.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Protocol

# the one file of gristmill that is needed, without the rest of it and what that needs
sys.path.append(str(Path(__file__).parents[2] / "runtime" / "gristmill" / "metg"))

import grid as task_bench  # type: ignore[import-not-found]  # found by the path above

Output = tuple[int, int]
Call = tuple["Order", int, int, list[Output]]
"""An order, step, point and inputs: what :func:`task` takes."""
WORKERS = 2
CHUNKS = 4
"""Messages for each worker that the tasks of a step come in, as ``multiprocessing.Pool`` does."""


class Order(tuple[str, int, int, str, int]):
    """Pattern, width, steps, kernel and iterations of a run."""

    __slots__ = ()


class Library(Protocol):
    """How a library runs a grid on two worker processes."""

    def run(self, order: Order) -> list[Output]:
        """Do all tasks; give the outputs of the last step, or of all if they need nothing."""

    def close(self) -> None:
        """End everything."""


def task(call: Call) -> Output:
    """Do one task."""
    order, step, point, inputs = call
    pattern, width, _, kernel, iterations = order
    compute = task_bench.KERNELS[kernel]
    output: Output = task_bench.perform(
        _grid(pattern, width), step, point, inputs, compute, iterations
    )
    return output


def places(order: Order, step: int) -> Iterable[tuple[int, tuple[int, ...]]]:
    """Give the points of a step, each with those of the step before that it needs."""
    grid = _grid(order[0], order[1])
    phase = grid.phase(step)
    return ((point, grid.needs(phase, point)) for point in range(grid.points(phase)))


def by_steps(order: Order, perform: Callable[[list[Call]], list[Output]]) -> list[Output]:
    """Run a grid on a library that only maps: a map a step, or one map if tasks need nothing."""
    pattern, _, steps, *_ = order
    if pattern == "trivial":
        calls = [(order, step, p, []) for step in range(steps) for p, _ in places(order, step)]
        return perform(calls)
    before: list[Output] = []
    for step in range(steps):
        before = perform(
            [(order, step, p, [before[need] for need in needs]) for p, needs in places(order, step)]
        )
    return before


def chunk(calls: list[Call]) -> int:
    """Give how many calls go in a message."""
    return -(-len(calls) // (CHUNKS * WORKERS))


def pin(core: int) -> None:
    """Keep the calling process on one of its cores."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[core % len(cores)]})


@cache
def _grid(pattern: str, width: int) -> task_bench.Grid:
    return task_bench.Grid(pattern, width)


def serve(make: Callable[[], Library]) -> None:
    """Start a library, say so, and run what is asked for until standard input ends."""
    report = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what the libraries print is no answer
    library = make()
    print("ready", file=report, flush=True)
    for line in sys.stdin:
        pattern, width, steps, kernel, iterations = line.split()
        order = Order((pattern, int(width), int(steps), kernel, int(iterations)))
        begin = time.perf_counter()
        outputs = library.run(order)
        seconds = time.perf_counter() - begin
        _check(order, outputs)
        print(seconds, file=report, flush=True)
    library.close()


def _check(order: Order, outputs: list[Output]) -> None:
    pattern, _, steps, *_ = order
    first = 0 if pattern == "trivial" else steps - 1
    right = [(step, point) for step in range(first, steps) for point, _ in places(order, step)]
    if [tuple(output) for output in outputs] != right:
        sys.exit(f"the outputs of {pattern} are not those of its tasks")
