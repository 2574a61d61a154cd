"""The contract of channels: what every backend does, and says that it can do."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

import msgspec

from gristmill.errors import GristmillError
from gristmill.messages import Event
from gristmill.ref import DeliveryGuarantee


class ChannelBackend(StrEnum):
    """What carries the events of a channel."""

    MEMORY = "memory"
    REDIS = "redis"
    KAFKA = "kafka"


class ChannelClosedError(GristmillError):
    """The subscription was closed, and all that it had was taken."""


class Capabilities(msgspec.Struct, frozen=True):
    """What a backend promises. Events of one publisher and one key keep their order on all."""

    delivery: DeliveryGuarantee
    acknowledge: bool = False
    """An event that its subscriber did not confirm comes again."""
    replay: bool = False
    """Events from before the subscription can be read."""
    groups: bool = False
    """Several subscribers can share one stream of events."""


class Backend(Protocol):
    """The events of all channels over one carrier, as one process sees it."""

    @property
    def kind(self) -> ChannelBackend:
        """What it is."""

    @property
    def capabilities(self) -> Capabilities:
        """What it promises."""

    def publish(self, channel: str, event: Event, key: str) -> None:
        """Send an event to a channel's subscribers; events with one ``key`` keep their order."""

    def subscribe(self, channel: str, subscriber: int, *, wanted: bool) -> None:
        """Begin or end a subscription of this process.

        Args:
            channel: its name; channels need no declaration.
            subscriber: the key of the actor that gets the events as messages; 0 for the client.
            wanted: False ends the subscription.
        """


class FanOut(Protocol):
    """What a process, worker or client, does for the in-memory backend."""

    def fan_out(self, channel: str, event: Event) -> None:
        """Send an event to every subscriber of a channel, in any process, at most once."""

    def attach(self, channel: str, subscriber: int, *, wanted: bool) -> None:
        """Have this process's subscriber known, or forgotten, to all publishers."""
