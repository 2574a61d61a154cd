"""Channels over Kafka; needs ``gristmill[kafka]``.

A channel is a topic of its name, kept for ever unless somebody configures it otherwise; the key of
an event is the record's key. The group ``revenue`` of the channel ``orders`` is the consumer group
``orders.revenue``. librdkafka says that a member lives from a thread of its own, which no handler
and no held GIL can stop.
"""
