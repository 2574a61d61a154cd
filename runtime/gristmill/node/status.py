"""What ``gristmill status`` shows: a node at one moment, as values that cross the wire."""

from __future__ import annotations

import msgspec

from gristmill.supervision import Snapshot


class WorkerStatus(msgspec.Struct, frozen=True):
    """One worker."""

    name: str
    pid: int
    state: str
    incarnation: int
    actors: int


class NodeStatus(msgspec.Struct, frozen=True):
    """A node."""

    node_id: str
    phase: str
    workers: tuple[WorkerStatus, ...]
    clients: int
    actors: int
    names: tuple[str, ...]
    worker_restarts: int
    actor_restarts: int
    dead_letters: int
    messages: dict[str, int]
    """The workers' delivery counters, of those that have died too."""
    tree: Snapshot
