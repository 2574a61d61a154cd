"""Model-based tests of what a Kafka consumer keeps for a subscriber that does not want it yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gristmill.channels.intake import Intake, Retries
from gristmill.channels.kafka.prefetched import Prefetched
from gristmill.channels.records import Delivery

pytest.importorskip("confluent_kafka", reason="pauses are told to its consumer")

WINDOW = 4
MANY = 200
PARTITIONS = st.integers(0, 2)


class Consumer:
    """Gives what has come, and knows what is paused, as librdkafka does."""

    def __init__(self) -> None:
        self.paused: set[int] = set()
        self.come: deque[Delivery] = deque()

    def poll(self, seconds: float) -> Delivery | None:
        del seconds
        return self.come.popleft() if self.come else None

    def lose(self, partition: int) -> None:
        self.paused.discard(partition)
        self.come = deque(each for each in self.come if each.partition != partition)

    def consume(self, most: int, seconds: float) -> list[Delivery]:
        assert seconds == 0
        return [self.come.popleft() for _ in range(min(most, len(self.come)))]

    def pause(self, places: list[Any]) -> None:
        assert not self.paused & {place.partition for place in places}, "paused twice"
        self.paused |= {place.partition for place in places}

    def resume(self, places: list[Any]) -> None:
        assert self.paused >= {place.partition for place in places}, "was not paused"
        self.paused -= {place.partition for place in places}


class PrefetchedMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.kept = Prefetched("topic")
        self.intake = Intake(WINDOW, Retries())
        self.intake.open = True
        self.consumer = Consumer()
        self.sent = [0, 0, 0]
        self.got: list[list[int]] = [[], [], []]
        self.handed: list[int] = []
        for partition in range(3):
            self.intake.assign(partition)

    @rule(partition=PARTITIONS, count=st.sampled_from([1, 3, 150]))
    def fetch(self, partition: int, count: int) -> None:
        if partition in self.consumer.paused:
            return
        for _ in range(count):
            self.sent[partition] += 1
            position = str(self.sent[partition])
            self.consumer.come.append(Delivery(partition, position, "", "p", 1, b""))

    @rule()
    def poll(self) -> None:
        self.kept.poll(
            self.consumer, self.intake, 0.0, wanted=self.intake.wanted, read=lambda each: each
        )
        for token, delivery in self.intake.hand_over(0.0):
            self.got[delivery.partition].append(int(delivery.position))
            self.handed.append(token)

    @rule()
    def handle(self) -> None:
        self.intake.handled(self.handed)
        self.handed.clear()

    @rule(partition=PARTITIONS)
    def lose(self, partition: int) -> None:
        """A partition moves on, and comes back where it was left."""
        self.kept.forget(partition)
        self.intake.revoke(partition)
        self.consumer.lose(partition)
        self.intake.assign(partition)
        self.sent[partition] = max(self.got[partition], default=0)

    @rule()
    def connect(self) -> None:
        come, self.consumer = self.consumer.come, Consumer()
        self.consumer.come = come  # a new connection begins where the old one was
        self.kept.connected()

    @invariant()
    def each_once_and_in_order(self) -> None:
        for got in self.got:
            assert got == list(range(1, len(got) + 1))

    @invariant()
    def no_more_is_open_than_is_wanted(self) -> None:
        assert self.intake.in_hand <= WINDOW

    def teardown(self) -> None:
        """Handled to the end, everything has come, and nothing stays paused."""
        while self.consumer.come or self.kept or self.handed or not self.intake.idle:
            self.poll()
            self.handle()
            for partition, done in self.intake.to_acknowledge().items():
                self.intake.acknowledged(partition, len(done))
        self.kept.pause(self.consumer)
        assert [len(got) for got in self.got] == self.sent
        assert not self.consumer.paused


PrefetchedMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestPrefetched = PrefetchedMachine.TestCase


def test_a_partition_is_paused_only_when_much_of_it_is_kept() -> None:
    kept, consumer = Prefetched("topic"), Consumer()
    for number in range(MANY - 1):
        kept.add(Delivery(0, str(number), "", "p", 1, b""))
    kept.add(Delivery(1, "0", "", "p", 1, b""))
    kept.pause(consumer)
    assert consumer.paused == set()
    kept.add(Delivery(0, str(MANY), "", "p", 1, b""))
    kept.pause(consumer)
    assert consumer.paused == {0}


class Hurried(Intake):
    """Nobody waits for it in vain."""

    def wait(self, seconds: float, until: Callable[[], bool] | None = None) -> None:
        del seconds
        assert until is not None
        assert until(), "waits, and the subscriber has nothing in hand"


def test_what_is_kept_goes_to_the_subscriber_before_anybody_waits() -> None:
    kept, intake, consumer = Prefetched("topic"), Hurried(WINDOW, Retries()), Consumer()
    intake.assign(0)
    intake.open = True
    for number in range(4 * WINDOW):
        consumer.come.append(Delivery(0, str(number), "", "p", 1, b""))
    got: list[str] = []
    while len(got) < 3 * WINDOW:
        assert kept.poll(consumer, intake, 1.0, wanted=intake.wanted, read=lambda each: each)
        handed = intake.hand_over(0.0)
        got += [delivery.position for _, delivery in handed]
        intake.handled([token for token, _ in handed])
    assert got == list(map(str, range(3 * WINDOW)))
