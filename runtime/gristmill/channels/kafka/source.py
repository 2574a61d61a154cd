"""``KafkaMember``: a member of a consumer group. It polls all the time, whatever handlers do.

So it is never put out for being slow: what is not wanted yet is kept here. What is committed is the
offset behind a prefix that was handled, never automatically.

Kafka does not count how often a record was delivered. So the metadata of a committed offset says
how often a member has begun there and got no further: a record that kills whoever handles it is
found, as with Redis.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from gristmill.channels.contract import Listen, Start, dead_letter_channel
from gristmill.channels.driver import BrokerDownError
from gristmill.channels.intake import Intake
from gristmill.channels.kafka.client import (
    ANSWER_SECONDS,
    Topics,
    as_name,
    asked,
    delivery_of,
    settings_of,
)
from gristmill.channels.kafka.prefetched import Prefetched
from gristmill.channels.kafka.producer import KafkaProducer
from gristmill.channels.records import DeadRecord, Delivery, Publication
from gristmill.config import ChannelConfig

_COMMIT_EVERY = 0.05
_REVOKE_SECONDS = 5.0
"""How long others wait for the handler in progress when a partition is to move to them."""
_CAREFUL = 200
"""Records that are handled one by one, each committed, after a member has died in a partition."""

_log = logging.getLogger("gristmill.channels")


class KafkaMember:
    """Reads the partitions that the group assigns to it."""

    def __init__(
        self, listen: Listen, member: str, config: ChannelConfig, *, lasting: bool
    ) -> None:
        self._config = config
        self._topic = listen.channel
        self._start = listen.start
        session = int(config.kafka_session_seconds * 1000)
        settings = settings_of(
            config,
            group_id=f"{listen.channel}.{as_name(listen.group)}",
            enable_auto_commit=False,
            enable_auto_offset_store=False,
            auto_offset_reset=listen.start if listen.start is Start.EARLIEST else "latest",
            partition_assignment_strategy="cooperative-sticky",
            session_timeout_ms=session,
            heartbeat_interval_ms=max(session // 4, 100),
            max_poll_interval_ms=max(session, 300_000),
            fetch_wait_max_ms=100,
            queued_max_messages_kbytes=16_384,
        )
        settings["on_commit"] = self._committed
        if lasting:
            settings["group.instance.id"] = as_name(member)
        self._settings = settings
        self._consumer: Any = None
        self._producer: KafkaProducer | None = None
        self._intake: Intake | None = None
        self._prefetched = Prefetched(listen.channel)
        self._offsets: dict[int, int] = {}
        """The offset of each partition behind what was handled."""
        self._deaths: dict[int, tuple[int, int]] = {}
        """(offset, how often members have died there), by partition."""
        self._careful: dict[int, int] = {}
        """How many records of a partition are still to be handled one by one."""
        self._uncommitted: set[int] = set()
        self._commit_at = 0.0
        self._failure: BrokerDownError | None = None
        """What has gone wrong in a callback."""
        self.lost = 0

    # --- fetching ---

    def poll(self, intake: Intake, seconds: float) -> bool:
        """Acknowledge, fetch what there is; serve the group, heartbeats and rebalances."""
        self._intake = intake
        if self._consumer is None:
            self._connect()
        self.acknowledge(intake)
        more = self._prefetched.poll(
            self._consumer, intake, seconds, wanted=self._wanted, read=self._read
        )
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        return more

    def _connect(self) -> None:
        from confluent_kafka import Consumer  # noqa: PLC0415 - only where it is turned on

        Topics(self._config).ensure(self._topic)
        self._consumer = Consumer(self._settings)
        self._prefetched.connected()
        self._consumer.subscribe(
            [self._topic],
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_lost,
        )

    def _read(self, message: Any) -> Delivery | None:  # noqa: ANN401 - a confluent Message
        error = message.error()
        if error is not None:
            from confluent_kafka import KafkaError  # noqa: PLC0415 - only where it is turned on

            if error.code() == KafkaError._FATAL:  # noqa: SLF001 - public, though named like that
                raise BrokerDownError(error.str())
            _log.debug("kafka, %s: %s", self._topic, error.str())
            return None
        offset, deaths = self._deaths.get(message.partition(), (-1, 0))
        return delivery_of(message, deaths if message.offset() == offset else 0)

    def _wanted(self, partition: int) -> int:
        """Give how many records of a partition are wanted now; one by one where care is taken."""
        intake = self._intake
        if intake is None:
            return 0
        if self._careful.get(partition):
            return not intake.has_open(partition)
        return intake.wanted(partition)

    def _place(self, partition: int, offset: int | None = None, metadata: str = "") -> Any:  # noqa: ANN401 - a confluent TopicPartition
        from confluent_kafka import TopicPartition  # noqa: PLC0415 - only where it is turned on

        if offset is None:
            return TopicPartition(self._topic, partition)
        return TopicPartition(self._topic, partition, offset, metadata)

    # --- partitions ---

    def _on_assign(self, consumer: Any, places: list[Any]) -> None:  # noqa: ANN401 - confluent's own
        """Begin where the group is; note there that somebody has begun."""
        if not places or self._intake is None:
            return
        try:
            for place in places:
                self._begin(consumer, place)
        except BrokerDownError as error:  # one that leaves a callback can't be caught
            self._failure = error
            return
        assigned = [self._place(p.partition, self._offsets[p.partition]) for p in places]
        consumer.incremental_assign(assigned)
        begun = {p.partition: self._deaths[p.partition][1] + 1 for p in places}
        self._commit(begun, wait=True)

    def _begin(self, consumer: Any, place: Any) -> None:  # noqa: ANN401 - confluent's own
        """Find out where the group is in a partition."""
        partition = place.partition
        (found,) = asked(lambda: consumer.committed([place], timeout=ANSWER_SECONDS))
        offset = found.offset
        deaths = int(found.metadata) if (found.metadata or "").isdigit() else 0
        if offset < 0:
            low, high = asked(lambda: consumer.get_watermark_offsets(place, ANSWER_SECONDS))
            offset, deaths = (low if self._start is Start.EARLIEST else high), 0
        self._offsets[partition] = offset
        self._deaths[partition] = (offset, deaths)
        if deaths:
            self._careful[partition] = _CAREFUL
        if self._intake is not None:
            self._intake.assign(partition)

    def _on_revoke(self, consumer: Any, places: list[Any]) -> None:  # noqa: ANN401 - confluent's own
        """Let the handler in progress finish, and commit, before somebody else begins."""
        intake, partitions = self._intake, [place.partition for place in places]
        if intake is not None and partitions:
            until = time.monotonic() + _REVOKE_SECONDS
            while sum(map(intake.withdraw, partitions)) and time.monotonic() < until:
                intake.wait(0.02)
            self._advance(intake)
            self._commit(dict.fromkeys(partitions, 0), wait=True)
            self._forget(intake, partitions)
        consumer.incremental_unassign(places)

    def _on_lost(self, consumer: Any, places: list[Any]) -> None:  # noqa: ANN401 - confluent's own
        """The group has gone on without this member: what is open here belongs to others."""
        if self._intake is not None:
            self._forget(self._intake, [place.partition for place in places])
        consumer.incremental_unassign(places)

    def _forget(self, intake: Intake, partitions: list[int]) -> None:
        for partition in partitions:
            intake.revoke(partition)
            self._prefetched.forget(partition)
            self._careful.pop(partition, None)
            self._uncommitted.discard(partition)
            self._offsets.pop(partition, None)
            self._deaths.pop(partition, None)

    # --- what was handled ---

    def acknowledge(self, intake: Intake) -> None:
        """Commit the offset behind what was handled; now and then, or at once after a death."""
        done = self._advance(intake)
        careful = [p for p in done if self._careful.get(p)]
        if careful:
            for partition in careful:
                self._careful[partition] -= 1
            self._commit(dict.fromkeys(careful, 0), wait=True)
        if self._uncommitted and time.monotonic() >= self._commit_at:
            self._commit(dict.fromkeys(self._uncommitted, 0), wait=False)

    def _advance(self, intake: Intake) -> list[int]:
        """Note what was handled; give the partitions in which something was."""
        done = intake.to_acknowledge()
        for partition, deliveries in done.items():
            self._offsets[partition] = int(deliveries[-1].position) + 1
            self._uncommitted.add(partition)
            intake.acknowledged(partition, len(deliveries))
        return list(done)

    def _commit(self, begun: dict[int, int], *, wait: bool) -> None:
        """Commit where partitions are, with how often somebody has begun there."""
        from confluent_kafka import KafkaException  # noqa: PLC0415 - only where it is turned on

        self._commit_at = time.monotonic() + _COMMIT_EVERY
        self._uncommitted -= set(begun)
        offsets = [self._place(p, self._offsets[p], str(times)) for p, times in begun.items()]
        try:
            self._consumer.commit(offsets=offsets, asynchronous=not wait)
        except KafkaException as error:  # not tried again: a later one says more
            self._committed(error.args[0], offsets)

    def _committed(self, error: Any, _places: list[Any]) -> None:  # noqa: ANN401 - confluent's own
        if error is not None:
            text = "kafka, %s: a commit was refused, its events may come again: %s"
            _log.warning(text, self._topic, error.str())

    def bury(self, dead: DeadRecord) -> None:
        """Put an event into the dead-letter channel; its offset is committed behind that."""
        self._producer = self._producer or KafkaProducer(self._config)
        bury(self._producer, dead)

    # --- connection ---

    def close(self, intake: Intake) -> None:
        """Leave in order."""
        if self._consumer is not None:
            self._advance(intake)
            if self._offsets:
                self._commit(dict.fromkeys(self._offsets, 0), wait=True)
        self.drop()

    def drop(self) -> None:
        """Let go of the connection."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            intake, self._intake = self._intake, None
            consumer.close()
            if intake is not None:
                self._forget(intake, list(intake.partitions))
        if self._producer is not None:
            self._producer.close()
            self._producer = None


def bury(producer: KafkaProducer, dead: DeadRecord) -> None:
    """Publish an event to the dead-letter channel of its own, with where it came from and why.

    Raises:
        BrokerDownError: that did not work in time.
    """
    delivery = dead.delivery
    letter = Publication(
        dead_letter_channel(dead.channel), delivery.key, delivery.publisher, 0, delivery.body
    )
    producer.publish_now(letter, dead.headers(), ANSWER_SECONDS)
