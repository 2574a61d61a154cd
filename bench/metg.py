"""METG: the least time of a task at which two cores still do half of the work that they can do.

After Task Bench: tasks on a grid of points in steps, each of which needs outputs of the step
before, with ever smaller tasks; every input is checked. The figure is wall x cores / tasks where
efficiency falls below 50 %. ``trivial`` tasks need nothing: gristmill sends many in one message,
the floor one in each. On the others gristmill has an actor with a block of points on each worker,
and one message a step for each other block; the floor, raw pyzmq in a process a core, sends a
message for each output and each task that needs it, as Task Bench does on MPI. All share one peak.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from gristmill import Node
from gristmill.config import Transport
from gristmill.metg.grid import Grid
from gristmill.metg.node_grid import NodeGrid
from gristmill.metg.sweep import Plan, Sweep, System
from harness import Bench, Result, add_libraries, add_transport, named, options, two_cores
from harness.environments import InstallError, python_with, version_in
from harness.grid_floor import RawGrid
from harness.processes import HERE, Program, ProgramError

OURS, FLOOR = "gristmill", "raw pyzmq"
PATTERNS = ("trivial", "stencil_1d", "nearest")
WORKERS, POINTS = 2, 32
_PYTHONS = {"multiprocessing.Pool": "grid_pool", "concurrent.futures": "grid_executor"}
_OTHERS = {
    "joblib": ("grid_joblib", ("numpy", "joblib")),
    "dask": ("grid_dask", ("numpy", "distributed")),
    "ray": ("grid_ray", ("numpy", "ray")),
}


class LibraryGrid:
    """Another library, in a program of its own; implements :class:`gristmill.metg.sweep.System`."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def run(self, grid: Grid, steps: int, kernel: str, iterations: int) -> float:
        """Have it do all tasks; give the seconds.

        Raises:
            ProgramError: it failed.
        """
        self._program.tell(f"{grid.pattern} {grid.width} {steps} {kernel} {iterations}")
        line = self._program.line()
        if not line:
            raise ProgramError("a library ended without an answer; run it by hand to see why")
        return float(line)


def started(
    stack: ExitStack, transport: Transport, wanted: Sequence[str]
) -> tuple[dict[str, System], dict[str, str]]:
    """Start everything that is measured; give the systems, and the versions of the libraries."""
    cores = list(two_cores())
    node = stack.enter_context(Node(workers=WORKERS, pin_cpus=True, transport=transport))
    systems: dict[str, System] = {
        OURS: NodeGrid(node, WORKERS),
        FLOOR: stack.enter_context(RawGrid(cores)),
    }
    versions = {}
    scripts = {name: (script, ()) for name, script in _PYTHONS.items()} | _OTHERS
    for name in wanted:
        script, packages = scripts[name]
        try:
            python = python_with(*packages) if packages else ""
            path = HERE.parent / "libraries" / f"{script}.py"
            program = stack.enter_context(Program(path, python=python, quiet=True))
        except (InstallError, ProgramError) as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            continue
        systems[name] = LibraryGrid(program)
        if packages:
            versions[packages[-1]] = version_in(python, packages[-1])
    return systems, versions


def results(sweep: Sweep, systems: Sequence[str]) -> list[Result]:
    """Give METG(50%) of every system and pattern, beside the floor's in the same repetitions."""
    found = []
    for pattern in PATTERNS:
        floors = sweep.swept[FLOOR, pattern].metgs(sweep.peak_ns, 0.5)
        for name in systems:
            if name == FLOOR:
                continue
            label = f"metg50_{pattern}" if name == OURS else f"metg50_{pattern}, {name}"
            values = sweep.swept[name, pattern].metgs(sweep.peak_ns, 0.5)
            pairs = [(a, b) for a, b in zip(values, floors, strict=True) if a and b]
            if pairs:
                found.append(Result.of(label, "us", *zip(*pairs, strict=True)))
            else:
                print(f"{label}: never half as efficient as the peak", file=sys.stderr)
    return found


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = options(__doc__ or "")
    add_libraries(parser, _OTHERS)
    add_transport(parser)
    asked = parser.parse_args()
    plan = Plan(PATTERNS, WORKERS, POINTS)
    if asked.quick:
        plan = plan.quick()
    if asked.others:  # which need larger tasks to be efficient
        plan = replace(plan, coarsest=1 << 15, repetitions=3)
    with ExitStack() as stack:
        systems, versions = started(stack, asked.transport, [*_PYTHONS, *asked.others])
        sweep = Sweep(systems, plan, lambda line: print(line, file=sys.stderr))
        sweep.measure()
    bench = Bench.of(named("metg", asked.transport), results(sweep, list(systems)), versions)
    bench.show(
        [
            f"{plan.repetitions} runs a size; {POINTS} points a step",
            f"peak: {sweep.peak_ns:.0f} ns an iteration of {plan.kernel} on each core",
            "floor: raw pyzmq, one message for each output and task that needs it",
            "2 workers each, pinned where the library can; the accounting of gristmill is on",
        ]
    )
    if asked.json:
        bench.write(asked.json)


if __name__ == "__main__":
    main()
