"""The channel manager and what the configuration turns on."""

from __future__ import annotations

import pytest

from gristmill import Event, Node
from gristmill.channels import Capabilities, ChannelBackend, ChannelManager, backends_of
from gristmill.config import ChannelConfig
from gristmill.errors import ConfigError, UsageError
from gristmill.ref import DeliveryGuarantee


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
    manager = ChannelManager.from_config(ChannelConfig(), process)
    manager.subscribe("orders", 7, wanted=True)
    manager.publish("orders", Happened(1), key="k")
    manager.subscribe("orders", 7, wanted=False)
    assert process.done == [("orders", 7, True), ("orders", Happened(1)), ("orders", 7, False)]


def test_the_backend_declares_what_it_promises() -> None:
    manager = ChannelManager.from_config(ChannelConfig(), Process())
    promised = Capabilities(DeliveryGuarantee.AT_MOST_ONCE, False, False, False)
    assert manager.capabilities == {ChannelBackend.MEMORY: promised}


def test_with_every_backend_off_nothing_can_be_subscribed() -> None:
    process = Process()
    manager = ChannelManager.from_config(ChannelConfig(use_in_memory=False), process)
    manager.publish("orders", Happened(1))
    with pytest.raises(UsageError, match="every backend is off; set use_in_memory = true"):
        manager.subscribe("orders", 7, wanted=True)
    assert process.done == []


@pytest.mark.parametrize(("key", "name"), [("use_redis", "Redis"), ("use_kafka", "Kafka")])
def test_a_backend_that_is_not_there_is_named_with_its_key(key: str, name: str) -> None:
    config = ChannelConfig(**{key: True})  # type: ignore[arg-type]  # one of the boolean keys
    with pytest.raises(ConfigError, match=f"{key} = true: this version has no {name} channel"):
        backends_of(config)
    with pytest.raises(ConfigError, match=f"CHANNEL_{key.upper()}"):
        Node(workers=1, channels=config)
