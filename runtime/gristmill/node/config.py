"""``NodeConfig``: how a node is started."""

from __future__ import annotations

import msgspec

from gristmill.config import ChannelConfig, Recycle, Transport
from gristmill.durability import Durability
from gristmill.supervision import SupervisorSpec
from gristmill.transport.control import WatchPool


class NodeConfig(msgspec.Struct, frozen=True):
    """How a node is started; goes from the client to the supervisor process."""

    node_id: str
    client_pid: int
    workers: int
    root: SupervisorSpec
    run_dir: str = ""
    lock: int = -1
    """Descriptor of the run directory's lock."""
    cpus: tuple[int, ...] = ()
    journal: str = ""
    durability: Durability = "process"
    main: str = ""
    preload: tuple[str, ...] = ()
    channels: ChannelConfig = ChannelConfig()
    """Where events are published."""
    pools: tuple[WatchPool, ...] = ()
    """Which pools of the tree are elastic, and how."""
    transport: Transport = "unix"
    """What carries messages; not ``auto``."""
    governor: bool = True
    """Whether the sizes of ``batch="auto"`` are found."""
    trace: bool = False
    """Whether single messages are recorded."""
    started_ns: int = 0
    """When the client began to start it, perf_counter ns: workers account from here on."""
    recycle: Recycle = Recycle()
    """When workers are replaced."""
    drain: float = 25.0
    """Seconds that SIGTERM leaves for an ordered stop."""
