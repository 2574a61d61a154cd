"""Which backends the configuration turns on, and what speaks to their servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gristmill.channels.contract import ChannelBackend
from gristmill.config import ChannelConfig

if TYPE_CHECKING:
    from gristmill.channels.driver import Driver


def backends_of(config: ChannelConfig) -> tuple[ChannelBackend, ...]:
    """Give the backends that ``[channel]`` turns on."""
    on = {
        ChannelBackend.MEMORY: config.use_in_memory,
        ChannelBackend.REDIS: config.use_redis,
        ChannelBackend.KAFKA: config.use_kafka,
    }
    return tuple(kind for kind, wanted in on.items() if wanted)


def make_driver(kind: ChannelBackend, config: ChannelConfig) -> Driver:
    """Make what speaks to a server; nothing is connected yet."""
    if kind is ChannelBackend.REDIS:
        from gristmill.channels.redis.driver import RedisDriver  # noqa: PLC0415 - only when on

        return RedisDriver(config)
    from gristmill.channels.kafka.driver import KafkaDriver  # noqa: PLC0415 - only when on

    return KafkaDriver(config)


def check_servers(config: ChannelConfig) -> None:
    """Make sure that every server that is needed can be reached.

    Raises:
        ConfigError: its client library is not installed, or its address is none.
        ChannelUnavailableError: it can't be reached.
    """
    for kind in backends_of(config):
        if kind is not ChannelBackend.MEMORY:
            make_driver(kind, config).check()
