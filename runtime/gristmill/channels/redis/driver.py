"""The Redis backend: a producer, readers from anywhere, and what both need to know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Final

from gristmill.channels.contract import (
    Capabilities,
    ChannelBackend,
    ChannelUnavailableError,
    Listen,
    Start,
)
from gristmill.channels.driver import BrokerDownError, BrokerRefusedError, Source
from gristmill.channels.records import Delivery, Publication
from gristmill.channels.redis.client import RedisClient, outcome, shown
from gristmill.channels.redis.entries import delivery_of
from gristmill.channels.redis.keys import Keys
from gristmill.channels.redis.private import RedisListener
from gristmill.channels.redis.source import RedisMember
from gristmill.channels.sharing import partition_of
from gristmill.config import ChannelConfig
from gristmill.errors import ConfigError
from gristmill.ref import DeliveryGuarantee

_PAGE = 500
_LASTING = ("WRONGTYPE", "ERR")
"""How errors begin that will not pass, whatever becomes of the server."""


class RedisDriver:
    """Redis Streams, as ``[channel]`` describes them."""

    kind: Final = ChannelBackend.REDIS
    capabilities: Final = Capabilities(
        DeliveryGuarantee.AT_LEAST_ONCE,
        acknowledge=True,
        replay=True,
        groups=True,
        lag=True,
        survives=True,
    )

    def __init__(self, config: ChannelConfig) -> None:
        self.config = config

    def connect(self) -> RedisClient:
        """Open a connection.

        Raises:
            BrokerDownError: the server can't be reached.
        """
        return RedisClient(self.config.redis_url)

    def check(self) -> None:
        """Make sure that the server is there, and new enough."""
        try:
            import redis  # noqa: PLC0415, F401 - only where it is turned on
        except ImportError:
            raise ConfigError(
                "[channel] use_redis = true needs redis-py; pip install 'gristmill[redis]', or set "
                "use_redis = false"
            ) from None
        with closing(self._reach()) as client:
            version = client.redis.info("server")["redis_version"]
        if tuple(int(part) for part in str(version).split(".")[:2]) < (6, 2):
            raise ChannelUnavailableError(
                f"Redis at {shown(self.config.redis_url)} is {version}; channels need 6.2 or newer"
            )

    def _reach(self) -> RedisClient:
        url = shown(self.config.redis_url)
        try:
            return self.connect()
        except ValueError as error:
            raise ConfigError(f"[channel] redis_url = {url!r}: {error}") from None
        except BrokerDownError as error:
            raise ChannelUnavailableError(
                f"no Redis at {url} ({error}); start one (docker compose up redis), set REDIS_URL, "
                "or set use_redis = false (CHANNEL_USE_REDIS)"
            ) from None

    def producer(self) -> RedisProducer:
        """Make a producer."""
        return RedisProducer(self.connect(), self.config)

    def source(self, listen: Listen, member: str, *, lasting: bool) -> Source:
        """Make a source."""
        del lasting  # a lease knows its owner by name
        client = self.connect()
        if not listen.group:
            return RedisListener(client, listen, self.config)
        return RedisMember(client, listen, member, self.config)

    def read(self, channel: str, start: Start | Mapping[int, str]) -> Iterator[Delivery]:
        """Give the events of a channel up to its present end."""
        keys = Keys(channel)
        with closing(self._reach()) as client:
            known = client.redis.get(keys.partitions)
            for partition in range(int(known or 0)):
                yield from self._read(client, keys, partition, start)

    def _read(
        self, client: RedisClient, keys: Keys, partition: int, start: Start | Mapping[int, str]
    ) -> Iterator[Delivery]:
        stream = keys.stream(partition)
        last = client.redis.xrevrange(stream, count=1)
        if start is Start.NEW or not last:
            return
        end = last[0][0].decode()
        begin = "-" if isinstance(start, Start) else f"({start.get(partition, '0-0')}"
        while page := client.redis.xrange(stream, begin, end, count=_PAGE):
            for entry, fields in page:
                yield delivery_of(partition, entry, fields)
            begin = f"({page[-1][0].decode()}"

    def begin(self, channel: str, group: str, start: Start) -> None:
        """Give a group its position, unless it has one."""
        keys = Keys(channel)
        with closing(self._reach()) as client:
            for partition in range(client.partitions(keys, self.config.partitions)):
                client.begin(keys, group, partition, "0" if start is Start.EARLIEST else "$")

    def lag(self, channel: str, group: str) -> int:
        """Count the events that a group has not handled."""
        keys = Keys(channel)
        with closing(self._reach()) as client:
            count, seen = client.redis.hgetall(keys.count), client.redis.hgetall(keys.seen(group))
        return sum(int(n) - int(seen.get(partition, 0)) for partition, n in count.items())


class RedisProducer:
    """Appends events to streams, each once, however often it is sent."""

    def __init__(self, client: RedisClient, config: ChannelConfig) -> None:
        self._client = client
        self._config = config
        self._channels: dict[str, tuple[Keys, int]] = {}

    def send(self, batch: Sequence[Publication]) -> None:
        """Append events, those of each partition in order."""
        client = self._client
        with client.guarded():
            parts: dict[tuple[str, int], list[int]] = {}
            for place, event in enumerate(batch):
                _, partitions = self._channel(event.channel)
                part = event.channel, partition_of(event.key, partitions)
                parts.setdefault(part, []).append(place)
            pipe = client.redis.pipeline(transaction=False)
            for (channel, partition), places in parts.items():
                keys, _ = self._channel(channel)
                events = [batch[place] for place in places]
                client.publish(pipe, keys, partition, self._config.redis_max_length, events)
            answers = pipe.execute(raise_on_error=False)
        failed = [
            (places[done], why)
            for places, (done, why) in zip(parts.values(), map(outcome, answers), strict=True)
            if why
        ]
        if failed:
            place, why = min(failed)
            if why.startswith(_LASTING):
                raise BrokerRefusedError(place, why)
            raise BrokerDownError(why)

    def _channel(self, name: str) -> tuple[Keys, int]:
        found = self._channels.get(name)
        if found is None:
            keys = Keys(name)
            found = (keys, self._client.partitions(keys, self._config.partitions))
            self._channels[name] = found
        return found

    def interrupt(self) -> None:
        """Do nothing: the server has a few seconds to answer."""

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()
