"""``Prefetched``: records that a consumer has fetched and its subscriber does not want yet.

Partitions of which much is here are paused, so that a consumer can be polled all the time, however
slow handlers are. Only those: a pause makes librdkafka fetch again what it had fetched already.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from gristmill.channels.intake import Intake
from gristmill.channels.records import Delivery

_PAGE = 200
"""Records that are taken from librdkafka at once, beside the first."""
_MANY = 200
"""Records of a partition that are kept here before it is paused."""


class Prefetched:
    """Keeps records in order, by partition.

    Args:
        topic: of all of them.
    """

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._kept: dict[int, deque[Delivery]] = {}
        self._paused: set[int] = set()

    def __len__(self) -> int:
        """How many partitions have records here."""
        return len(self._kept)

    def poll(
        self,
        consumer: Any,  # noqa: ANN401 - a confluent Consumer has no types
        intake: Intake,
        seconds: float,
        *,
        wanted: Callable[[int], int],
        read: Callable[[Any], Delivery | None],
    ) -> bool:
        """Hand over what is wanted, else wait until something is or comes, and serve the group.

        Args:
            consumer: polled, unless something that is kept is wanted.
            intake: gets what is wanted.
            seconds: how long to wait.
            wanted: tells how many more records of a partition are wanted now.
            read: gives a message as a delivery; None for one that is none.

        Returns:
            Whether more may be there already.

        Raises what ``read`` raises.
        """
        if self.feed(intake, wanted):
            return True  # the subscriber gets that first
        self.pause(consumer)
        if self._kept:
            intake.wait(seconds, lambda: any(wanted(partition) > 0 for partition in self._kept))
            seconds = 0.0
        message = consumer.poll(seconds)
        page = [] if message is None else [message, *consumer.consume(_PAGE, 0)]
        own = intake.partitions
        for each in page:
            delivery = read(each)
            if delivery is not None and delivery.partition in own:
                self.add(delivery)
        self.feed(intake, wanted)
        return bool(self._kept) or len(page) > _PAGE

    def add(self, delivery: Delivery) -> None:
        """Keep a record."""
        self._kept.setdefault(delivery.partition, deque()).append(delivery)

    def feed(self, intake: Intake, wanted: Callable[[int], int]) -> bool:
        """Hand over what is wanted; give whether anything was."""
        fed = False
        for partition, kept in list(self._kept.items()):
            while kept and (most := wanted(partition)) > 0:
                intake.receive([kept.popleft() for _ in range(min(most, len(kept)))])
                fed = True
            if not kept:
                del self._kept[partition]
        return fed

    def pause(self, consumer: Any) -> None:  # noqa: ANN401 - a confluent Consumer has no types
        """Pause partitions of which much is kept; go on with those of which nothing is any more."""
        full = {p for p, kept in self._kept.items() if len(kept) >= _MANY} - self._paused
        drained = self._paused - set(self._kept)
        if full:
            consumer.pause(self._places(full))
        if drained:
            consumer.resume(self._places(drained))
        self._paused = (self._paused | full) - drained

    def _places(self, partitions: set[int]) -> list[Any]:
        from confluent_kafka import TopicPartition  # noqa: PLC0415 - only where it is turned on

        return [TopicPartition(self._topic, partition) for partition in partitions]

    def forget(self, partition: int) -> None:
        """Drop what there is of a partition, which is somebody else's from now on."""
        self._kept.pop(partition, None)
        self._paused.discard(partition)

    def connected(self) -> None:
        """The consumer is a new one, in which nothing is paused."""
        self._paused.clear()
