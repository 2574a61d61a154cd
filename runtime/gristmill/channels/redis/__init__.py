"""Channels over Redis Streams; needs ``gristmill[redis]`` and Redis 6.2 or newer.

The keys of a channel, all in one slot of a cluster::

    gristmill:{NAME}:0 ... N-1          the streams, one for each partition
    gristmill:{NAME}:partitions         N, fixed when the channel is first used
    gristmill:{NAME}:count              hash: events ever published, by partition
    gristmill:{NAME}:from:P:PUBLISHER   the last number published by a publisher to a partition
    gristmill:{NAME}:members:GROUP      sorted set: members, by when they were last heard of
    gristmill:{NAME}:owner:GROUP:P      the member that owns a partition, for as long as it renews
    gristmill:{NAME}:seen:GROUP         hash: the count of the last event handled, by partition
"""
