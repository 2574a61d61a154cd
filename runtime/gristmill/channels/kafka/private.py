"""``KafkaListener``: a subscriber on its own, that gets every event; its position is its own."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from gristmill.channels.contract import Listen, Start
from gristmill.channels.intake import Intake
from gristmill.channels.kafka.client import (
    ANSWER_SECONDS,
    Topics,
    asked,
    delivery_of,
    settings_of,
)
from gristmill.channels.kafka.prefetched import Prefetched
from gristmill.channels.kafka.producer import KafkaProducer
from gristmill.channels.kafka.source import bury
from gristmill.channels.records import DeadRecord, Delivery
from gristmill.config import ChannelConfig


def open_reader(config: ChannelConfig) -> Any:  # noqa: ANN401 - a confluent Consumer has no types
    """Make a consumer that belongs to no group and commits nothing."""
    from confluent_kafka import Consumer  # noqa: PLC0415 - only where it is turned on

    settings = settings_of(
        config,
        group_id=f"gristmill-{uuid4()}",  # it must have a name, and joins nothing
        enable_auto_commit=False,
        enable_auto_offset_store=False,
        auto_offset_reset="earliest",
        fetch_wait_max_ms=100,
        queued_max_messages_kbytes=16_384,
    )
    return Consumer(settings)


def bounds(consumer: Any, channel: str) -> dict[int, tuple[int, int]]:  # noqa: ANN401 - as above
    """Give the first offset of each partition, and that behind the last; nothing for no topic.

    Raises:
        BrokerDownError: no broker answers.
    """
    from confluent_kafka import TopicPartition  # noqa: PLC0415 - only where it is turned on

    def ends(number: int) -> tuple[int, int]:
        place = TopicPartition(channel, number)
        low, high = asked(lambda: consumer.get_watermark_offsets(place, ANSWER_SECONDS))
        return low, high

    topic = asked(lambda: consumer.list_topics(channel, ANSWER_SECONDS)).topics[channel]
    return {number: ends(number) for number in sorted(topic.partitions)}


class KafkaListener:
    """Reads all partitions of a topic."""

    def __init__(self, listen: Listen, config: ChannelConfig) -> None:
        self._config = config
        self._topic = listen.channel
        self._start = listen.start
        self._consumer: Any = None
        self._producer: KafkaProducer | None = None
        self._positions: dict[int, int] = {}
        self._prefetched = Prefetched(listen.channel)
        self.lost = 0

    def poll(self, intake: Intake, seconds: float) -> bool:
        """Fetch what there is."""
        self.acknowledge(intake)
        if self._consumer is None:
            self._connect(intake)
        return self._prefetched.poll(
            self._consumer, intake, seconds, wanted=intake.wanted, read=self._read
        )

    def _read(self, message: Any) -> Delivery | None:  # noqa: ANN401 - a confluent Message
        if message.error():
            return None
        self._positions[message.partition()] = message.offset() + 1
        return delivery_of(message)

    def _connect(self, intake: Intake) -> None:
        from confluent_kafka import TopicPartition  # noqa: PLC0415 - only where it is turned on

        Topics(self._config).ensure(self._topic)
        consumer = open_reader(self._config)
        if not self._positions:
            early = self._start is Start.EARLIEST
            for number, (low, high) in bounds(consumer, self._topic).items():
                self._positions[number] = low if early else high
        for number in self._positions:
            intake.assign(number)
        self._prefetched.connected()
        consumer.assign([TopicPartition(self._topic, n, o) for n, o in self._positions.items()])
        self._consumer = consumer

    def acknowledge(self, intake: Intake) -> None:
        """Note what was handled: nobody else wants to know."""
        for partition, done in intake.to_acknowledge().items():
            intake.acknowledged(partition, len(done))

    def bury(self, dead: DeadRecord) -> None:
        """Put an event into the dead-letter channel."""
        self._producer = self._producer or KafkaProducer(self._config)
        bury(self._producer, dead)

    def close(self, intake: Intake) -> None:
        """Leave."""
        del intake
        self.drop()

    def drop(self) -> None:
        """Let go of the connection; the position is kept."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close()
        if self._producer is not None:
            self._producer.close()
            self._producer = None
