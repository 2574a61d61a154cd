"""Dead letters in Redis."""

from __future__ import annotations

import msgspec

from gristmill.channels.contract import dead_letter_channel
from gristmill.channels.records import DeadRecord
from gristmill.channels.redis.client import RedisClient
from gristmill.channels.redis.keys import Keys
from gristmill.channels.sharing import partition_of
from gristmill.config import ChannelConfig


def bury(client: RedisClient, dead: DeadRecord, config: ChannelConfig) -> None:
    """Append an event to the dead-letter channel of its own, with where it came from and why.

    Raises:
        BrokerDownError: it could not be.
    """
    keys = Keys(dead_letter_channel(dead.channel))
    event = (0, dead.delivery.key, dead.delivery.publisher, dead.delivery.body)
    with client.guarded():
        partition = partition_of(dead.delivery.key, client.partitions(keys, config.partitions))
        headers = msgspec.msgpack.encode(dead.headers())
        client.publish(client.redis, keys, partition, config.redis_max_length, event, headers)
