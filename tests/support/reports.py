"""Reports with known figures, for tests of what is made of them; and those of a part of a run."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from gristmill import Node
from gristmill.metrics import (
    Coordination,
    Report,
    RunInfo,
    TypeSnapshot,
    WorkerSnapshot,
    build_report,
    windows,
)
from gristmill.metrics.classes import unnamed
from gristmill.metrics.snapshot import Kind

S = 1_000_000_000
RUN = RunInfo("r1", 0, 10 * S, "host", 2, "3.11.2", "0.1.0")


def process(
    id: str = "w0", kind: Kind = "worker", *, types: tuple[TypeSnapshot, ...] = (),  # noqa: A002 - the field's name
    cpu_s: float | None = None, messages: int = 1000, wall_s: float = 10, **seconds: float,
) -> WorkerSnapshot:  # fmt: skip
    """Give a process that spent ``seconds`` in the named classes, and idled otherwise."""
    classes = {name: round(value * S) for name, value in seconds.items()}
    idle = round(wall_s * S) - sum(classes.values())
    waits = idle + sum(classes.get(name, 0) for name in ("ask_wait", "io_wait", "startup"))
    wall = round(wall_s * S)
    cpu = wall - waits if cpu_s is None else round(cpu_s * S)
    return WorkerSnapshot(
        id, 1, kind, wall, cpu, unnamed(classes | {"idle": idle}), messages=messages, types=types
    )


def quote(**changes: object) -> TypeSnapshot:
    """Give 1,000 messages of 20 us compute and 25 us coordination."""
    base = TypeSnapshot(
        "m:Pricer", "m:GetQuote", messages=1000, items=1000, compute_ns=20_000_000,
        coord_ns=Coordination(deser=500_000, ser=500_000, dispatch=2_000_000, peer=22_000_000),
        bytes_in=132_000, compute_hist={100: 1000}, wait_hist={90: 1000},
    )  # fmt: skip
    return msgspec.structs.replace(base, **changes)


def report(*processes: WorkerSnapshot, run: RunInfo = RUN) -> Report:
    """Give the report of a run of 10 s."""
    return build_report(run, processes)


def during(node: Node, act: Callable[[], object]) -> Report:
    """Give the report of what happens in ``act``."""
    before = node.granularity()
    act()
    return windows([before, node.granularity()])[1]
