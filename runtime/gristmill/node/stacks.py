"""What every worker does right now, with the stacks of its threads."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from gristmill.errors import UsageError
from gristmill.node.client.connection import Connection
from gristmill.node.status import WorkerActivity
from gristmill.transport import control as c
from gristmill.worker.telemetry.traces import STACKS

_ANSWER = 1.0
"""Seconds that a worker has to write: a signal handler in C does, whatever the worker computes."""
_POLL = 0.005
_QUIET = 0.03
"""Seconds without another line after which the stacks are complete."""


class WorkerStack(msgspec.Struct, frozen=True):
    """One worker at one moment."""

    activity: WorkerActivity
    stack: str
    """Of all its threads, the innermost frames first; empty if it did not answer."""


def collect(connection: Connection, run_dir: Path, worker: str | None = None) -> list[WorkerStack]:
    """Have the workers of a node write their stacks, and read them.

    Args:
        connection: to the node.
        run_dir: of the node.
        worker: the only one that is wanted; all if None.

    Raises:
        UsageError: the node has no such worker.
    """
    before = _sizes(run_dir)
    activities = connection.call(c.GetActivity(stacks=True), list[WorkerActivity], timeout=5.0)
    wanted = [found for found in activities if worker in (None, found.worker)]
    if not wanted:
        known = ", ".join(found.worker for found in activities)
        raise UsageError(f"the node has no worker {worker!r} (workers: {known})")
    deadline = time.monotonic() + _ANSWER
    return [WorkerStack(found, _read(run_dir, found, before, deadline)) for found in wanted]


def _sizes(run_dir: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in run_dir.glob(f"*{STACKS}")}


def _read(run_dir: Path, activity: WorkerActivity, before: dict[str, int], deadline: float) -> str:
    name = f"{activity.worker}.{activity.incarnation}{STACKS}"
    begin = before.get(name, 0)
    size, changed = begin, time.monotonic()
    while activity.state == "ready":
        now = time.monotonic()
        size_now = _sizes(run_dir).get(name, begin)
        if size_now != size:
            size, changed = size_now, now
        if now > deadline or (size > begin and now - changed > _QUIET):
            break
        time.sleep(_POLL)
    try:
        return (run_dir / name).read_bytes()[begin:].decode(errors="replace").strip()
    except OSError:
        return ""
