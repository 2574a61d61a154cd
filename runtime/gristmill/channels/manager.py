"""``ChannelManager``: every event goes to the backends that the configuration turns on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gristmill.channels.broker import BrokerBackend, BrokerProcess
from gristmill.channels.contract import Backend, Capabilities, ChannelBackend, FanOut, Listen, Start
from gristmill.channels.driver import Driver
from gristmill.channels.memory import InMemoryBackend
from gristmill.channels.records import Delivery
from gristmill.channels.servers import backends_of, make_driver
from gristmill.config import ChannelConfig
from gristmill.errors import UsageError
from gristmill.messages import Event


class ChannelManager:
    """The channels of one process.

    Args:
        backends: where events are published. A subscriber that names none gets them from the first
            one that can do what it wants.
        brokers: publishes to those that have a server.
    """

    def __init__(self, backends: Sequence[Backend], brokers: BrokerProcess) -> None:
        self._backends = tuple(backends)
        self._in_memory = [each for each in backends if isinstance(each, InMemoryBackend)]
        self._brokers = brokers
        self._has_brokers = any(isinstance(each, BrokerBackend) for each in backends)

    @classmethod
    def from_config(
        cls, config: ChannelConfig, process: FanOut, brokers: BrokerProcess
    ) -> ChannelManager:
        """Make the backends that ``[channel]`` turns on.

        Args:
            config: the section.
            process: the worker or client that publishes and subscribes, in memory.
            brokers: the same, for backends with a server.
        """
        made: list[Backend] = []
        for kind in backends_of(config):
            if kind is ChannelBackend.MEMORY:
                made.append(InMemoryBackend(process))
            else:
                made.append(BrokerBackend(make_driver(kind, config), brokers))
        return cls(made, brokers)

    @property
    def capabilities(self) -> dict[ChannelBackend, Capabilities]:
        """What each backend that is on promises."""
        return {backend.kind: backend.capabilities for backend in self._backends}

    def publish(self, channel: str, event: Event, key: str = "") -> None:
        """Publish an event on every backend; events with one ``key`` keep their order.

        Raises:
            ChannelFullError: a server has been away for too long. It is published nowhere.
        """
        if self._has_brokers:
            self._brokers.publish(channel, event, key)
        for backend in self._in_memory:
            backend.publish(channel, event)

    def subscribe(self, listen: Listen | str, subscriber: int, *, wanted: bool) -> None:
        """Begin or end a subscription; see :meth:`Backend.subscribe`.

        Raises:
            UsageError: no backend is on, or none can do it.
        """
        listen = listening(listen)
        self.choose(listen).subscribe(listen, subscriber, wanted=wanted)

    def begin(
        self,
        channel: str,
        group: str,
        *,
        start: Start | str = Start.NEW,
        backend: ChannelBackend | str | None = None,
    ) -> None:
        """Give a group its position, unless it has one: what is published from now on is its.

        Raises:
            UsageError: no backend that is on has groups.
            ChannelUnavailableError: its server can't be reached.
        """
        listen = Listen(channel, group, backend=_backend(backend))
        self._server(listen).begin(channel, group, Start(start))

    def lag(self, channel: str, group: str, *, backend: ChannelBackend | str | None = None) -> int:
        """Count the events of a channel that a group has not handled.

        Raises:
            UsageError: no backend that is on can tell.
            ChannelUnavailableError: its server can't be reached.
        """
        listen = Listen(channel, group, backend=_backend(backend))
        return self._server(listen).lag(channel, group)

    def read(
        self,
        channel: str,
        *,
        start: Start | Mapping[int, str] = Start.EARLIEST,
        backend: ChannelBackend | str | None = None,
    ) -> Iterator[Delivery]:
        """Give the events that a channel has now, those of each partition in order: a replay.

        Nobody's position changes. The bodies are as they were published.

        Args:
            channel: its name.
            start: at the first event that is left, or behind a position of each partition.
            backend: which one; the first that is on and can do it if None.

        Raises:
            UsageError: no backend that is on can do it.
            ChannelUnavailableError: its server can't be reached.
        """
        listen = Listen(channel, start=Start.EARLIEST, backend=_backend(backend))
        return self._server(listen).read(channel, start)

    def _server(self, listen: Listen) -> Driver:
        chosen = self.choose(listen)
        assert isinstance(chosen, BrokerBackend)  # nobody else has groups or a past
        return chosen.driver

    def choose(self, listen: Listen) -> Backend:
        """Give the backend that a subscription is for.

        Raises:
            UsageError: it is not on, or can't do what is wanted.
        """
        if not self._backends:
            raise UsageError(
                f"nothing carries channel {listen.channel!r}: every backend is off; "
                "set use_in_memory = true in [channel]"
            )
        if listen.backend is None:
            can = [each for each in self._backends if not _lacks(each.capabilities, listen)]
            return self._refuse_lacks((can or self._backends)[0], listen)
        for backend in self._backends:
            if backend.kind is listen.backend:
                return self._refuse_lacks(backend, listen)
        raise UsageError(
            f"channel {listen.channel!r} is wanted from {listen.backend}, which is off; set "
            f"use_{_KEYS[listen.backend]} = true in [channel]"
        )

    @staticmethod
    def _refuse_lacks(backend: Backend, listen: Listen) -> Backend:
        lacks = _lacks(backend.capabilities, listen)
        if lacks:
            raise UsageError(
                f"the {backend.kind} backend can't do {lacks}, which a subscription to "
                f"{listen.channel!r} wants; turn use_redis or use_kafka on in [channel]"
            )
        return backend


_KEYS = {
    ChannelBackend.MEMORY: "in_memory",
    ChannelBackend.REDIS: "redis",
    ChannelBackend.KAFKA: "kafka",
}


def _backend(name: ChannelBackend | str | None) -> ChannelBackend | None:
    try:
        return None if name is None else ChannelBackend(name)
    except ValueError as error:
        raise UsageError(f"{error}; there are {', '.join(ChannelBackend)}") from None


def _lacks(can: Capabilities, listen: Listen) -> str:
    if listen.group and not can.groups:
        return f"groups ({listen.group!r})"
    if listen.start is Start.EARLIEST and not can.replay:
        return "replay (start='earliest')"
    return ""


def listening(listen: Listen | str) -> Listen:
    """Give what a subscriber wants, if it names a channel alone too.

    Raises:
        UsageError: the window is under 1.
    """
    if isinstance(listen, str):
        return Listen(listen)
    if listen.window < 1:
        raise UsageError(f"{listen.channel!r}: a window is 1 or more, not {listen.window}")
    return listen
