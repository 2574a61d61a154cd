"""Builds granularity reports from snapshots.

Times and counts are added as integers; ratios are computed from the sums and never averaged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from gristmill.metrics import advice, histogram, ratios
from gristmill.metrics.attribution import edges, peers
from gristmill.metrics.classes import (
    BUSY,
    COORD,
    COUNT,
    WAIT,
    TimeClass,
    named,
    total,
    unnamed,
)
from gristmill.metrics.meter import Calibration, move_probes
from gristmill.metrics.schema import (
    Checks,
    Edge,
    Histograms,
    Pop,
    Report,
    RunInfo,
    Totals,
    TypeRow,
    WorkerRow,
)
from gristmill.metrics.snapshot import TypeSnapshot, WorkerSnapshot, merge_types
from gristmill.metrics.snapshot import merge as merge_snapshots

_MIN_BUSY_NS: Final = 10_000_000  # below it, the CPU clock's ticks drown the contention figure
_MIN_LONE: Final = 8
"""Messages that came alone, below which nothing is said of what such cost."""
_UNCONTENDED: Final = WAIT | {TimeClass.STARTUP}
_LOSSES: Final = {
    "ask_wait": {TimeClass.ASK_WAIT},
    "io_wait": {TimeClass.IO_WAIT},
    "idle": {TimeClass.IDLE},
    "gc": {TimeClass.GC_USER},
}
_KIND_ORDER: Final = ("worker", "supervisor", "client")


def build_report(
    run: RunInfo, snapshots: Iterable[WorkerSnapshot], calibration: Calibration | None = None
) -> Report:
    """Build the report of one run.

    Args:
        run: which run.
        snapshots: the last one of every incarnation of every process.
        calibration: what measuring cost.
    """
    workers = [_without_probes(row) for row in merge_snapshots(snapshots)]
    sent = [row for worker in workers for row in worker.sent]
    handled = [row for worker in workers for row in worker.types]
    types = merge_types([*handled, *peers(sent)])
    sample_n = max((worker.sample_n for worker in workers), default=1)
    if sample_n > 1:
        run = msgspec.structs.replace(run, mode="sampled", sample_n=sample_n)
    calibration = _with_cold(calibration or Calibration(), workers)
    return assemble(run, calibration, workers, types, edges(sent, types))


def _with_cold(calibration: Calibration, workers: Iterable[WorkerSnapshot]) -> Calibration:
    """Add what a message costs whose receiver sleeps, if enough of them came alone."""
    lone = histogram.merged(worker.lone_hist for worker in workers)
    if calibration.cold_fixed_ns is not None or sum(lone.values()) < _MIN_LONE:
        return calibration
    return msgspec.structs.replace(calibration, cold_fixed_ns=histogram.percentile(lone, 50))


def _without_probes(row: WorkerSnapshot) -> WorkerSnapshot:
    classes = move_probes(row.classes, row.probe_ns)
    return msgspec.structs.replace(row, classes=classes, probe_ns=classes[TimeClass.PROBE])


def assemble(
    run: RunInfo,
    calibration: Calibration,
    workers: list[WorkerSnapshot],
    types: list[TypeSnapshot],
    between: tuple[Edge, ...],
) -> Report:
    """Compute a report from sums: one snapshot a process, one row a type, probes taken out."""
    rows = tuple(_worker_row(worker) for worker in sorted(workers, key=_process_order))
    shared = _shared(workers, types)
    ordered = sorted(types, key=lambda row: (-row.coord_ns.total(), row.actor, row.message))
    return Report(
        run=run,
        calibration=calibration,
        totals=_totals(run, workers),
        workers=rows,
        types=tuple(_type_row(row, calibration, shared) for row in ordered),
        checks=_checks(rows, types),
        edges=between,
    )


def _shared(processes: Sequence[WorkerSnapshot], types: Sequence[TypeSnapshot]) -> float:
    """Give the coordination of workers in ns, for each message, that belongs to no type.

    It is mostly to poll. What a client does on its own account is not a message's.
    """
    workers = [row for row in processes if row.kind == "worker"]
    everywhere = sum(total(row.classes, COORD) for row in processes)
    in_workers = sum(total(row.classes, COORD) for row in workers)
    full = sum(row.coord_ns.total() for row in types)
    received = full - sum(row.coord_ns.peer for row in types)
    unowned = max(0, min(everywhere - full, in_workers - received))
    return ratios.quotient(unowned, sum(row.messages for row in workers)) or 0.0


def _process_order(row: WorkerSnapshot) -> tuple[int, list[tuple[int, str]]]:
    parts = re.split(r"(\d+)", row.id)
    natural = [(int(p), "") if p.isdecimal() else (-1, p) for p in parts]
    return _KIND_ORDER.index(row.kind), natural


def _worker_row(row: WorkerSnapshot) -> WorkerRow:
    working = sum(row.classes) - total(row.classes, _UNCONTENDED)
    # What a client does outside of our calls is not metered, so its busy time is unknown.
    known = row.kind != "client" and working >= _MIN_BUSY_NS
    return WorkerRow(
        id=row.id,
        pid=row.pid,
        kind=row.kind,
        wall_ns=row.wall_ns,
        cpu_ns=row.cpu_ns,
        classes=named(row.classes),
        transitions=row.transitions,
        probe_ns=row.probe_ns,
        messages=row.messages,
        ratio=ratios.quotient(row.classes[TimeClass.COMPUTE], total(row.classes, COORD)),
        contention=row.cpu_ns / working if known else None,
        untracked_cpu_ns=max(0, row.cpu_ns - working),
        complete=row.complete,
        stood_still_ns=row.stood_still_ns,
    )


def _type_row(row: TypeSnapshot, calibration: Calibration, shared: float) -> TypeRow:
    coord = row.coord_ns.total()
    fit = advice.fit(row, shared)
    return TypeRow(
        actor=row.actor,
        message=row.message,
        messages=row.messages,
        items=row.items,
        compute_ns=row.compute_ns,
        compute_cpu_ns=row.compute_cpu_ns or None,
        coord_ns=row.coord_ns,
        ask_wait_ns=row.ask_wait_ns,
        gc_ns=row.gc_ns,
        bytes_in=row.bytes_in,
        bytes_out=row.bytes_out,
        ratio=ratios.quotient(row.compute_ns, coord),
        strict_ratio=ratios.quotient(row.compute_ns, coord + row.ask_wait_ns),
        grain_ns=ratios.quotient(row.compute_ns, row.messages),
        fit=fit,
        hist=Histograms(row.compute_hist, row.wait_hist),
        advice=advice.for_type(row, fit, calibration),
        batches=row.batches,
        governor=row.governed,
    )


def _totals(run: RunInfo, processes: list[WorkerSnapshot]) -> Totals:
    classes = _add(row.classes for row in processes)
    compute, coord = classes[TimeClass.COMPUTE], total(classes, COORD)
    workers = [row for row in processes if row.kind == "worker"]
    return Totals(
        classes=named(classes),
        messages=sum(row.messages for row in workers),
        ratio=ratios.quotient(compute, coord),
        strict_ratio=ratios.quotient(compute, coord + classes[TimeClass.ASK_WAIT]),
        efficiency=ratios.quotient(compute, compute + coord),
        pop=_pop(run, workers),
    )


def _add(vectors: Iterable[Sequence[int]]) -> tuple[int, ...]:
    return tuple(map(sum, zip(*vectors, strict=True))) or (0,) * COUNT


def _pop(run: RunInfo, workers: list[WorkerSnapshot]) -> Pop | None:
    wall = max([run.wall_ns, *(row.wall_ns for row in workers)])
    if not workers or wall <= 0:
        return None
    classes = _add(row.classes for row in workers)
    computes = [row.classes[TimeClass.COMPUTE] for row in workers]
    area = len(workers) * wall
    efficiency = sum(computes) / area
    loss = {"coord": total(classes, COORD) / area}
    loss |= {name: total(classes, which) / area for name, which in _LOSSES.items()}
    # Startup, other, and the time in which a worker was not there.
    loss["other"] = 1 - efficiency - sum(loss.values())
    return Pop(
        lb=ratios.quotient(sum(computes) / len(workers), max(computes)),
        comm_e=max(computes) / wall,
        pe=efficiency,
        loss=loss,
    )


def _checks(rows: Sequence[WorkerRow], types: list[TypeSnapshot]) -> Checks:
    classes = _add(unnamed(row.classes) for row in rows)
    sums = [sum(row.classes.values()) / row.wall_ns for row in rows if row.wall_ns > 0]
    unattributed = total(classes, COORD) - sum(row.coord_ns.total() for row in types)
    return Checks(
        sum_over_wall=max(sums, key=lambda value: abs(value - 1), default=None),
        unattributed_pct=_percent(unattributed, total(classes, BUSY)),
        probe_pct=_percent(classes[TimeClass.PROBE], sum(row.wall_ns for row in rows)),
        contention_ok=not any(advice.contended(row) for row in rows),
    )


def _percent(part: int, whole: int) -> float | None:
    return ratios.quotient(100 * part, whole)
