"""What ``gristmill metg`` does."""

from __future__ import annotations

import platform
import socket
import sys
from collections.abc import Sequence
from importlib.metadata import version

from gristmill.cli.output import console, show_notice
from gristmill.config import available_cores
from gristmill.errors import UsageError
from gristmill.metg import curves, text
from gristmill.metg.grid import KERNELS, PATTERNS
from gristmill.metg.node_grid import NodeGrid
from gristmill.metg.sweep import Plan, Sweep
from gristmill.metrics.text import terminal_width
from gristmill.node.node import Node

OURS = "gristmill"


def run(
    patterns: Sequence[str],
    kernel: str,
    workers: int | None,
    points: int,
    *,
    quick: bool,
    as_json: bool,
) -> None:
    """Measure on this machine, and print what was found."""
    _check("--pattern", patterns, PATTERNS)
    _check("--kernel", [kernel], tuple(KERNELS))
    cores = available_cores()
    count = cores if workers is None else workers
    if count > cores:
        raise UsageError(
            f"--workers {count}: each is pinned to a core of its own, and there are {cores}"
        )
    plan = Plan(patterns or PATTERNS, count, points * count, kernel)
    if quick:
        plan = plan.quick()
    with Node(workers=count, pin_cpus=True) as node:
        sweep = Sweep({OURS: NodeGrid(node, count)}, plan, show_notice)
        sweep.measure()
    found = curves.Measurement(
        host=socket.gethostname(),
        python=platform.python_version(),
        runtime_version=version("gristmill"),
        workers=count,
        width=plan.width,
        kernel=kernel,
        repetitions=plan.repetitions,
        peak_ns=sweep.peak_ns,
        curves=tuple(swept.curve(sweep.peak_ns) for swept in sweep.swept.values()),
    )
    if as_json:
        sys.stdout.write(curves.encode(found).decode() + "\n")
    else:
        console().print(text.render(found, terminal_width()))


def _check(option: str, given: Sequence[str], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            raise UsageError(f"{option} {name}: known are {', '.join(known)}")
