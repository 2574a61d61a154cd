"""The bookkeeping of subscriptions against a model: nothing lost, order kept, prefixes only."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gristmill.channels.intake import Intake, Retries
from gristmill.channels.records import Delivery
from gristmill.channels.sharing import partition_of, share_of, to_change

RETRIES = Retries(attempts=3, delay=1.0, longest=4.0)
SPARED = b"spared"
"""The body of an event that the subscriber has nothing to do with."""
PARTITIONS = st.integers(0, 2)


class IntakeMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.intake = Intake(4, RETRIES, lambda delivery: delivery.body != SPARED)
        self.now = 0.0
        self.sent = [0, 0, 0]
        self.handed: dict[int, Delivery] = {}
        self.handled: set[tuple[int, str]] = set()
        self.buried: set[tuple[int, str]] = set()
        self.acknowledged: list[list[str]] = [[], [], []]
        self.since: list[list[str]] = [[], [], []]
        """Positions received since the partition was assigned."""

    @rule(partition=PARTITIONS)
    def assign(self, partition: int) -> None:
        if partition not in self.intake.partitions:
            self.intake.assign(partition)
            self.since[partition] = []
            self.acknowledged[partition] = []

    @rule(partition=PARTITIONS)
    def revoke(self, partition: int) -> None:
        self.intake.revoke(partition)
        gone = [t for t, d in self.handed.items() if d.partition == partition]
        for token in gone:
            assert not self.intake.is_current(token)
            self.intake.handled([token])  # somebody else's by now
            del self.handed[token]

    @rule(
        partition=PARTITIONS,
        deaths=st.sampled_from([0, 0, 0, 1, 3]),
        body=st.sampled_from([b"", SPARED]),
    )
    def receive(self, partition: int, deaths: int, body: bytes) -> None:
        if self.intake.wanted(partition) > 0:
            self.sent[partition] += 1
            position = str(self.sent[partition])
            self.intake.receive([Delivery(partition, position, "", "p", 1, body, deaths)])
            if partition in self.intake.partitions:
                self.since[partition].append(position)
                assert self.intake.take_spared() == (body == SPARED)
                if body == SPARED:
                    self.handled.add((partition, position))

    @rule()
    def hand_over(self) -> None:
        self.intake.open = True
        for token, delivery in self.intake.hand_over(self.now):
            before = self.since[delivery.partition]
            for position in before[: before.index(delivery.position)]:
                key = (delivery.partition, position)
                waits = [d for d in self.handed.values() if (d.partition, d.position) == key]
                assert waits or key in self.handled | self.buried, "it overtook another"
            self.handed[token] = delivery

    @precondition(lambda self: self.handed)
    @rule(data=st.data())
    def handled_one(self, data: st.DataObject) -> None:
        token = data.draw(st.sampled_from(sorted(self.handed)))
        delivery = self.handed.pop(token)
        self.intake.handled([token])
        assert not self.intake.is_current(token)
        self.handled.add((delivery.partition, delivery.position))

    @precondition(lambda self: self.handed)
    @rule(data=st.data(), final=st.booleans())
    def failed_one(self, data: st.DataObject, final: bool) -> None:
        token = data.draw(st.sampled_from(sorted(self.handed)))
        delivery = self.handed.pop(token)
        assert self.intake.failed(token, "no", self.now, final=final)
        order = self.since[delivery.partition]
        place = order.index(delivery.position)
        for other, behind in list(self.handed.items()):
            if behind.partition == delivery.partition and order.index(behind.position) > place:
                assert not self.intake.is_current(other)
                del self.handed[other]

    @rule()
    def subscriber_ends(self) -> None:
        self.intake.returned()
        assert not any(self.intake.is_current(token) for token in self.handed)
        assert self.intake.hand_over(self.now) == []
        self.handed.clear()

    @rule()
    def bury(self) -> None:
        for delivery, attempts, reason in self.intake.dead():
            assert attempts >= 1
            assert reason
            self.intake.buried(delivery)
            self.buried.add((delivery.partition, delivery.position))

    @rule(count=st.integers(1, 3))
    def acknowledge(self, count: int) -> None:
        for partition, done in self.intake.to_acknowledge().items():
            some = done[:count]
            self.intake.acknowledged(partition, len(some))
            self.acknowledged[partition] += [d.position for d in some]

    @rule(seconds=st.floats(0.0, 5.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def what_is_acknowledged_is_a_handled_prefix(self) -> None:
        for partition in self.intake.partitions:
            done = self.acknowledged[partition]
            assert self.since[partition][: len(done)] == done
            settled = self.handled | self.buried
            assert all((partition, position) in settled for position in done)

    @invariant()
    def no_more_than_the_window_is_in_hand(self) -> None:
        assert self.intake.in_hand == len(self.handed) <= 4

    def teardown(self) -> None:
        """In the end everything that was received is acknowledged or dead."""
        self.intake.open = True
        for _ in range(100):
            self.now += 10.0
            for token, _ in self.intake.hand_over(self.now):
                self.handed[token] = _
            for token in list(self.handed):
                self.handled_one_for_good(token)
            self.bury()
            self.acknowledge(100)
            if self.intake.idle:
                break
        assert self.intake.idle
        for partition in self.intake.partitions:
            assert self.acknowledged[partition] == self.since[partition]

    def handled_one_for_good(self, token: int) -> None:
        delivery = self.handed.pop(token)
        self.intake.handled([token])
        self.handled.add((delivery.partition, delivery.position))


TestIntake: Any = IntakeMachine.TestCase
TestIntake.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


@given(st.integers(1, 1000))
def test_delays_double_up_to_a_limit(failures: int) -> None:
    delay = RETRIES.after(failures)
    assert delay == min(2.0 ** (failures - 1), 4.0)


@given(st.sets(st.text(max_size=5), min_size=1, max_size=9), st.integers(1, 64))
def test_members_share_partitions_evenly_and_wholly(members: set[str], partitions: int) -> None:
    shares = [share_of(member, members, partitions) for member in members]
    assert sorted(p for share in shares for p in share) == list(range(partitions))
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1


@given(st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9)))
def test_a_member_takes_only_what_is_free(owned: set[int], share: set[int], free: set[int]) -> None:
    take, give = to_change(owned, share, free)
    assert take <= share & free
    assert not take & owned
    assert give == owned - share


@given(st.text(), st.integers(1, 64))
def test_a_key_has_one_partition(key: str, partitions: int) -> None:
    assert partition_of(key, partitions) == partition_of(key, partitions)
    assert 0 <= partition_of(key, partitions) < partitions
