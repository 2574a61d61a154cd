"""``Publishing``: a client's channels."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from typing import TYPE_CHECKING

from gristmill.behaviours.context import listen_to
from gristmill.channels.contract import ChannelBackend, Listen, Start
from gristmill.config import ChannelConfig
from gristmill.errors import GristmillError, NodeError, UsageError
from gristmill.messages import Event

if TYPE_CHECKING:
    from gristmill.channels.broker import BrokerBackend
    from gristmill.channels.consumer import Consumer
    from gristmill.channels.manager import ChannelManager
    from gristmill.node.client.brokers import ClientBrokers
    from gristmill.node.client.connection import Connection
    from gristmill.node.client.subscription import Subscription

_WINDOW = 1000
"""Events from a broker that wait in a client's subscription at most."""
_LEAVE_SECONDS = 5.0
"""How long beginning and ending a subscription to a broker may take before it goes on alone."""


class Publishing:
    """The part of a running node that publishes events and subscribes to them."""

    def __init__(self, channels: ChannelConfig) -> None:
        self._channel_config = channels
        self._manager: ChannelManager | None = None
        self._brokers: ClientBrokers | None = None

    @abstractmethod
    def _connected(self) -> Connection:
        """Give the connection to the node, which has to run."""

    @property
    def channels(self) -> ChannelManager:
        """The client's channels: what backends promise, how far groups are, what there was."""
        from gristmill.channels.manager import ChannelManager

        connection = self._connected()
        if self._manager is None:
            brokers = self._client_brokers()
            self._manager = ChannelManager.from_config(self._channel_config, connection, brokers)
        return self._manager

    def publish(self, channel: str, event: Event, *, key: str = "") -> None:
        """Publish an event to a channel's subscribers; events with one ``key`` keep their order.

        Raises:
            ChannelFullError: the server of a channel has been away for too long.
        """
        self.channels.publish(channel, event, key)

    @property
    def unpublished(self) -> int:
        """How many events this client published and no server will get: refused or dropped."""
        return self._client_brokers().dropped

    def subscribe(
        self,
        channel: str,
        *kinds: type[Event],
        capacity: int = 100_000,
        group: str = "",
        start: Start | str = Start.NEW,
        backend: ChannelBackend | str | None = None,
    ) -> Subscription:
        """Get a channel's events of the given types from now on.

        In memory every publisher knows when this returns, but for a worker that has computed for
        more than a second: it hears of it when it has finished.

        Args:
            channel: its name.
            kinds: the event types; others are passed over.
            capacity: how many events wait here at most.
            group: share the events with the other members of this group, at least once.
            start: where a new group, or a subscriber without one, begins.
            backend: which one; the first that is on and can do it if None.

        Raises:
            UsageError: no event type was given, or no backend that is on can do that.
        """
        from gristmill.channels.broker import BrokerBackend
        from gristmill.node.client.subscription import Subscription

        if not kinds:
            raise UsageError("say which event types you want: subscribe(channel, Type, ...)")
        listen = listen_to(channel, group, start, backend, max(1, min(capacity, _WINDOW)))
        connection, manager = self._connected(), self.channels
        chosen = manager.choose(listen)
        if isinstance(chosen, BrokerBackend):
            return self._subscribe_broker(chosen, listen, kinds, capacity)
        listeners = connection.post.subscriptions.setdefault(channel, [])

        def cancel(subscription: Subscription) -> None:
            listeners.remove(subscription.deliver)
            if not listeners:
                with contextlib.suppress(NodeError):  # a node that has ended has forgotten us
                    manager.subscribe(listen, 0, wanted=False)

        subscription = Subscription(connection.post, channel, kinds, capacity, cancel)
        listeners.append(subscription.deliver)
        try:
            manager.subscribe(listen, 0, wanted=True)
        except GristmillError:
            listeners.remove(subscription.deliver)
            raise
        return subscription

    def _subscribe_broker(
        self, chosen: BrokerBackend, listen: Listen, kinds: tuple[type[Event], ...], capacity: int
    ) -> Subscription:
        from gristmill.node.client.subscription import Subscription

        consumers: list[Consumer] = []

        def cancel(_subscription: Subscription) -> None:
            consumers[0].close(_LEAVE_SECONDS)

        post, brokers = self._connected().post, self._client_brokers()
        subscription = Subscription(post, listen.channel, kinds, capacity, cancel)
        consumers.append(brokers.subscribe(chosen.driver, listen, subscription))
        consumers[0].wait_until_ready(_LEAVE_SECONDS)
        return subscription

    def _client_brokers(self) -> ClientBrokers:
        from gristmill.node.client.brokers import ClientBrokers

        if self._brokers is None:
            connection = self._connected()
            post, config = connection.post, self._channel_config
            self._brokers = ClientBrokers(config, post.codec, post.node, post.counters)
        return self._brokers
