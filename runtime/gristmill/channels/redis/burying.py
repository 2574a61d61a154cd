"""Dead letters in Redis."""

from __future__ import annotations

import msgspec

from gristmill.channels.contract import dead_letter_channel
from gristmill.channels.driver import BrokerDownError
from gristmill.channels.records import DeadRecord, Publication
from gristmill.channels.redis.client import RedisClient, outcome
from gristmill.channels.redis.keys import Keys
from gristmill.channels.sharing import partition_of
from gristmill.config import ChannelConfig


def bury(client: RedisClient, dead: DeadRecord, config: ChannelConfig) -> None:
    """Append an event to the dead-letter channel of its own, with where it came from and why.

    Raises:
        BrokerDownError: it could not be.
    """
    keys = Keys(dead_letter_channel(dead.channel))
    delivery = dead.delivery
    letter = Publication(dead.channel, delivery.key, delivery.publisher, 0, delivery.body)
    with client.guarded():
        partition = partition_of(delivery.key, client.partitions(keys, config.partitions))
        headers = msgspec.msgpack.encode(dead.headers())
        longest = config.redis_max_length
        answer = client.publish(client.redis, keys, partition, longest, [letter], headers)
    _, why = outcome(answer)
    if why:
        raise BrokerDownError(why)
