"""The channel manager and what the configuration turns on."""

from __future__ import annotations

import pytest

from gristmill import Event, Node
from gristmill.channels import (
    Capabilities,
    ChannelBackend,
    ChannelUnavailableError,
    Listen,
)
from gristmill.channels.driver import Driver
from gristmill.channels.manager import ChannelManager
from gristmill.config import ChannelConfig
from gristmill.errors import ConfigError, UsageError
from gristmill.ref import DeliveryGuarantee
from gristmill.testing import Simulation
from support.server_process import free_port


class Happened(Event):
    number: int


class Process:
    """Notes what a backend asks of its process."""

    def __init__(self) -> None:
        self.done: list[object] = []

    def fan_out(self, channel: str, event: Event) -> None:
        self.done.append((channel, event))

    def attach(self, channel: str, subscriber: int, *, wanted: bool) -> None:
        self.done.append((channel, subscriber, wanted))


def test_events_and_subscriptions_go_to_the_backend_that_is_on() -> None:
    process = Process()
    manager = ChannelManager.from_config(ChannelConfig(), process, Servers())
    manager.subscribe("orders", 7, wanted=True)
    manager.publish("orders", Happened(1), key="k")
    manager.subscribe("orders", 7, wanted=False)
    assert process.done == [("orders", 7, True), ("orders", Happened(1)), ("orders", 7, False)]


def test_the_backend_declares_what_it_promises() -> None:
    manager = ChannelManager.from_config(ChannelConfig(), Process(), Servers())
    promised = Capabilities(DeliveryGuarantee.AT_MOST_ONCE, False, False, False)
    assert manager.capabilities == {ChannelBackend.MEMORY: promised}


def test_with_every_backend_off_nothing_can_be_subscribed() -> None:
    process = Process()
    manager = ChannelManager.from_config(ChannelConfig(use_in_memory=False), process, Servers())
    manager.publish("orders", Happened(1))
    with pytest.raises(UsageError, match="every backend is off; set use_in_memory = true"):
        manager.subscribe("orders", 7, wanted=True)
    assert process.done == []


class Servers:
    """Notes what is published to servers."""

    def __init__(self) -> None:
        self.kinds: list[str] = []
        self.published: list[tuple[str, str]] = []
        self.listening: list[tuple[str, Listen, bool]] = []

    def add(self, driver: Driver) -> None:
        self.kinds.append(driver.kind)

    def publish(self, channel: str, event: Event, key: str) -> None:
        self.published.append((channel, key))

    def listen(self, driver: Driver, listen: Listen, subscriber: int, *, wanted: bool) -> None:
        self.listening.append((driver.kind, listen, wanted))


def test_events_go_to_every_backend_and_subscriptions_to_the_first_that_can() -> None:
    process, servers = Process(), Servers()
    config = ChannelConfig(use_redis=True)
    manager = ChannelManager.from_config(config, process, servers)
    manager.publish("orders", Happened(1), key="k")
    manager.subscribe("orders", 7, wanted=True)
    grouped = Listen("orders", "revenue")
    manager.subscribe(grouped, 7, wanted=True)
    assert process.done == [("orders", Happened(1)), ("orders", 7, True)]
    assert servers.kinds == ["redis"]
    assert servers.published == [("orders", "k")]
    assert servers.listening == [("redis", grouped, True)]


def test_an_absent_server_is_said_at_the_start_with_the_remedy_and_without_secrets() -> None:
    url = f"redis://me:hush@127.0.0.1:{free_port()}"
    node = Node(workers=1, channels=ChannelConfig(use_redis=True, redis_url=url))
    with pytest.raises(ChannelUnavailableError, match=r"start one .*CHANNEL_USE_REDIS") as caught:
        node.start()
    assert "hush" not in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_url_that_is_none_is_an_error_of_the_configuration() -> None:
    node = Node(workers=1, channels=ChannelConfig(use_redis=True, redis_url="http://me:hush@h"))
    with pytest.raises(ConfigError, match="redis_url") as caught:
        node.start()
    assert "hush" not in str(caught.value)


def test_a_simulation_has_no_servers() -> None:
    simulation = Simulation(1, channels=ChannelConfig(use_redis=True))
    with pytest.raises(ConfigError, match="a simulation has no servers"):
        simulation.start()
