"""``ChannelManager``: every event goes to the backends that the configuration turns on."""

from __future__ import annotations

from collections.abc import Sequence

from gristmill.channels.contract import Backend, Capabilities, ChannelBackend, FanOut
from gristmill.channels.memory import InMemoryBackend
from gristmill.config import ChannelConfig
from gristmill.errors import ConfigError, UsageError
from gristmill.messages import Event


class ChannelManager:
    """The channels of one process.

    Args:
        backends: where events are published. Subscribers get them from the first one.
    """

    def __init__(self, backends: Sequence[Backend]) -> None:
        self._backends = tuple(backends)

    @classmethod
    def from_config(cls, config: ChannelConfig, process: FanOut) -> ChannelManager:
        """Make the backends that ``[channel]`` turns on.

        Args:
            config: the section.
            process: the worker or client that publishes and subscribes.

        Raises:
            ConfigError: a backend is on that this version does not have.
        """
        return cls([InMemoryBackend(process) for _ in backends_of(config)])

    @property
    def capabilities(self) -> dict[ChannelBackend, Capabilities]:
        """What each backend that is on promises."""
        return {backend.kind: backend.capabilities for backend in self._backends}

    def publish(self, channel: str, event: Event, key: str = "") -> None:
        """Publish an event on every backend; events with one ``key`` keep their order."""
        for backend in self._backends:
            backend.publish(channel, event, key)

    def subscribe(self, channel: str, subscriber: int, *, wanted: bool) -> None:
        """Begin or end a subscription; see :meth:`Backend.subscribe`.

        Raises:
            UsageError: no backend is on.
        """
        if not self._backends:
            raise UsageError(
                f"nothing carries channel {channel!r}: every backend is off; "
                "set use_in_memory = true in [channel]"
            )
        self._backends[0].subscribe(channel, subscriber, wanted=wanted)


def backends_of(config: ChannelConfig) -> tuple[ChannelBackend, ...]:
    """Give the backends that ``[channel]`` turns on.

    Raises:
        ConfigError: one of them is not in this version.
    """
    missing = {"use_redis": config.use_redis, "use_kafka": config.use_kafka}
    for key, wanted in missing.items():
        if wanted:
            name = key.removeprefix("use_").capitalize()
            raise ConfigError(
                f"[channel] {key} = true: this version has no {name} channel yet; "
                f"set {key} = false (CHANNEL_{key.upper()})"
            )
    return (ChannelBackend.MEMORY,) if config.use_in_memory else ()
