"""``KafkaProducer``: idempotent, with the acknowledgement of all replicas in sync."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gristmill.channels.driver import BrokerDownError, BrokerRefusedError
from gristmill.channels.kafka.client import NUMBER, PUBLISHER, Topics, settings_of
from gristmill.channels.records import Publication
from gristmill.config import ChannelConfig

_POLL = 0.1


class KafkaProducer:
    """Publishes in order; librdkafka tries again by itself for as long as a broker is away."""

    def __init__(self, config: ChannelConfig) -> None:
        from confluent_kafka import KafkaException, Producer  # noqa: PLC0415 - only where it is turned on

        self._failure = KafkaException
        self._topics = Topics(config)
        self._interrupted = False
        self._producer: Any = Producer(
            settings_of(
                config,
                enable_idempotence=True,  # implies acks=all, and at most 5 requests in flight
                message_timeout_ms=0,
                linger_ms=1000,  # a batch is complete when it is flushed, which ends the wait
                partitioner="murmur2_random",  # as Java's clients do it
            )
        )

    def send(self, batch: Sequence[Publication]) -> None:
        """Publish events in order, and wait until they are safe."""
        reports: list[tuple[int, Any]] = []
        sent = 0
        refusal = ""
        for event in batch:
            headers = {PUBLISHER: event.publisher, NUMBER: str(event.number)}
            refusal = self._produce(event, headers, sent, reports)
            if refusal:
                break
            sent += 1
        while len(reports) < sent:
            if self._interrupted:
                self._producer.purge()
                raise BrokerDownError("no broker has answered")
            self._producer.flush(_POLL)
        failed = sorted((place, error) for place, error in reports if error is not None)
        if failed:
            place, error = failed[0]
            if error.code() in _too_large():
                raise BrokerRefusedError(place, error.str())
            raise BrokerDownError(error.str())
        if refusal:
            raise BrokerRefusedError(sent, refusal)

    def _produce(
        self,
        event: Publication,
        headers: dict[str, str],
        place: int,
        reports: list[tuple[int, Any]],
    ) -> str:
        """Hand an event to librdkafka; give why it never can be, else nothing."""
        try:
            self._topics.ensure(event.channel)
            while True:
                try:
                    self._producer.produce(
                        event.channel,
                        event.body,
                        event.key.encode(),
                        headers=headers,
                        on_delivery=lambda error, _: reports.append((place, error)),
                    )
                except BufferError:  # its queue is full
                    self._producer.poll(_POLL)
                else:
                    return ""
        except ValueError as error:
            return str(error)
        except self._failure as error:
            if error.args[0].code() in _too_large():
                return str(error.args[0].str())
            raise BrokerDownError(error.args[0].str()) from error

    def publish_now(self, event: Publication, headers: Mapping[str, str], seconds: float) -> None:
        """Publish one event with headers of its own.

        Raises:
            BrokerDownError: that did not work within ``seconds``.
        """
        reports: list[tuple[int, Any]] = []
        own = {PUBLISHER: event.publisher, NUMBER: str(event.number)}
        refusal = self._produce(event, own | dict(headers), 0, reports)
        self._producer.flush(seconds)
        if refusal or not reports or reports[0][1] is not None:
            self._producer.purge()
            raise BrokerDownError(refusal or f"{event.channel!r} did not take an event")

    def interrupt(self) -> None:
        """Have a :meth:`send` under way give up; from any thread."""
        self._interrupted = True

    def close(self) -> None:
        """Let go of the connection."""
        self._producer.purge()
        self._producer.poll(0)


def _too_large() -> tuple[int, ...]:
    from confluent_kafka import KafkaError  # noqa: PLC0415 - only where it is turned on

    return (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE, KafkaError.TOPIC_EXCEPTION)
