"""Reports as numbers that add up: merging them, and the windows between snapshots of one run.

Times and counts are added and subtracted as integers; ratios are computed from the results and
never averaged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec

from gristmill.errors import UsageError
from gristmill.metrics.classes import COUNT, unnamed
from gristmill.metrics.meter import Calibration
from gristmill.metrics.report import assemble
from gristmill.metrics.schema import Edge, Report, RunInfo, TypeRow, WorkerRow
from gristmill.metrics.snapshot import Coordination, TypeSnapshot, WorkerSnapshot, merge_types
from gristmill.metrics.snapshot import merge as merge_snapshots

Row = TypeVar("Row", bound=msgspec.Struct)


def merge(reports: Sequence[Report]) -> Report:
    """Merge reports: of parts of one run (same id and start), or of runs one after the other.

    Raises:
        UsageError: there is none, or two are of one process: then the later holds the earlier.
    """
    if not reports:
        raise UsageError("there is no report to merge; give at least one")
    _refuse_snapshots(reports)
    workers = [_worker_snapshot(row) for report in reports for row in report.workers]
    types = [_type_snapshot(row) for report in reports for row in report.types]
    return assemble(
        _merge_runs([report.run for report in reports]),
        _merge_calibrations([report.calibration for report in reports]),
        merge_snapshots(workers),
        merge_types(types),
        _merge_edges(edge for report in reports for edge in report.edges),
    )


def _refuse_snapshots(reports: Iterable[Report]) -> None:
    seen = set()
    for report in reports:
        run = (report.run.id, report.run.t0_unix_ns)
        for row in report.workers:
            process = (*run, row.kind, row.id, row.pid)
            if process in seen:
                raise UsageError(
                    f"two reports are of {row.id} (pid {row.pid}) in the run {report.run.id}: "
                    "added up, its time would count twice; the later one holds the earlier"
                )
            seen.add(process)


def windows(reports: Sequence[Report]) -> tuple[Report, ...]:
    """Cut a run into the windows between snapshots of it.

    Args:
        reports: what ``node.granularity()`` gave at different times of one run, in any order.

    Returns:
        One report a window, in order; ``t0_unix_ns`` and ``wall_ns`` are the window's own.

    Raises:
        UsageError: there is none, or they are not of one run.
    """
    if not reports:
        raise UsageError("there is no report to cut windows from; give at least one")
    runs = {(report.run.id, report.run.t0_unix_ns) for report in reports}
    if len(runs) > 1:
        names = ", ".join(sorted(name for name, _ in runs))
        raise UsageError(
            f"the reports are of {len(runs)} runs ({names}); windows are cut from snapshots of "
            "one run, and reports of several runs can be merged"
        )
    ordered = sorted(reports, key=lambda report: report.run.wall_ns)
    begins: list[Report | None] = [None, *ordered]
    return tuple(
        difference(end, begin)
        for begin, end in zip(begins, ordered, strict=False)
        if begin is None or end.run.wall_ns > begin.run.wall_ns
    )


def difference(end: Report, begin: Report | None) -> Report:
    """Give what happened in a run between two snapshots of it; from its start if None."""
    if begin is None:
        return end
    workers = {(row.kind, row.id): row for row in begin.workers}
    types = {(row.actor, row.message): row for row in begin.types}
    edges = {(row.source, row.target): row for row in begin.edges}
    rows = [
        _type_less(_type_snapshot(row), types.get((row.actor, row.message))) for row in end.types
    ]
    between = [_edge_less(row, edges.get((row.source, row.target))) for row in end.edges]
    run = msgspec.structs.replace(
        end.run,
        t0_unix_ns=end.run.t0_unix_ns + begin.run.wall_ns,
        wall_ns=end.run.wall_ns - begin.run.wall_ns,
    )
    return assemble(
        run,
        end.calibration,
        [
            _worker_less(_worker_snapshot(row), workers.get((row.kind, row.id)))
            for row in end.workers
        ],
        [row for row in rows if row.messages or row.coord_ns.total()],
        tuple(edge for edge in between if edge.messages or edge.coord_ns),
    )


def _worker_less(row: WorkerSnapshot, begin: WorkerRow | None) -> WorkerSnapshot:
    before = unnamed(begin.classes) if begin is not None else (0,) * COUNT
    # Probes and messages that were not stamped are shared out anew in each snapshot, so a class
    # can seem to shrink by a bit.
    classes = tuple(max(0, now - then) for now, then in zip(row.classes, before, strict=True))
    changed = msgspec.structs.replace(row, classes=classes)
    names = ("wall_ns", "cpu_ns", "transitions", "probe_ns", "stood_still_ns", "messages")
    return _less(changed, _worker_snapshot(begin) if begin is not None else None, names)


def _type_less(row: TypeSnapshot, begin: TypeRow | None) -> TypeSnapshot:
    if begin is None:
        return row
    before = _type_snapshot(begin)
    coordination = (
        max(0, getattr(row.coord_ns, name) - getattr(before.coord_ns, name))
        for name in Coordination.__struct_fields__
    )
    changed = msgspec.structs.replace(
        row,
        coord_ns=Coordination(*coordination),
        compute_hist=_buckets_less(row.compute_hist, before.compute_hist),
        wait_hist=_buckets_less(row.wait_hist, before.wait_hist),
    )
    names = (
        "messages",
        "items",
        "compute_ns",
        "compute_cpu_ns",
        "ask_wait_ns",
        "gc_ns",
        "bytes_in",
        "bytes_out",
        "batches",
    )
    return _less(changed, before, names)


def _edge_less(row: Edge, begin: Edge | None) -> Edge:
    return _less(row, begin, ("messages", "bytes", "coord_ns"))


def _buckets_less(end: Mapping[int, int], begin: Mapping[int, int]) -> dict[int, int]:
    rest = {bucket: count - begin.get(bucket, 0) for bucket, count in end.items()}
    return {bucket: count for bucket, count in rest.items() if count > 0}


def _less(row: Row, begin: Row | None, names: Iterable[str]) -> Row:
    """Subtract the named fields; what a killed process took along can't make them negative."""
    if begin is None:
        return row
    rest = {name: max(0, getattr(row, name) - getattr(begin, name)) for name in names}
    return msgspec.structs.replace(row, **rest)


def _worker_snapshot(row: WorkerRow) -> WorkerSnapshot:
    return WorkerSnapshot(
        id=row.id,
        pid=row.pid,
        kind=row.kind,
        wall_ns=row.wall_ns,
        cpu_ns=row.cpu_ns,
        classes=unnamed(row.classes),
        transitions=row.transitions,
        probe_ns=row.probe_ns,
        stood_still_ns=row.stood_still_ns,
        messages=row.messages,
        complete=row.complete,
    )


def _type_snapshot(row: TypeRow) -> TypeSnapshot:
    return TypeSnapshot(
        actor=row.actor,
        message=row.message,
        messages=row.messages,
        items=row.items,
        compute_ns=row.compute_ns,
        compute_cpu_ns=row.compute_cpu_ns or 0,
        coord_ns=row.coord_ns,
        ask_wait_ns=row.ask_wait_ns,
        gc_ns=row.gc_ns,
        bytes_in=row.bytes_in,
        bytes_out=row.bytes_out,
        compute_hist=row.hist.compute,
        wait_hist=row.hist.mailbox_wait,
        batches=row.batches,
        governed=row.governor,
    )


def _merge_runs(runs: list[RunInfo]) -> RunInfo:
    walls: dict[tuple[str, int], int] = {}
    cpus: dict[str, int] = {}
    for run in runs:
        key = (run.id, run.t0_unix_ns)
        walls[key] = max(walls.get(key, 0), run.wall_ns)
        cpus[run.host] = max(cpus.get(run.host, 0), run.cpus)
    return RunInfo(
        id=_joined(run.id for run in runs),
        t0_unix_ns=min(run.t0_unix_ns for run in runs),
        wall_ns=sum(walls.values()),
        host=_joined(run.host for run in runs),
        cpus=sum(cpus.values()),
        python=_joined(run.python for run in runs),
        runtime_version=_joined(run.runtime_version for run in runs),
        git=_joined(run.git for run in runs if run.git) or None,
        mode="sampled" if any(run.mode == "sampled" for run in runs) else "on",
        sample_n=max(run.sample_n for run in runs),
    )


def _joined(values: Iterable[str]) -> str:
    return "+".join(dict.fromkeys(values))


def _merge_calibrations(calibrations: list[Calibration]) -> Calibration:
    # The dearest of each: an error bar that covers them all.
    fields = Calibration.__struct_fields__
    measured = {
        field: [value for c in calibrations if (value := getattr(c, field)) is not None]
        for field in fields
    }
    return Calibration(**{field: max(values) for field, values in measured.items() if values})


def _merge_edges(edges: Iterable[Edge]) -> tuple[Edge, ...]:
    sums: dict[tuple[str, str], Edge] = {}
    for edge in edges:
        key = (edge.source, edge.target)
        before = sums.get(key, Edge(*key, 0, 0, 0))
        sums[key] = Edge(
            *key,
            before.messages + edge.messages,
            before.bytes + edge.bytes,
            before.coord_ns + edge.coord_ns,
        )
    return tuple(sums.values())
