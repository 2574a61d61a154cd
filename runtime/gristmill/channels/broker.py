"""``BrokerBackend``: a backend whose events go through a server."""

from __future__ import annotations

from typing import Protocol

from gristmill.channels.contract import Capabilities, ChannelBackend, Listen
from gristmill.channels.driver import Driver
from gristmill.channels.intake import Retries
from gristmill.config import ChannelConfig
from gristmill.messages import Event


class BrokerProcess(Protocol):
    """What a process, worker or client, does for backends with a server."""

    def add(self, driver: Driver) -> None:
        """From now on, publish to this broker too.

        First of all, what an earlier incarnation of the process has left in its journal.
        """

    def publish(self, channel: str, event: Event, key: str) -> None:
        """Publish an event on every broker when what its publisher has decided is safe.

        Raises:
            ChannelFullError: a broker has been away for too long. It is published on none.
        """

    def listen(self, driver: Driver, listen: Listen, subscriber: int, *, wanted: bool) -> None:
        """Begin or end a subscription."""


class BrokerBackend:
    """Redis or Kafka, as one process sees it."""

    def __init__(self, driver: Driver, process: BrokerProcess) -> None:
        self.driver = driver
        self._process = process
        process.add(driver)

    @property
    def kind(self) -> ChannelBackend:
        """What it is."""
        return self.driver.kind

    @property
    def capabilities(self) -> Capabilities:
        """What it promises."""
        return self.driver.capabilities

    def subscribe(self, listen: Listen, subscriber: int, *, wanted: bool) -> None:
        """Begin or end a subscription of this process."""
        self._process.listen(self.driver, listen, subscriber, wanted=wanted)


def retries_of(config: ChannelConfig) -> Retries:
    """Give how often events are tried."""
    return Retries(config.max_attempts, config.retry_seconds)
