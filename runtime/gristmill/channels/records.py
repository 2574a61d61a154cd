"""What brokers carry: a published event on its way out, and one on its way in."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec

NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class Publication(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An event on its way to a broker.

    ``(publisher, number)`` names it for ever: a publisher's numbers only rise, so that whoever
    gets an event twice can tell.
    """

    channel: str
    key: str
    publisher: str
    number: int
    body: bytes


class Delivery(NamedTuple):
    """An event that a broker has delivered."""

    partition: int
    """Which part of the channel it came from; within one the order is kept."""
    position: str
    """Where it stands there, as the broker names it."""
    key: str
    publisher: str
    """Who has published it; empty if that was no program of ours."""
    number: int
    """Its number, by publisher; 0 if that was no program of ours."""
    body: bytes
    deaths: int = 0
    """How often it was delivered before to somebody who has not finished it."""
    ordinal: int = 0
    """The how-manieth event of its partition it is; 0 if the broker does not say."""
    headers: Mapping[str, str] = NO_HEADERS
    """Of a dead letter: where it came from, and why."""


class DeadRecord(NamedTuple):
    """An event that is given up, with where it came from and why."""

    channel: str
    group: str
    delivery: Delivery
    attempts: int
    reason: str

    def headers(self) -> dict[str, str]:
        """Give what stands beside its body in the dead-letter channel."""
        return {
            "origin-channel": self.channel,
            "origin-partition": str(self.delivery.partition),
            "origin-position": self.delivery.position,
            "group": self.group,
            "attempts": str(self.attempts),
            "error": self.reason[:2000],
        }
