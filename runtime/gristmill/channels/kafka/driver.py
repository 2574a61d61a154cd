"""The Kafka backend: producers, members, and readers from anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any, Final

from gristmill.channels.contract import (
    Capabilities,
    ChannelBackend,
    ChannelUnavailableError,
    Listen,
    Start,
)
from gristmill.channels.driver import BrokerDownError, Source
from gristmill.channels.kafka.client import (
    ANSWER_SECONDS,
    Topics,
    as_name,
    asked,
    delivery_of,
    settings_of,
)
from gristmill.channels.kafka.private import KafkaListener, bounds, open_reader
from gristmill.channels.kafka.producer import KafkaProducer
from gristmill.channels.kafka.source import KafkaMember
from gristmill.channels.records import Delivery
from gristmill.config import ChannelConfig
from gristmill.errors import ConfigError
from gristmill.ref import DeliveryGuarantee

_REACH_SECONDS = 5.0
_PAGE = 500


class KafkaDriver:
    """Kafka, as ``[channel]`` describes it."""

    kind: Final = ChannelBackend.KAFKA
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

    def check(self) -> None:
        """Make sure that a broker is there."""
        try:
            from confluent_kafka import KafkaException  # noqa: PLC0415 - only when on
            from confluent_kafka.admin import AdminClient  # noqa: PLC0415 - the same
        except ImportError:
            raise ConfigError(
                "[channel] use_kafka = true needs confluent-kafka; pip install 'gristmill[kafka]', "
                "or set use_kafka = false"
            ) from None
        try:
            AdminClient(settings_of(self.config)).list_topics(timeout=_REACH_SECONDS)
        except KafkaException as error:
            raise self._unavailable(error.args[0].str()) from None

    def _unavailable(self, why: str) -> ChannelUnavailableError:
        return ChannelUnavailableError(
            f"no Kafka at {', '.join(self.config.kafka_brokers)} ({why}); start one (docker "
            "compose up kafka), set KAFKA_BROKERS, or set use_kafka = false (CHANNEL_USE_KAFKA)"
        )

    def producer(self) -> KafkaProducer:
        """Make a producer."""
        return KafkaProducer(self.config)

    def source(self, listen: Listen, member: str, *, lasting: bool) -> Source:
        """Make a source."""
        if not listen.group:
            return KafkaListener(listen, self.config)
        return KafkaMember(listen, member, self.config, lasting=lasting)

    def read(self, channel: str, start: Start | Mapping[int, str]) -> Iterator[Delivery]:
        """Give the events of a channel up to its present end."""
        from confluent_kafka import TopicPartition  # noqa: PLC0415 - only where it is turned on

        if start is Start.NEW:
            return
        behind = {} if isinstance(start, Start) else start
        with closing(open_reader(self.config)) as consumer:
            left: dict[int, int] = {}
            places = []
            for number, (low, high) in self._bounds(consumer, channel).items():
                first = max(low, int(behind[number]) + 1) if number in behind else low
                if first < high:
                    left[number] = high
                    places.append(TopicPartition(channel, number, first))
            consumer.assign(places)
            while left:
                for message in consumer.consume(_PAGE, 0.1):
                    if message.error() is not None:
                        raise self._unavailable(message.error().str())
                    number = message.partition()
                    if message.offset() < left.get(number, 0):
                        yield delivery_of(message)
                    if message.offset() + 1 >= left.get(number, 0):
                        left.pop(number, None)

    def _bounds(self, consumer: Any, channel: str) -> dict[int, tuple[int, int]]:  # noqa: ANN401 - a confluent Consumer has no types
        try:
            return bounds(consumer, channel)
        except BrokerDownError as error:
            raise self._unavailable(str(error)) from None

    def begin(self, channel: str, group: str, start: Start) -> None:
        """Give a group its position, unless it has one."""
        from confluent_kafka import Consumer, TopicPartition  # noqa: PLC0415 - only when on

        settings = settings_of(
            self.config, group_id=f"{channel}.{as_name(group)}", enable_auto_commit=False
        )
        early = start is Start.EARLIEST
        try:
            Topics(self.config).ensure(channel)
            with closing(Consumer(settings)) as consumer:
                ends = bounds(consumer, channel)
                places = [TopicPartition(channel, number) for number in ends]
                found = asked(lambda: consumer.committed(places, timeout=ANSWER_SECONDS))
                fresh = [
                    TopicPartition(channel, place.partition, ends[place.partition][not early])
                    for place in found
                    if place.offset < 0
                ]
                if fresh:
                    asked(lambda: consumer.commit(offsets=fresh, asynchronous=False))
        except BrokerDownError as error:
            raise self._unavailable(str(error)) from None

    def lag(self, channel: str, group: str) -> int:
        """Count the events that a group has not handled."""
        from confluent_kafka import Consumer, KafkaException, TopicPartition  # noqa: PLC0415 - only when on

        settings = settings_of(self.config, group_id=f"{channel}.{as_name(group)}")
        with closing(Consumer(settings)) as consumer:
            ends = self._bounds(consumer, channel)
            places = [TopicPartition(channel, number) for number in ends]
            try:
                found = consumer.committed(places, timeout=ANSWER_SECONDS) if places else []
            except KafkaException as error:
                raise self._unavailable(error.args[0].str()) from None
        done = {place.partition: place.offset for place in found}
        return sum(high - max(done[number], low) for number, (low, high) in ends.items())
