"""A run as a trace that Perfetto and chrome://tracing open.

What reports hold are sums over windows, so a trace shows counters: the share of each time class
and the ratio, a track a process, constant within a window. They hold no single messages, and so
the trace has no slices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from gristmill.metrics import Report, windows
from gristmill.metrics.classes import NAMES
from gristmill.metrics.ratios import quotient
from gristmill.metrics.schema import WorkerRow

_SHARES: Final = "share of wall, %"
_RATIO: Final = "compute/coordinate"
_Event = dict[str, Any]


def trace(snapshots: Sequence[Report]) -> bytes:
    """Write a run in Chrome's JSON trace format.

    Args:
        snapshots: what ``node.granularity()`` gave at one or more times of the run; between two
            of them lies a window.

    Returns:
        JSON; times are us since the run began, shares are percent of wall time.

    Raises:
        UsageError: there is none, or they are not of one run.
    """
    cut = windows(snapshots)
    last = cut[-1]
    began = cut[0].run.t0_unix_ns
    # Workers of an in-process node share a pid, so tracks have numbers of their own.
    tracks = {(row.kind, row.id): number for number, row in enumerate(last.workers, 1)}
    events = [event for row in last.workers for event in _names(row, tracks[row.kind, row.id])]
    for window in cut:
        at = (window.run.t0_unix_ns - began) / 1000
        for row in window.workers:
            events += _counters(tracks[row.kind, row.id], at, row)
    end = (last.run.t0_unix_ns + last.run.wall_ns - began) / 1000
    for track in tracks.values():
        events += _counters(track, end, None)
    about = {
        "run": last.run.id,
        "windows": len(cut),
        "note": "sums over windows; single messages are not recorded",
    }
    document = {"traceEvents": events, "displayTimeUnit": "ms", "otherData": about}
    return msgspec.json.encode(document)


def _names(row: WorkerRow, track: int) -> Iterator[_Event]:
    facts = {"name": row.id, "labels": f"{row.kind}, pid {row.pid}", "sort_index": track}
    for key, value in facts.items():
        name = f"process_{key}"
        yield {"ph": "M", "name": name, "pid": track, "tid": 0, "args": {key: value}}


def _counters(track: int, at: float, row: WorkerRow | None) -> Iterator[_Event]:
    """Give what begins at ``at``; nothing does at the end of the last window."""
    shares = dict.fromkeys(NAMES, 0.0)
    if row is not None:
        shares = {name: 100 * (quotient(ns, row.wall_ns) or 0) for name, ns in row.classes.items()}
    ratio = row.ratio or 0 if row is not None else 0
    for name, values in ((_SHARES, shares), (_RATIO, {"ratio": ratio})):
        yield {"ph": "C", "name": name, "pid": track, "tid": 0, "ts": at, "args": values}
