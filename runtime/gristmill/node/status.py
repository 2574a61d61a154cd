"""What ``gristmill status`` shows: a node at one moment, as values that cross the wire."""

from __future__ import annotations

import msgspec

from gristmill.facets.breaker_state import SharedState
from gristmill.node.deliveries import Deliveries
from gristmill.supervision import Snapshot


class WorkerStatus(msgspec.Struct, frozen=True):
    """One worker."""

    name: str
    pid: int
    state: str
    incarnation: int
    actors: int
    last_exit: str = ""
    """How the process before it ended; empty if there was none."""


class WorkerActivity(msgspec.Struct, frozen=True):
    """What one worker does at this moment."""

    worker: str
    pid: int
    incarnation: int
    state: str
    """``booting``, ``ready``, ``ended``, or ``stopped`` by a signal."""
    actor: str = ""
    """Whose code runs; empty if none does."""
    key: int = 0
    message: str = ""
    """The type of the message in hand."""
    seconds: float = 0.0
    """How long the handler has run."""


class NodeTree(msgspec.Struct, frozen=True):
    """A supervision tree, and where its actors are."""

    tree: Snapshot
    homes: dict[int, str] = {}  # msgspec copies it
    """The worker of each actor, by key."""
    mailboxes: dict[int, int] = {}  # msgspec copies it
    """How many messages wait for each actor, where any do; of workers that answer just now."""
    silent: tuple[str, ...] = ()
    """Workers that did not say, because a handler computes there."""
    workers: tuple[WorkerActivity, ...] = ()
    breakers: tuple[SharedState, ...] = ()
    """The circuit breakers that have ever moved."""
    now: float = 0.0
    """The time on the node's clock, which their times are of."""


class GroupStatus(msgspec.Struct, frozen=True):
    """One group of keyed actors."""

    name: str
    actors: int
    """How many have a place, or are about to."""
    moving: int
    """How many of them are about to leave theirs."""
    shards: dict[str, int]
    """How many shards each worker has."""


class PoolStatus(msgspec.Struct, frozen=True):
    """One elastic pool."""

    name: str
    size: int
    """How many members serve."""
    minimum: int
    maximum: int
    starting: int
    leaving: int
    """How many take nothing new and finish what they have."""


class Reloaded(msgspec.Struct, frozen=True):
    """What a reload has done."""

    workers: int
    """How many workers were replaced."""
    seconds: float


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
    worker_replacements: int
    """Workers that gave their place to another one, by a reload or for a limit."""
    recycled: int
    """How many of them for a limit, see :class:`~gristmill.config.Recycle`."""
    dead_letters: int
    dead_letters_evicted: int
    """How many of them are kept no longer, because later ones took their place."""
    messages: Deliveries
    """What became of all messages, of processes that have died too."""
    tree: Snapshot
    groups: tuple[GroupStatus, ...] = ()
    pools: tuple[PoolStatus, ...] = ()
    breakers: tuple[SharedState, ...] = ()
    """The circuit breakers that have ever moved."""
