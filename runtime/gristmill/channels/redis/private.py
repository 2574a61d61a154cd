"""``RedisListener``: a subscriber on its own, that gets every event; its position is its own."""

from __future__ import annotations

from gristmill.channels.contract import Listen, Start
from gristmill.channels.intake import Intake
from gristmill.channels.records import DeadRecord
from gristmill.channels.redis.burying import bury
from gristmill.channels.redis.client import RedisClient
from gristmill.channels.redis.entries import Gaps, delivery_of
from gristmill.channels.redis.keys import Keys
from gristmill.config import ChannelConfig

_PAGE = 100


class RedisListener:
    """Reads all partitions of a channel, with XREAD."""

    def __init__(self, client: RedisClient, listen: Listen, config: ChannelConfig) -> None:
        self._client: RedisClient | None = client
        self._config = config
        self._keys = Keys(listen.channel)
        self._start = listen.start
        self._positions: dict[int, str] = {}
        self._gaps = Gaps()
        self.lost = 0

    def poll(self, intake: Intake, seconds: float) -> bool:
        """Fetch what there is."""
        self.acknowledge(intake)
        client = self._connected()
        with client.guarded():
            if not self._positions:
                self._begin(client, intake)
            intake.wait(seconds, lambda: not intake.crowded())
            wanted = [p for p in self._positions if intake.wanted(p)]
            if not wanted:
                return True
            streams = {self._keys.stream(p): self._positions[p] for p in wanted}
            block = max(1, int(seconds * 1000))
            found = client.redis.xread(streams, count=_PAGE, block=block) or ()
            for stream, entries in found:
                partition = int(stream.rpartition(b":")[2])
                page = [delivery_of(partition, entry, fields) for entry, fields in entries]
                self.lost += sum(map(self._gaps.missing, page))
                intake.receive(page)
                self._positions[partition] = page[-1].position
            return any(len(entries) == _PAGE for _, entries in found)

    def _begin(self, client: RedisClient, intake: Intake) -> None:
        for partition in range(client.partitions(self._keys, self._config.partitions)):
            position = "0-0"
            if self._start is Start.NEW:
                last = client.redis.xrevrange(self._keys.stream(partition), count=1)
                position = last[0][0].decode() if last else "0-0"
            self._positions[partition] = position
            intake.assign(partition)

    def acknowledge(self, intake: Intake) -> None:
        """Note what was handled: nobody else wants to know."""
        for partition, done in intake.to_acknowledge().items():
            intake.acknowledged(partition, len(done))

    def bury(self, dead: DeadRecord) -> None:
        """Put an event into the dead-letter channel."""
        bury(self._connected(), dead, self._config)

    def close(self, intake: Intake) -> None:
        """Leave."""
        del intake
        self.drop()

    def drop(self) -> None:
        """Let go of the connection; the position is kept."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _connected(self) -> RedisClient:
        if self._client is None:
            self._client = RedisClient(self._config.redis_url)
        return self._client
