"""Kafka, row by row: members of a group against a broker, stepped by hand."""

# ruff: noqa: N802 - tests carry the ids of their rows

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import Mock

import msgspec
import pytest
from confluent_kafka import Consumer, TopicPartition

from gristmill.channels import Listen, Start
from gristmill.channels.driver import BrokerDownError, BrokerRefusedError
from gristmill.channels.intake import Intake, Retries
from gristmill.channels.kafka.driver import KafkaDriver
from gristmill.channels.kafka.source import KafkaMember
from gristmill.channels.records import Delivery, Publication
from gristmill.config import ChannelConfig
from support.brokers import needs_real
from support.kafka_broker import KafkaBroker
from support.waiting import eventually

_names = (f"kafka-rows-{number}" for number in itertools.count())
GROUP = "g"


@pytest.fixture
def driver(kafka_config: ChannelConfig) -> KafkaDriver:
    return KafkaDriver(kafka_config)


@pytest.fixture
def channel() -> str:
    return next(_names)


class Member:
    """A member of a group on a thread of its own, whose handlers are the test."""

    def __init__(
        self, driver: KafkaDriver, channel: str, name: str, *, lasting: bool = False
    ) -> None:
        self.intake = Intake(100, Retries(3, 0.0))
        self.intake.open = True
        source = driver.source(Listen(channel, GROUP, Start.EARLIEST), name, lasting=lasting)
        assert isinstance(source, KafkaMember)
        self.source = source
        self.handed: dict[int, Delivery] = {}
        self.all: list[Delivery] = []
        self.handle: Callable[[Delivery], bool] = lambda _: True
        self._stop = threading.Event()
        self._died = False
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self.source.poll(self.intake, 0.02)
                for token, delivery in self.intake.hand_over(time.monotonic()):
                    self.all.append(delivery)
                    self.handed[token] = delivery
                for token, delivery in list(self.handed.items()):
                    if self.handle(delivery):
                        self.intake.handled([token])
                        del self.handed[token]
                self.source.acknowledge(self.intake)
            if not self._died:
                self.source.close(self.intake)
        except BaseException as error:  # told to the test
            self.error = error

    def numbers(self) -> list[int]:
        return [delivery.number for delivery in self.all]

    def close(self) -> None:
        self._stop.set()
        self._thread.join(20)
        assert self.error is None, self.error

    def die(self) -> None:
        """Poll no more and leave nothing behind, as after a SIGKILL of a static member."""
        self._died = True
        self._stop.set()
        self._thread.join(20)


@pytest.fixture
def join(driver: KafkaDriver, channel: str) -> Iterator[Callable[..., Member]]:
    members: list[Member] = []

    def make(name: str, **options: bool) -> Member:
        members.append(Member(driver, channel, name, **options))
        return members[-1]

    yield make
    for member in members:
        member.close()


def publish(driver: KafkaDriver, channel: str, first: int, last: int, key: str = "k") -> None:
    producer = driver.producer()
    producer.send([Publication(channel, key, "p", n, b"x") for n in range(first, last + 1)])


def committed(config: ChannelConfig, channel: str, partition: int) -> Any:
    settings = {
        "bootstrap.servers": ",".join(config.kafka_brokers), "group.id": f"{channel}.{GROUP}",
    }  # fmt: skip
    consumer = Consumer(settings)
    try:
        (place,) = consumer.committed([TopicPartition(channel, partition)], timeout=10)
        return place
    finally:
        consumer.close()


def test_KF01_KF03_what_is_committed_is_the_offset_behind_a_handled_prefix(
    driver: KafkaDriver, channel: str, join: Callable[..., Member]
) -> None:
    publish(driver, channel, 1, 5)
    member = join("a")
    member.handle = lambda delivery: delivery.number != 3  # the third is still being handled
    eventually(lambda: len(member.all) == 5, "all are fetched", 20)
    partition = member.all[0].partition
    eventually(lambda: committed(driver.config, channel, partition).offset == 2, "o+1", 10)
    member.handle = lambda _: True
    eventually(lambda: committed(driver.config, channel, partition).offset == 5, "o+1", 10)


def test_KF02_what_was_handled_and_not_committed_comes_again(
    driver: KafkaDriver, channel: str, join: Callable[..., Member], kafka_broker: KafkaBroker
) -> None:
    needs_real(kafka_broker)
    publish(driver, channel, 1, 4)
    first = join("a", lasting=True)
    first.handle = lambda delivery: delivery.number <= 2
    eventually(lambda: len(first.all) == 4, "all are fetched", 20)
    partition = first.all[0].partition
    eventually(lambda: committed(driver.config, channel, partition).offset == 2, "two", 10)
    first.die()
    again = join("a", lasting=True)
    eventually(lambda: again.numbers() == [3, 4], "the rest comes again", 20)
    assert [delivery.deaths for delivery in again.all] == [0, 0], "the first died further back"


def murmur2(data: bytes) -> int:
    """Hash as Java's DefaultPartitioner does: MurmurHash2 (Appleby), seed 0x9747b28c."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    value = 0x9747B28C ^ len(data)
    whole = len(data) // 4 * 4
    for place in range(0, whole, 4):
        k = int.from_bytes(data[place : place + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        value = value * m & mask ^ k
    rest = data[whole:]
    if rest:
        value = (value ^ int.from_bytes(rest, "little")) * m & mask
    value = (value ^ value >> 13) * m & mask
    return value ^ value >> 15


def test_KF05_a_key_has_one_partition_the_same_as_for_javas_clients(
    driver: KafkaDriver, channel: str
) -> None:
    keys = ["", "a", "order-1", "01HXZ8J5T8M0000000000000AB", "schlüssel"]
    for number, key in enumerate(keys * 3, start=1):
        publish(driver, channel, number, number, key)
    found = list(driver.read(channel, Start.EARLIEST))
    assert len(found) == 15
    for key in keys:
        mine = [delivery for delivery in found if delivery.key == key]
        expected = (murmur2(key.encode()) & 0x7FFFFFFF) % driver.config.partitions
        assert {delivery.partition for delivery in mine} == {expected}
        assert [d.number for d in mine] == sorted(d.number for d in mine)


def shared(*members: Member) -> bool:
    parts = [member.intake.partitions for member in members]
    return all(parts) and sum(map(len, parts)) == 4 and len(frozenset().union(*parts)) == 4


_OTHER_MEMBER = f"""
import sys
from confluent_kafka import Consumer
consumer = Consumer({{
    "bootstrap.servers": sys.argv[1], "group.id": f"{{sys.argv[2]}}.{GROUP}",
    "partition.assignment.strategy": "cooperative-sticky", "session.timeout.ms": 2000,
}})
consumer.subscribe([sys.argv[2]])
said = 0
while True:
    consumer.poll(0.05)
    if len(consumer.assignment()) != said:
        said = len(consumer.assignment())
        print(said, flush=True)
"""
"""A member of another process, which says how many partitions it has."""


def test_KF06_partitions_are_divided_and_those_of_the_dead_go_to_the_survivor(
    driver: KafkaDriver, channel: str, join: Callable[..., Member], kafka_broker: KafkaBroker
) -> None:
    needs_real(kafka_broker)
    survivor = join("survivor")
    eventually(lambda: len(survivor.intake.partitions) == 4, "alone it has all", 20)
    member = subprocess.Popen(
        [sys.executable, "-c", _OTHER_MEMBER, driver.config.kafka_brokers[0], channel],
        stdout=subprocess.PIPE,
    )
    try:
        assert member.stdout is not None
        assert member.stdout.readline() == b"2\n"
        eventually(lambda: len(survivor.intake.partitions) == 2, "a disjoint cover", 20)
    finally:
        member.kill()
        member.communicate()
    eventually(lambda: survivor.intake.partitions == {0, 1, 2, 3}, "the survivor has all", 20)


def test_KF07_a_handler_in_progress_is_finished_and_committed_before_the_partition_moves(
    driver: KafkaDriver,
    channel: str,
    join: Callable[..., Member],
    kafka_broker: KafkaBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    needs_real(kafka_broker)
    for number in range(1, 21):
        publish(driver, channel, number, number, key=f"key-{number}")
    first = join("first")
    first.handle = lambda _: False
    eventually(lambda: len(first.all) == 20, "all are fetched", 20)
    begun = {d.partition: (t, d) for t, d in reversed(first.handed.items())}
    asked = Mock(side_effect=first.intake.withdraw)
    monkeypatch.setattr(first.intake, "withdraw", asked)
    for token, _ in begun.values():
        assert first.intake.begin(token)  # one handler runs in each partition
    assert len(begun) == 4
    second = join("second")
    second.handle = lambda _: True
    # it is to give some up, and looks again and again whether their handlers still run
    eventually(lambda: asked.call_count > 20, "the first waits for its handlers", 20)
    assert not second.intake.partitions & first.intake.partitions
    assert second.all == []
    for token, _ in begun.values():
        first.intake.handled([token])
    eventually(lambda: shared(first, second), "some have moved", 20)
    eventually(lambda: second.all, "the second has some", 20)
    done = {delivery.number for _, delivery in begun.values()}
    assert not done & set(second.numbers()), "what was handled does not come again"


def test_KF09_a_member_of_an_old_generation_is_told_and_joins_anew(
    driver: KafkaDriver, channel: str, join: Callable[..., Member], kafka_broker: KafkaBroker
) -> None:
    needs_real(kafka_broker)
    publish(driver, channel, 1, 3)
    old = join("a", lasting=True)
    old.handle = lambda _: False
    eventually(lambda: len(old.all) == 3, "all are fetched", 20)
    new = join("a", lasting=True)  # the same static member: the old one is fenced
    eventually(lambda: new.numbers() == [1, 2, 3], "they come again", 20)
    eventually(lambda: old.error, "the old one is told", 20)
    assert isinstance(old.error, BrokerDownError), "its consumer connects again"
    old.error = None


def test_KF10_a_slow_handler_costs_no_membership(
    driver: KafkaDriver, channel: str, join: Callable[..., Member], kafka_broker: KafkaBroker
) -> None:
    needs_real(kafka_broker)
    publish(driver, channel, 1, 300)
    member = join("slow")
    until = time.monotonic() + 2 * driver.config.kafka_session_seconds
    member.handle = lambda _: time.monotonic() > until
    eventually(lambda: member.all, "some are fetched", 20)
    assert len(member.handed) <= 100, "no more than the window is taken in"
    partitions = member.intake.partitions
    eventually(lambda: len(member.all) == 300, "the rest comes when there is room", 20)
    assert time.monotonic() > until
    assert member.intake.partitions == partitions
    assert member.numbers() == list(range(1, 301)), "nothing came twice"


def test_KF13_another_session_is_deduplicated_by_the_subscribers_mark(
    driver: KafkaDriver, channel: str
) -> None:
    publish(driver, channel, 1, 2)
    publish(driver, channel, 2, 3)
    found = list(driver.read(channel, Start.EARLIEST))
    assert [d.number for d in found] == [1, 2, 2, 3], "the broker does not know a new session"
    assert {d.publisher for d in found} == {"p"}, "but who handles them does"


def test_KF15_a_rebalance_that_waits_for_a_handler_blocks_no_fetch_of_others(
    driver: KafkaDriver, channel: str, join: Callable[..., Member], kafka_broker: KafkaBroker
) -> None:
    needs_real(kafka_broker)
    one, two = join("one"), join("two")
    eventually(lambda: shared(one, two), "a disjoint cover", 20)
    three = join("three")
    eventually(lambda: shared(one, two, three), "three share", 20)
    for number in range(1, 41):
        publish(driver, channel, number, number, key=f"key-{number}")
    eventually(
        lambda: sorted(one.numbers() + two.numbers() + three.numbers()) == list(range(1, 41)),
        "all came once", 20,
    )  # fmt: skip


def test_an_event_that_kafka_never_takes_is_refused_and_the_others_are_not(
    driver: KafkaDriver, channel: str
) -> None:
    producer = driver.producer()
    good = Publication(channel, "k", "p", 1, b"x")
    for bad in (
        msgspec.structs.replace(good, body=b"x" * 2_000_000),
        msgspec.structs.replace(good, channel="no topic/of this name"),
    ):
        with pytest.raises(BrokerRefusedError) as caught:
            producer.send([good, bad, good])
        assert caught.value.sent == 1
    assert len(list(driver.read(channel, Start.EARLIEST))) >= 2
    producer.close()


def test_KF12_the_producer_is_idempotent_with_all_acknowledgements(
    driver: KafkaDriver, channel: str, kafka_broker: KafkaBroker
) -> None:
    """Stop the broker's process while a batch is on its way: its requests are sent again."""
    needs_real(kafka_broker)
    publish(driver, channel, 1, 1)
    producer = driver.producer()
    stop = threading.Event()

    def trouble() -> None:
        while not stop.wait(0.05):
            kafka_broker.pause(0.1)

    thread = threading.Thread(target=trouble)
    thread.start()
    for first in range(2, 2002, 200):
        producer.send([Publication(channel, "k", "p", n, b"x") for n in range(first, first + 200)])
    stop.set()
    thread.join()
    producer.close()
    numbers = [d.number for d in driver.read(channel, Start.EARLIEST)]
    assert numbers == list(range(1, 2002))
