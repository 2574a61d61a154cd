"""The in-memory backend: events go straight from process to process, and nothing is kept."""

from __future__ import annotations

from typing import Final

from gristmill.channels.contract import Capabilities, ChannelBackend, FanOut, Listen
from gristmill.messages import Event
from gristmill.ref import DeliveryGuarantee


class InMemoryBackend:
    """At-most-once, in the order of each publisher, over the node's own data plane.

    A subscriber that is too slow loses events, which are counted: an actor what its mailbox has
    no room for, a client's subscription the oldest beyond its capacity.
    """

    kind: Final = ChannelBackend.MEMORY
    capabilities: Final = Capabilities(DeliveryGuarantee.AT_MOST_ONCE)

    def __init__(self, process: FanOut) -> None:
        self._process = process

    def publish(self, channel: str, event: Event) -> None:
        """Send an event to a channel's subscribers; all of one publisher keep their order."""
        self._process.fan_out(channel, event)

    def subscribe(self, listen: Listen, subscriber: int, *, wanted: bool) -> None:
        """Begin or end a subscription of this process."""
        self._process.attach(listen.channel, subscriber, wanted=wanted)
