"""The sections that the library itself declares: the node, the channels and the pools."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

import msgspec

from gristmill.config.cores import available_cores
from gristmill.config.recycle import size_of
from gristmill.errors import UsageError

PositiveInt = Annotated[int, msgspec.Meta(ge=1)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Name = Annotated[str, msgspec.Meta(min_length=1)]
Transport = Literal["auto", "unix", "zeromq"]
"""What carries messages between processes. ``auto``: ``unix``, or ``zeromq`` beside Linux."""


class NodeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``[node]``: one running instance on one host."""

    node_id: Name = "node"
    node_address: str = ""
    """``host:port`` for other nodes. Empty: this node stays alone."""
    grpc_port: Port = 8000
    """The port of the service API."""
    workers: PositiveInt | Literal["auto"] = "auto"
    """Worker processes. ``auto``: as many as the cores that this process may use."""
    pin_cpus: bool = False
    """Bind each worker to a core of its own."""
    transport: Transport = "auto"
    """Unix sockets, or ZeroMQ's; ``auto``: Unix sockets, or ZeroMQ's where there is no epoll."""
    governor: bool = True
    """Find the sizes of ``batch="auto"``; off: such handlers get one message a call."""
    trace: bool = False
    """Record single messages, for ``Node.message_trace``; every message costs more then."""
    drain_seconds: Annotated[float, msgspec.Meta(ge=0)] = 25.0
    """Seconds that an ordered stop may take before what is left is killed."""
    recycle_messages: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Messages after which a worker is replaced by a fresh one; 0: never."""
    recycle_memory: int | str = 0
    """Memory of a worker's own, in bytes or as ``"512M"``, with which it is replaced; 0: never."""

    def __post_init__(self) -> None:
        """Check the address and the size.

        Raises:
            ValueError: the address is no ``host:port``, or its port is the service API's; the
                memory is no size.
        """
        try:
            size_of(self.recycle_memory)
        except UsageError as error:
            raise ValueError(f"recycle_{error}") from None
        if self.node_address and _port_of(self.node_address) == self.grpc_port:
            raise ValueError(
                f"node_address and grpc_port both use port {self.grpc_port}; "
                "give one of them another port"
            )

    def worker_count(self) -> int:
        """Give the number of workers, with ``auto`` resolved for this process."""
        return available_cores() if self.workers == "auto" else self.workers


def _port_of(address: str) -> int:
    host, _, port = address.rpartition(":")
    bare_ipv6 = ":" in host and not (host.startswith("[") and host.endswith("]"))
    number = int(port) if port.isascii() and port.isdigit() else 0
    if not host or bare_ipv6 or not 1 <= number <= 65535:
        raise ValueError(
            f"node_address = {address!r} is no host:port; "
            'write for example "10.0.0.5:7000" or "[::1]:7000", or "" for a node that stays alone'
        )
    return number


class ChannelConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``[channel]``: the backends to which events are published."""

    use_in_memory: bool = True
    use_redis: bool = False
    redis_url: str = "redis://localhost:6379"
    redis_max_length: PositiveInt = 1_000_000
    """About how many events each partition keeps; what falls out unread is counted as lost."""
    redis_lease_seconds: Annotated[float, msgspec.Meta(ge=0.5, le=300)] = 4.0
    """After so long without a sign of life a member's partitions go to others."""
    use_kafka: bool = False
    kafka_brokers: tuple[Name, ...] = ("localhost:9092",)
    kafka_session_seconds: Annotated[float, msgspec.Meta(ge=1, le=300)] = 6.0
    """The same for Kafka; brokers allow 6 to 1800 unless they are told otherwise."""
    partitions: PositiveInt = 8
    """Of a channel that is used for the first time: how many subscribers can share it."""
    max_attempts: PositiveInt = 5
    """How often an event is tried before it goes to the dead-letter channel."""
    retry_seconds: Annotated[float, msgspec.Meta(gt=0)] = 0.1
    """The delay before the second attempt; it doubles, up to 5 s."""
    max_unsent: PositiveInt = 100_000
    """How many events of a process may wait for a server that is away."""
    when_full: Literal["refuse", "drop"] = "refuse"
    """What becomes of one more: its publisher gets an error, or it is dropped and counted."""

    def __post_init__(self) -> None:
        """Check that a backend that is on can be reached.

        Raises:
            ValueError: it has no address.
        """
        if self.use_redis and not self.redis_url:
            raise ValueError("use_redis = true needs a redis_url")
        if self.use_kafka and not self.kafka_brokers:
            raise ValueError("use_kafka = true needs at least one host:port in kafka_brokers")


class PoolConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``[pools.NAME]``: how many actors a pool starts with, and its bounds."""

    size: PositiveInt = 1
    # 0 stands for "not given", because msgspec fills defaults before size is known.
    min: PositiveInt = 0
    """Not given: the same as ``size``."""
    max: PositiveInt = 0
    """Not given: the same as ``size``."""
    scale_up: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.8
    """The share of members at work above which there are to be more, up to ``max``."""
    scale_down: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.3
    """The share below which there are to be fewer, down to ``min``."""
    cooldown: Annotated[float, msgspec.Meta(gt=0)] = 5.0
    """Seconds between two changes."""

    def __post_init__(self) -> None:
        """Fill in the bounds that were not given, and check them.

        Raises:
            ValueError: not 1 <= min <= size <= max.
        """
        for bound in ("min", "max"):
            if getattr(self, bound) == 0:
                msgspec.structs.force_setattr(self, bound, self.size)
        if not 1 <= self.min <= self.size <= self.max:
            raise ValueError(
                f"a pool needs 1 <= min <= size <= max, and has min = {self.min}, "
                f"size = {self.size}, max = {self.max}"
            )
        if not self.scale_down < self.scale_up / 2:
            raise ValueError(
                f"a pool needs scale_down < scale_up / 2, or its size would swing, and has "
                f"scale_down = {self.scale_down}, scale_up = {self.scale_up}"
            )


SECTIONS: Final[Mapping[str, type[Any]]] = MappingProxyType(
    {"node": NodeConfig, "channel": ChannelConfig}
)
"""The library's sections, for :class:`~gristmill.config.ConfigBootstrap`."""

TABLES: Final[Mapping[str, type[Any]]] = MappingProxyType({"pools": PoolConfig})
"""The library's tables of named entries."""

ALIASES: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "REDIS_URL": ("channel", "redis_url"),
        "KAFKA_BROKERS": ("channel", "kafka_brokers"),
        "NODE_ID": ("node", "node_id"),
        "NODE_ADDRESS": ("node", "node_address"),
    }
)
"""Short variable names, beside the long forms such as ``CHANNEL_REDIS_URL``."""
