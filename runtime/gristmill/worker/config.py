"""``WorkerConfig``: what a worker process is told at its birth."""

from __future__ import annotations

import msgspec

from gristmill.config import ChannelConfig, Transport
from gristmill.durability import Durability


class WorkerConfig(msgspec.Struct, frozen=True, array_like=True):
    """What a worker process is told at its birth."""

    address: int
    incarnation: int
    name: str
    node_id: str
    run_dir: str
    control: str
    """Endpoint of the supervisor process."""
    journal: str
    """Directory of the journal, or empty."""
    durability: Durability
    cpu: int
    """The core to run on, or -1."""
    channels: ChannelConfig
    """Where events are published."""
    transport: Transport
    """What carries messages; not ``auto``."""
    governor: bool
    """Whether the sizes of ``batch="auto"`` are found; else they are 1."""
    expected: tuple[int, ...]
    """Actors that are going to be started here: what comes for them is held."""
    trace: bool
    """Whether its single messages are recorded."""
    asked_ns: int
    """When it was asked for, perf_counter ns."""
    journal_slots: tuple[str, ...] = ()
    """The slots of the journal that this run has, for the worker that takes over what is pending in
    all others; else empty."""
    arriving: bool = False
    """Whether it takes the place of a worker that lives: that has the journal, and messages."""
