"""The contract of channels: what every backend does, and says that it can do."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

import msgspec

from gristmill.errors import GristmillError, NodeStartError
from gristmill.messages import Event
from gristmill.ref import DeliveryGuarantee


class ChannelBackend(StrEnum):
    """What carries the events of a channel."""

    MEMORY = "memory"
    REDIS = "redis"
    KAFKA = "kafka"


class Start(StrEnum):
    """Where a subscription begins whose group has no position yet."""

    NEW = "new"
    """With the events that are published from now on."""
    EARLIEST = "earliest"
    """With the first event that the backend still has: a replay."""


class ChannelClosedError(GristmillError):
    """The subscription was closed, and all that it had was taken."""


class ChannelFullError(GristmillError):
    """As many events as may wait for the backend do; the event was not published."""


class ChannelUnavailableError(NodeStartError):
    """The server of a backend can't be reached. Says which, and the remedy."""

    exit_code = 3


class Capabilities(msgspec.Struct, frozen=True):
    """What a backend promises. Events of one publisher and one key keep their order on all."""

    delivery: DeliveryGuarantee
    """What members of a group are promised."""
    acknowledge: bool = False
    """What was not handled comes again; what never works becomes a dead letter."""
    replay: bool = False
    """Events from before the subscription can be read."""
    groups: bool = False
    """Several subscribers can share one stream of events."""
    lag: bool = False
    """It can be told how many events a group has not handled."""
    survives: bool = False
    """Events outlive the node."""


class Listen(msgspec.Struct, frozen=True, array_like=True):
    """What a subscriber wants to hear.

    Without a group every subscriber gets every event, from now on or from ``start``, for as long as
    it is subscribed. With a group its members share the events, each one handles those of some
    keys, and the backend keeps the group's position: what was not handled comes again.
    """

    channel: str
    group: str = ""
    start: Start = Start.NEW
    backend: ChannelBackend | None = None
    """None: the first one that is on and can do it."""
    window: int = 256
    """How many events the subscriber is handed before it has handled the first of them."""


class Backend(Protocol):
    """The events of all channels over one carrier, as one process sees it."""

    @property
    def kind(self) -> ChannelBackend:
        """What it is."""

    @property
    def capabilities(self) -> Capabilities:
        """What it promises."""

    def subscribe(self, listen: Listen, subscriber: int, *, wanted: bool) -> None:
        """Begin or end a subscription of this process.

        Args:
            listen: what is wanted; channels need no declaration.
            subscriber: the key of the actor that gets the events as messages; 0 for the client.
            wanted: False ends the subscription.
        """


class FanOut(Protocol):
    """What a process, worker or client, does for the in-memory backend."""

    def fan_out(self, channel: str, event: Event) -> None:
        """Send an event to every subscriber of a channel, in any process, at most once."""

    def attach(self, channel: str, subscriber: int, *, wanted: bool) -> None:
        """Have this process's subscriber known, or forgotten, to all publishers."""


def dead_letter_channel(channel: str) -> str:
    """Give the name of the channel to which events go that could not be handled."""
    return f"{channel}.dead-letter"
