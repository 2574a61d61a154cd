"""``RedisClient``: one connection, whose failures are all of two kinds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from gristmill.channels.driver import BrokerDownError
from gristmill.channels.records import Delivery, Publication
from gristmill.channels.redis.keys import (
    ACKNOWLEDGE,
    BEGIN,
    CLAIM,
    LEAVE,
    PUBLISH,
    RELEASE,
    TEND,
    Keys,
)
from gristmill.config.settings import Setting, redacted

_CONNECT_SECONDS = 2.0
_ANSWER_SECONDS = 5.0
_PAGE = 100
_READS = ("XREAD", "XREADGROUP", "XRANGE", "XREVRANGE", "XCLAIM")
"""Commands whose answers have entries: (id, fields and their values in turn), and no dicts."""


class RedisClient:
    """A connection with our scripts loaded; used on one thread.

    Args:
        url: of the server.

    Raises:
        BrokerDownError: it can't be reached.
    """

    def __init__(self, url: str) -> None:
        import redis  # noqa: PLC0415 - only where it is turned on

        self._failures = (redis.RedisError, OSError)
        self.redis: Any = redis.Redis.from_url(
            url,
            socket_connect_timeout=_CONNECT_SECONDS,
            socket_timeout=_ANSWER_SECONDS,
            retry=None,
            protocol=2,
        )
        for command in _READS:
            self.redis.set_response_callback(command, _as_it_comes)
        with self.guarded():
            load = self.redis.script_load
            self._publish, self._acknowledge = load(PUBLISH), load(ACKNOWLEDGE)
            self._tend, self._release, self._leave = map(load, (TEND, RELEASE, LEAVE))
            self._begin, self._claim = load(BEGIN), load(CLAIM)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Make every failure of the server or the way to it one kind of error."""
        try:
            yield
        except self._failures as error:
            raise BrokerDownError(f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Let go of the connection."""
        with suppress(*self._failures):
            self.redis.close()

    # --- scripts ---

    def partitions(self, keys: Keys, wanted: int) -> int:
        """Give a channel's number of partitions; ``wanted`` if it is new."""
        self.redis.set(keys.partitions, wanted, nx=True)
        return int(self.redis.get(keys.partitions))

    def publish(
        self,
        pipe: Any,  # noqa: ANN401 - redis-py's clients and pipelines share no type
        keys: Keys,
        partition: int,
        longest: int,
        events: Sequence[Publication],
        headers: bytes = b"",
    ) -> Any:  # noqa: ANN401 - the pipeline, or what the server answers
        """Append a publisher's events to a partition; answered by how many are there, and why."""
        publisher = events[0].publisher
        return pipe.evalsha(
            self._publish,
            3,
            keys.stream(partition),
            keys.count,
            keys.publisher(partition, publisher),
            partition,
            longest,
            publisher,
            headers,
            *(field for event in events for field in (event.number, event.key, event.body)),
        )

    def acknowledge(
        self,
        pipe: Any,  # noqa: ANN401 - redis-py's clients and pipelines share no type
        keys: Keys,
        group: str,
        done: Mapping[int, Sequence[Delivery]],
    ) -> None:
        """Acknowledge what a group has handled, by partition, and note how far it is."""
        arguments: list[str | int] = [group]
        for partition, deliveries in done.items():
            ordinal = max(delivery.ordinal for delivery in deliveries)
            arguments += (partition, ordinal, len(deliveries))
            arguments += [delivery.position for delivery in deliveries]
        streams = [keys.stream(partition) for partition in done]
        pipe.evalsha(self._acknowledge, 1 + len(done), keys.seen(group), *streams, *arguments)

    def tend(
        self, keys: Keys, group: str, member: str, partitions: int, milliseconds: int
    ) -> tuple[list[str], list[str]]:
        """Renew a member's leases; give the members, and who owns each partition."""
        owners = [keys.owner(group, p) for p in range(partitions)]
        members, owned = self.redis.evalsha(
            self._tend, 1 + partitions, keys.members(group), *owners, member, milliseconds
        )
        return [name.decode() for name in members], [name.decode() for name in owned]

    def take(self, keys: Keys, group: str, member: str, partition: int, milliseconds: int) -> bool:
        """Take a partition that nobody owns; give whether that worked."""
        key = keys.owner(group, partition)
        return bool(self.redis.set(key, member, nx=True, px=milliseconds))

    def release(self, keys: Keys, group: str, member: str, partition: int) -> None:
        """Give a partition back."""
        self.redis.evalsha(self._release, 1, keys.owner(group, partition), member)

    def leave(self, keys: Keys, group: str, member: str, partitions: int) -> None:
        """Leave a group."""
        streams = [keys.stream(p) for p in range(partitions)]
        self.redis.evalsha(
            self._leave, 1 + partitions, keys.members(group), *streams, member, group
        )

    def claim(self, stream: str, group: str, member: str) -> None:
        """Claim everything in a partition that others have left."""
        cursor = b"0-0"
        while True:  # a page may be empty although more follow
            cursor = self.redis.evalsha(self._claim, 1, stream, group, member, cursor, _PAGE)
            if cursor == b"0-0":
                return

    def begin(self, keys: Keys, group: str, partition: int, start: str) -> None:
        """Make sure that a partition has its stream and its group."""
        self.redis.evalsha(
            self._begin,
            3,
            keys.stream(partition),
            keys.count,
            keys.seen(group),
            group,
            partition,
            start,
        )


def _as_it_comes(answer: Any, **_options: object) -> Any:  # noqa: ANN401 - redis-py has no types for it
    return answer


def outcome(answer: Exception | tuple[int, bytes]) -> tuple[int, str]:
    """Give how many published events are there, and why no more are; empty if all are."""
    if isinstance(answer, Exception):  # of a server that could not even begin
        return 0, f"{type(answer).__name__}: {answer}"
    done, why = answer
    return done, why.decode().removeprefix("-")


def shown(url: str) -> str:
    """Give a URL without its secrets."""
    return str(redacted(Setting("channel", "redis_url", url, "")).value)
