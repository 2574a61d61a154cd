"""``RedisMember``: a member of a consumer group, which owns some partitions of a channel.

Order by key needs one consumer for each partition, so members divide the partitions and own them
by leases that they renew. Who takes a partition over first gets, one by one and in order, what its
predecessor has not finished, and only then new events.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator

from gristmill.channels.contract import Listen, Start
from gristmill.channels.driver import BrokerDownError
from gristmill.channels.intake import Intake
from gristmill.channels.records import DeadRecord, Delivery
from gristmill.channels.redis.burying import bury
from gristmill.channels.redis.client import RedisClient
from gristmill.channels.redis.entries import Gaps, delivery_of
from gristmill.channels.redis.keys import Keys
from gristmill.channels.sharing import share_of, to_change
from gristmill.config import ChannelConfig

_PAGE = 100
_TOGETHER_BELOW = 2
"""With so few attempts an event that was delivered once is fetched alone already."""
_RENEWALS = 4
"""How often a lease is renewed in its time."""


class RedisMember:
    """Reads the partitions that it owns, with XREADGROUP; acknowledges with XACK."""

    def __init__(
        self, client: RedisClient, listen: Listen, member: str, config: ChannelConfig
    ) -> None:
        self._client: RedisClient | None = client
        self._config = config
        self._listen = listen
        self._group = listen.group
        self._member = member
        self._keys = Keys(listen.channel)
        self._lease = int(config.redis_lease_seconds * 1000)
        self._tend_at = 0.0
        self._partitions = 0
        self._giving: set[int] = set()
        """Partitions that somebody else shall have as soon as nothing is open in them."""
        self._left: dict[int, deque[tuple[str, int]]] = {}
        """What was not finished: entries and how often each was delivered, by partition."""
        self._gaps = Gaps()
        self.lost = 0

    # --- fetching ---

    def poll(self, intake: Intake, seconds: float) -> bool:
        """Renew the leases if it is time, acknowledge, and fetch what there is."""
        client = self._connected(intake)
        with client.guarded():
            if time.monotonic() >= self._tend_at:
                self._tend(client, intake)
            if self._left:
                self._fetch_left(client, intake)
            rest = min(seconds, self._lease / _RENEWALS / 1000)
            intake.wait(rest, lambda: not intake.crowded())
            wanted = self._wanted(intake)
            if wanted:
                wait = 0.001 if self._left else seconds
                return self._fetch_new(client, intake, wanted, wait) or bool(self._left)
            self.acknowledge(intake)
            intake.wait(rest, lambda: self._can_go_on(intake))
            return True

    def _wanted(self, intake: Intake) -> dict[int, int]:
        """Give how many new events are wanted, by partition."""
        counts = {
            p: intake.wanted(p)
            for p in intake.partitions
            if p not in self._left and p not in self._giving
        }
        return {partition: count for partition, count in counts.items() if count}

    def _can_go_on(self, intake: Intake) -> bool:
        """Tell whether there is room for something that is there."""
        return bool(self._wanted(intake)) or any(not intake.has_open(p) for p in self._left)

    def _fetch_new(
        self, client: RedisClient, intake: Intake, wanted: dict[int, int], seconds: float
    ) -> bool:
        """Acknowledge and fetch in one round trip; give whether more may be there."""
        done = intake.to_acknowledge()
        pipe = client.redis.pipeline(transaction=False)
        if done:
            client.acknowledge(pipe, self._keys, self._group, done)
        block = max(1, int(seconds * 1000))
        count = max(1, min(_PAGE, max(wanted.values()) // len(wanted)))
        streams = {self._keys.stream(partition): ">" for partition in wanted}
        pipe.xreadgroup(self._group, self._member, streams, count=count, block=block)
        *_, found = pipe.execute()
        self._acknowledged(client, intake, done)
        for stream, entries in found or ():
            partition = int(stream.rpartition(b":")[2])
            self._receive(intake, [delivery_of(partition, *entry) for entry in entries])
        return any(len(entries) == count for _, entries in found or ())

    def _receive(self, intake: Intake, page: list[Delivery]) -> None:
        self.lost += sum(map(self._gaps.missing, page))
        intake.receive(page)

    def _fetch_left(self, client: RedisClient, intake: Intake) -> None:
        """Fetch what a predecessor has not finished.

        At first all of it; if that ends badly too, one by one: it may be what has killed its owner,
        and the server counts a delivery of everything that is fetched with it.
        """
        batches: dict[int, dict[str, int]] = {}
        pipe = client.redis.pipeline(transaction=False)
        for partition, left in list(self._left.items()):
            if not left:
                del self._left[partition]
            elif not intake.has_open(partition):
                batch = batches[partition] = dict(self._next_left(left))
                stream = self._keys.stream(partition)
                pipe.xclaim(stream, self._group, self._member, 0, list(batch))
        for (partition, batch), claimed in zip(batches.items(), pipe.execute(), strict=True):
            there = {entry[0].decode(): entry for entry in claimed if entry and entry[1]}
            for name, deliveries in batch.items():
                if name in there:
                    entry, fields = there[name]
                    self._receive(intake, [delivery_of(partition, entry, fields, deliveries)])
                else:  # it has been dropped from the stream, which the next event tells
                    client.redis.xack(self._keys.stream(partition), self._group, name)

    def _next_left(self, left: deque[tuple[str, int]]) -> Iterator[tuple[str, int]]:
        together = self._config.max_attempts > _TOGETHER_BELOW
        yield left[0]
        together &= left.popleft()[1] == 1
        for _ in range(_PAGE - 1):
            if not together or not left or left[0][1] != 1:
                return
            yield left.popleft()

    # --- partitions ---

    def _tend(self, client: RedisClient, intake: Intake) -> None:
        """Renew what is owned, take what is due, give back what somebody else should have."""
        self._tend_at = time.monotonic() + self._lease / _RENEWALS / 1000
        keys, group, me = self._keys, self._group, self._member
        if not self._partitions:
            self._partitions = client.partitions(keys, self._config.partitions)
        members, owners = client.tend(keys, group, me, self._partitions, self._lease)
        for partition in intake.partitions:
            if owners[partition] != me and not self._take(client, partition):
                self._forget(intake, partition)  # we were silent for too long
        share = share_of(me, members, self._partitions)
        free = {p for p, owner in enumerate(owners) if owner in ("", me)}
        take, give = to_change(intake.partitions, share, free)
        for partition in sorted(take):
            if owners[partition] == me or self._take(client, partition):
                self._adopt(client, intake, partition)
        for partition, owner in enumerate(owners):
            if owner == me and partition not in share and partition not in intake.partitions:
                client.release(keys, group, me, partition)
        self._giving = set(give)
        self._give(client, intake)

    def _take(self, client: RedisClient, partition: int) -> bool:
        return client.take(self._keys, self._group, self._member, partition, self._lease)

    def _adopt(self, client: RedisClient, intake: Intake, partition: int) -> None:
        """Begin with a partition: claim what others have left in it."""
        keys, group = self._keys, self._group
        stream = keys.stream(partition)
        client.begin(keys, group, partition, "0" if self._listen.start is Start.EARLIEST else "$")
        seen = client.redis.hget(keys.seen(group), partition)
        self._gaps.begin(partition, int(seen or 0))
        client.claim(stream, group, self._member)
        self._look_for_left(client, intake, partition)
        intake.assign(partition)

    def _look_for_left(self, client: RedisClient, intake: Intake, partition: int) -> None:
        """List what is delivered to this member and not open here."""
        left: deque[tuple[str, int]] = deque()
        begin = "-"
        stream = self._keys.stream(partition)
        while page := client.redis.xpending_range(
            stream, self._group, begin, "+", _PAGE, self._member
        ):
            for pending in page:
                entry = pending["message_id"].decode()
                if not intake.holds(partition, entry):
                    left.append((entry, int(pending["times_delivered"])))
            begin = f"({page[-1]['message_id'].decode()}"
        if left:
            self._left[partition] = left

    def _give(self, client: RedisClient, intake: Intake) -> None:
        for partition in [p for p in self._giving if not intake.has_open(p)]:
            self._forget(intake, partition)
            client.release(self._keys, self._group, self._member, partition)

    def _forget(self, intake: Intake, partition: int) -> None:
        intake.revoke(partition)
        self._left.pop(partition, None)
        self._giving.discard(partition)

    # --- what was handled ---

    def acknowledge(self, intake: Intake) -> None:
        """Tell the server what was handled, and give back what nothing is open in."""
        done = intake.to_acknowledge()
        if not done and not self._giving:
            return
        client = self._connected(intake)
        with client.guarded():
            if done:
                client.acknowledge(client.redis, self._keys, self._group, done)
            self._acknowledged(client, intake, done)

    def _acknowledged(
        self, client: RedisClient, intake: Intake, done: dict[int, list[Delivery]]
    ) -> None:
        for partition, deliveries in done.items():
            intake.acknowledged(partition, len(deliveries))
        self._give(client, intake)

    def bury(self, dead: DeadRecord) -> None:
        """Put an event into the dead-letter channel; it is acknowledged behind that."""
        if self._client is None:
            raise BrokerDownError("the connection was lost")
        bury(self._client, dead, self._config)

    # --- connection ---

    def close(self, intake: Intake) -> None:
        """Leave in order: others get the partitions at once, with what is open in them."""
        self.acknowledge(intake)
        client = self._connected(intake)
        with client.guarded():
            for partition in intake.partitions:
                self._forget(intake, partition)
                client.release(self._keys, self._group, self._member, partition)
            client.leave(self._keys, self._group, self._member, self._partitions)
        self.drop()

    def drop(self) -> None:
        """Let go of the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _connected(self, intake: Intake) -> RedisClient:
        """Give the connection; behind a new one, ask what the old one may have swallowed."""
        if self._client is None:
            client = RedisClient(self._config.redis_url)
            with client.guarded():
                start = "0"  # if the server has lost the group, nothing of what it has now is old
                for partition in intake.partitions:
                    client.begin(self._keys, self._group, partition, start)
                    self._look_for_left(client, intake, partition)
            self._client = client
            self._tend_at = 0.0
        return self._client
