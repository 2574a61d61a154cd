"""Redis Streams, row by row: members of a group against a real server, stepped by hand."""

# ruff: noqa: N802 - tests carry the ids of their rows

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import redis

from gristmill.channels import Listen, Start
from gristmill.channels.driver import BrokerDownError, BrokerRefusedError
from gristmill.channels.intake import Intake, Retries
from gristmill.channels.records import DeadRecord, Delivery, Publication
from gristmill.channels.redis.driver import RedisDriver
from gristmill.config import ChannelConfig
from support.redis_server import RedisServer
from support.waiting import eventually

_names = (f"rows-{number}" for number in itertools.count())
GROUP = "g"


@pytest.fixture
def server(redis_server: RedisServer) -> Iterator[Any]:
    """Give a client of the server that knows nothing of channels."""
    with redis.Redis.from_url(redis_server.url, protocol=2) as client:
        yield client


@pytest.fixture
def driver(redis_config: ChannelConfig) -> RedisDriver:
    return RedisDriver(msgspec.structs.replace(redis_config, partitions=1))


@pytest.fixture
def channel() -> str:
    return next(_names)


class Member:
    """A member of a group, whose handlers are the test."""

    def __init__(
        self, driver: RedisDriver, channel: str, name: str, *, start: Start = Start.EARLIEST,
        group: str = GROUP,
    ) -> None:  # fmt: skip
        self.intake = Intake(100, Retries(3, 0.0))
        self.intake.open = True
        self.source: Any = driver.source(Listen(channel, group, start), name, lasting=True)
        self.handed: dict[int, Delivery] = {}

    def poll(self) -> list[int]:
        """Fetch; give the numbers of what was handed over."""
        self.source.poll(self.intake, 0.0)
        batch = self.intake.hand_over(time.monotonic())
        self.handed.update(batch)
        return [delivery.number for _, delivery in batch]

    def until(self, count: int) -> list[int]:
        """Fetch until so many were handed over."""
        seen: list[int] = []
        eventually(lambda: seen.extend(self.poll()) or len(seen) >= count, f"{count} events")
        return seen

    def handle(self, *numbers: int) -> None:
        """Handle events, and acknowledge them."""
        for token, delivery in list(self.handed.items()):
            if delivery.number in numbers:
                self.intake.handled([token])
                del self.handed[token]
        self.source.acknowledge(self.intake)

    def handle_all(self) -> None:
        self.handle(*(delivery.number for delivery in self.handed.values()))

    def die(self) -> None:
        """End without a word."""
        self.source.drop()


def publish(driver: RedisDriver, channel: str, first: int, last: int, key: str = "k") -> None:
    producer = driver.producer()
    producer.send([Publication(channel, key, "p", n, b"x") for n in range(first, last + 1)])
    producer.close()


def stream(channel: str, partition: int = 0) -> str:
    return f"gristmill:{{{channel}}}:{partition}"


def pending(server: Any, channel: str) -> int:
    return int(server.xpending(stream(channel), GROUP)["pending"])


def test_RS01_a_group_and_its_stream_are_made_once(
    server: Any, driver: RedisDriver, channel: str
) -> None:
    for name in ("a", "a"):
        member = Member(driver, channel, name)
        assert member.poll() == []
        member.die()
    assert [g["name"] for g in server.xinfo_groups(stream(channel))] == [GROUP.encode()]


def test_RS02_a_group_begins_with_all_there_is_or_with_what_comes(
    driver: RedisDriver, channel: str
) -> None:
    publish(driver, channel, 1, 3)
    early = Member(driver, channel, "a", group="early")
    late = Member(driver, channel, "a", group="late", start=Start.NEW)
    assert late.poll() == []
    publish(driver, channel, 4, 5)
    assert early.until(5) == [1, 2, 3, 4, 5]
    assert late.until(2) == [4, 5]
    early.die()
    late.die()


def test_RS03_members_share_and_groups_get_all(
    driver: RedisDriver, channel: str, redis_config: ChannelConfig
) -> None:
    four = RedisDriver(msgspec.structs.replace(redis_config, redis_lease_seconds=30.0))
    one, two = Member(four, channel, "one"), Member(four, channel, "two")
    other = Member(four, channel, "x", group="other")
    for member in (one, two) * 2:
        member.source._tend_at = 0.0  # they meet
        member.poll()
    assert one.intake.partitions | two.intake.partitions == {0, 1, 2, 3}
    assert not one.intake.partitions & two.intake.partitions
    for number in range(1, 41):
        publish(four, channel, number, number, key=f"key-{number}")
    first, second = one.until(1), two.until(1)
    eventually(
        lambda: first.extend(one.poll()) or second.extend(two.poll()) or len(first + second) == 40,
        "all are shared",
    )
    assert sorted(first + second) == list(range(1, 41))
    assert sorted(other.until(40)) == list(range(1, 41))
    for member in (one, two, other):
        member.die()


def test_RS04_RS05_what_is_handled_is_acknowledged_once_and_what_fails_stays(
    server: Any, driver: RedisDriver, channel: str
) -> None:
    publish(driver, channel, 1, 3)
    member = Member(driver, channel, "a")
    assert member.until(3) == [1, 2, 3]
    assert pending(server, channel) == 3
    (first, second, _) = member.handed.items()
    member.handle(1)
    assert pending(server, channel) == 2
    assert server.xack(stream(channel), GROUP, first[1].position) == 0
    member.intake.failed(second[0], "no", time.monotonic())
    member.source.acknowledge(member.intake)
    assert pending(server, channel) == 2
    assert member.until(2) == [2, 3]
    member.handle_all()
    member.die()


def test_RS07_RS18_a_member_that_comes_back_gets_its_own_first(
    server: Any, driver: RedisDriver, channel: str
) -> None:
    publish(driver, channel, 1, 4)
    member = Member(driver, channel, "a")
    assert member.until(4) == [1, 2, 3, 4]
    member.handle(1)
    member.die()  # as after a cut of the connection: the entries are on the server's list
    publish(driver, channel, 5, 6)
    again = Member(driver, channel, "a")
    seen = []
    while len(seen) < 5:
        seen += again.poll()
        again.handle_all()
    assert seen == [2, 3, 4, 5, 6]
    assert pending(server, channel) == 0
    again.die()


def test_RS09_a_dead_members_entries_go_to_another_and_count_as_delivered(
    server: Any, driver: RedisDriver, channel: str
) -> None:
    publish(driver, channel, 1, 3)
    dead = Member(driver, channel, "dead")
    assert dead.until(3) == [1, 2, 3]
    dead.die()
    heir = Member(driver, channel, "heir")
    assert heir.poll() == [], "the lease of the dead holds for a while"
    began = time.monotonic()
    assert heir.until(3) == [1, 2, 3]
    assert time.monotonic() - began < 3 * 1.0 + 1
    heir.die()
    heir = Member(driver, channel, "heir")
    assert heir.until(1) == [1], "now one by one: it may be what has killed its owners"
    (entry,) = server.xpending_range(stream(channel), GROUP, "-", "+", 1, "heir")
    assert entry["times_delivered"] == 3
    assert entry["time_since_delivered"] < 1000
    assert next(iter(heir.handed.values())).deaths == 2
    heir.die()


def test_RS10_a_long_list_of_pending_entries_is_claimed_to_its_end(
    server: Any, driver: RedisDriver, channel: str
) -> None:
    publish(driver, channel, 1, 250)
    dead = Member(driver, channel, "dead")
    dead.poll()
    server.xreadgroup(GROUP, "dead", {stream(channel): ">"}, count=250)
    server.delete(f"gristmill:{{{channel}}}:owner:{GROUP}:0")  # its lease is over
    server.delete(f"gristmill:{{{channel}}}:members:{GROUP}")
    dead.die()
    heir = Member(driver, channel, "heir")
    heir.poll()
    assert server.xpending(stream(channel), GROUP)["consumers"] == [
        {"name": b"heir", "pending": 250}
    ]
    heir.die()


def test_RS13_RS14_a_dead_letter_is_safe_before_it_is_acknowledged(
    server: Any, driver: RedisDriver, channel: str
) -> None:
    publish(driver, channel, 1, 2)
    member = Member(driver, channel, "a")
    member.until(2)
    for _ in range(3):
        token = next(t for t, d in member.handed.items() if d.number == 1)
        member.handed.clear()
        member.intake.failed(token, "it is poison", time.monotonic())
        member.poll()
    ((delivery, attempts, reason),) = member.intake.dead()
    assert (delivery.number, attempts, reason) == (1, 3, "it is poison")
    member.source.bury(DeadRecord(channel, GROUP, delivery, attempts, reason))
    assert pending(server, channel) == 2, "a crash here doubles the dead letter and loses nothing"
    (letter,) = driver.read(f"{channel}.dead-letter", Start.EARLIEST)
    assert letter.body == b"x"
    assert letter.headers["origin-position"] == delivery.position
    assert letter.headers["attempts"] == "3"
    assert letter.headers["error"] == "it is poison"
    member.intake.buried(delivery)
    member.source.acknowledge(member.intake)
    assert pending(server, channel) == 1
    member.die()


def test_RS15_RS16_who_leaves_lets_others_have_the_rest_at_once(
    server: Any, driver: RedisDriver, channel: str
) -> None:
    publish(driver, channel, 1, 3)
    leaver = Member(driver, channel, "leaver")
    leaver.until(3)
    leaver.handle(1)
    leaver.source.close(leaver.intake)
    names = [c["name"] for c in server.xinfo_consumers(stream(channel), GROUP)]
    assert names == [b"leaver"], "it holds entries that nobody could claim without it"
    heir = Member(driver, channel, "heir")
    seen: list[int] = []
    began = time.monotonic()
    while len(seen) < 2:
        seen += heir.poll()
        heir.handle_all()
    assert seen == [2, 3]
    assert time.monotonic() - began < 0.9, "no lease had to run out"
    heir.source.close(heir.intake)
    assert b"heir" not in [c["name"] for c in server.xinfo_consumers(stream(channel), GROUP)]


def test_RS17_without_a_group_nothing_is_acknowledged(
    server: Any, driver: RedisDriver, channel: str
) -> None:
    listener = Member(driver, channel, "a", group="", start=Start.NEW)
    listener.poll()
    publish(driver, channel, 1, 3)
    assert listener.until(3) == [1, 2, 3]
    assert server.xinfo_groups(stream(channel)) == []
    listener.die()


def test_RS20_the_events_of_a_key_are_with_one_member(
    driver: RedisDriver, channel: str, redis_config: ChannelConfig
) -> None:
    four = RedisDriver(msgspec.structs.replace(redis_config, redis_lease_seconds=30.0))
    one, two = Member(four, channel, "one"), Member(four, channel, "two")
    for member in (one, two) * 2:
        member.source._tend_at = 0.0
        member.poll()
    number = 0
    for _ in range(5):
        for key in "abcdefgh":
            number += 1
            publish(four, channel, number, number, key)
    eventually(lambda: one.poll() or two.poll() or len(one.handed | two.handed) >= 1, "some")
    eventually(lambda: (one.poll(), two.poll()) and len(one.handed) + len(two.handed) == 40, "all")
    keys = [{d.key for d in m.handed.values()} for m in (one, two)]
    assert not keys[0] & keys[1]
    for member in (one, two):
        for key in {d.key for d in member.handed.values()}:
            numbers = [d.number for d in member.handed.values() if d.key == key]
            assert numbers == sorted(numbers)
        member.die()


def test_a_long_handler_keeps_its_partition_for_as_long_as_it_is_renewed(
    driver: RedisDriver, channel: str
) -> None:
    publish(driver, channel, 1, 1)
    slow = Member(driver, channel, "slow")
    assert slow.until(1) == [1]
    rival = Member(driver, channel, "rival")
    until = time.monotonic() + 2.5 * 1.0  # the lease is one second long
    while time.monotonic() < until:
        slow.source.poll(slow.intake, 0.05)
        assert rival.poll() == []
    slow.handle(1)
    slow.die()
    rival.die()


def test_a_stream_is_bounded_and_what_was_dropped_unread_is_counted(
    server: Any, driver: RedisDriver, channel: str
) -> None:
    short = RedisDriver(msgspec.structs.replace(driver.config, redis_max_length=100))
    member = Member(short, channel, "a")
    member.poll()
    publish(short, channel, 1, 1000)
    kept = server.xlen(stream(channel))
    assert kept < 400
    seen: list[int] = []
    while len(seen) < kept:
        seen += member.poll()
        member.handle_all()
    assert member.source.lost == 1000 - kept
    assert short.lag(channel, GROUP) == 0
    member.die()


def test_sent_again_an_event_is_not_published_twice(
    server: Any, driver: RedisDriver, channel: str
) -> None:
    publish(driver, channel, 1, 5)
    publish(driver, channel, 3, 7)
    assert [d.number for d in driver.read(channel, Start.EARLIEST)] == [1, 2, 3, 4, 5, 6, 7]


def test_a_member_that_was_silent_for_too_long_loses_its_partitions_for_good(
    driver: RedisDriver, channel: str
) -> None:
    publish(driver, channel, 1, 2)
    silent = Member(driver, channel, "silent")
    assert silent.until(2) == [1, 2]
    heir = Member(driver, channel, "heir")
    heir.until(1)
    silent.source._tend_at = 0.0
    silent.poll()
    assert silent.intake.partitions == frozenset()
    assert not any(silent.intake.is_current(token) for token in silent.handed)
    silent.die()
    heir.die()


def test_an_event_that_redis_never_takes_is_refused_and_the_others_are_not(
    server: Any, driver: RedisDriver, channel: str
) -> None:
    server.set(stream(f"{channel}-taken"), "somebody else's")
    producer = driver.producer()
    good = [Publication(channel, "k", "p", number, b"x") for number in (1, 2, 4)]
    bad = Publication(f"{channel}-taken", "k", "p", 3, b"x")
    with pytest.raises(BrokerRefusedError, match="WRONGTYPE") as caught:
        producer.send([*good[:2], bad, good[2]])
    assert caught.value.sent == 2
    producer.send(good[2:])  # again, as it is not known to be there
    assert [each.number for each in driver.read(channel, Start.EARLIEST)] == [1, 2, 4]
    producer.close()


def test_a_state_of_the_server_that_will_pass_refuses_nothing(
    server: Any, driver: RedisDriver, channel: str
) -> None:
    producer = driver.producer()
    event = Publication(channel, "k", "p", 1, b"x")
    producer.send([event])
    server.config_set("maxmemory", 1)
    try:
        with pytest.raises(BrokerDownError, match="OOM"):
            producer.send([msgspec.structs.replace(event, number=2)])
    finally:
        server.config_set("maxmemory", 0)
    server.script_flush()
    with pytest.raises(BrokerDownError, match="NoScript"):
        producer.send([msgspec.structs.replace(event, number=3)])
    producer.close()
    publish(driver, channel, 2, 3)
    assert [each.number for each in driver.read(channel, Start.EARLIEST)] == [1, 2, 3]
