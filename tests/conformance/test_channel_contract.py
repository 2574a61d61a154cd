"""One suite for all backends: what channels promise, in memory, on Redis and on Kafka."""

# ruff: noqa: N802 - tests carry the ids of their rows

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from gristmill import Node, Ref
from gristmill.channels import Capabilities, ChannelBackend, ChannelClosedError, Start
from gristmill.config import ChannelConfig
from gristmill.errors import ActorError, UsageError
from support.brokers import needs_real
from support.channels import (
    Author,
    DurableAuthor,
    DurableReader,
    Noted,
    Notes,
    Other,
    PublishNotes,
    Reader,
)
from support.waiting import eventually

_names = (f"contract-{number}" for number in itertools.count())
BACKENDS = {"memory": ChannelConfig(), "redis": "redis_config", "kafka": "kafka_config"}


@pytest.fixture(scope="module", params=list(BACKENDS))
def node(
    request: pytest.FixtureRequest, own_temporary_directory: Path, nothing_is_left: None
) -> Iterator[Node]:
    """Give a node with one backend on."""
    found = BACKENDS[request.param]
    config = request.getfixturevalue(found) if isinstance(found, str) else found
    with Node(
        workers=2,
        channels=config,
        journal=own_temporary_directory / f"journal-{request.param}",
        max_restarts=1000,
        within=1.0,
    ) as started:
        yield started


@pytest.fixture
def channel() -> str:
    """Give the name of a channel that nobody has used."""
    return next(_names)


def can(node: Node) -> Capabilities:
    (capabilities,) = node.channels.capabilities.values()
    return capabilities


def notes(keys: str, last: int, first: int = 1) -> list[tuple[str, int]]:
    return [(key, number) for number in range(first, last + 1) for key in keys]


def of_key(seen: list[tuple[str, int]], key: str) -> list[int]:
    return [number for k, number in seen if k == key]


def seen_by(reader: Ref[Reader], count: int) -> list[tuple[str, int]]:
    def ask() -> list[tuple[str, int]]:
        try:
            seen = reader.ask(Notes(), timeout=10)
        except ActorError:  # it is just being killed
            return []
        return seen if len(seen) >= count else []

    return eventually(ask, f"{count} notes", 20)


def test_every_subscriber_gets_every_event_in_the_order_of_its_key(
    node: Node, channel: str
) -> None:
    with (
        node.subscribe(channel, Noted) as first,
        node.subscribe(channel, Noted) as second,
    ):
        author = node.spawn(Author)
        author.tell(PublishNotes(channel, list("abcdef"), 1, 20))
        for subscription in (first, second):
            events = [subscription.get(10) for _ in range(120)]
            assert subscription.get(0.01) is None
            for key in "abcdef":
                assert [e.number for e in events if e.key == key] == list(range(1, 21))
        author.stop()


def test_a_channel_is_typed_by_its_events(node: Node, channel: str) -> None:
    with node.subscribe(channel, Noted) as subscription:
        node.publish(channel, Other(), key="k")
        node.publish(channel, Noted("k", 1), key="k")
        assert subscription.get(10) == Noted("k", 1)


def test_a_closed_subscription_drains_and_then_says_so(node: Node, channel: str) -> None:
    subscription = node.subscribe(channel, Noted)
    for number in (1, 2):
        node.publish(channel, Noted("k", number), key="k")
    assert subscription.get(10) == Noted("k", 1)
    eventually(lambda: subscription.waiting == 1, "the second is here")
    subscription.close()
    node.publish(channel, Noted("k", 3), key="k")
    assert subscription.get() == Noted("k", 2)
    with pytest.raises(ChannelClosedError):
        subscription.get()


def test_what_a_backend_can_not_do_is_declared_and_refused(node: Node, channel: str) -> None:
    (kind,) = node.channels.capabilities
    durable = kind is not ChannelBackend.MEMORY
    capabilities = can(node)
    assert capabilities.groups is capabilities.replay is capabilities.acknowledge is durable
    assert capabilities.delivery == ("at_least_once" if durable else "at_most_once")
    other = next(each for each in ChannelBackend if each is not kind)
    with pytest.raises(UsageError, match="which is off; set use_"):
        node.subscribe(channel, Noted, backend=other)
    with pytest.raises(UsageError, match="carrier pigeon"):
        node.subscribe(channel, Noted, backend="carrier pigeon")
    if not durable:
        with pytest.raises(UsageError, match="the memory backend can't do groups"):
            node.subscribe(channel, Noted, group="g")
        with pytest.raises(UsageError, match="can't do replay"):
            node.subscribe(channel, Noted, start="earliest")
        with pytest.raises(UsageError, match="can't do"):
            node.channels.lag(channel, "g")


@pytest.fixture
def kills(node: Node, request: pytest.FixtureRequest) -> None:
    """Skip a test that kills members where they would not be back soon."""
    if ChannelBackend.KAFKA in node.channels.capabilities:
        needs_real(request.getfixturevalue("kafka_broker"))


def needs(node: Node, capability: str) -> None:
    if not getattr(can(node), capability):
        pytest.skip(f"this backend declares that it has no {capability}")


@pytest.mark.usefixtures("kills")
def test_members_of_a_group_share_events_and_groups_do_not(node: Node, channel: str) -> None:
    needs(node, "groups")
    author = node.spawn(Author)
    members = [
        node.spawn(Reader, args=(channel, "shared"), name=f"{channel}-{n}", placement=f"w{n}")
        for n in (1, 2)
    ]
    alone = node.spawn(Reader, args=(channel, "alone"), name=f"{channel}-alone")
    keys = [f"key-{number}" for number in range(40)]
    author.tell(PublishNotes(channel, keys, 1, 3))
    first = eventually(
        lambda: len(seen := [m.ask(Notes()) for m in members]) and sum(map(len, seen)) >= 120
        and seen, "all were shared", 20,
    )  # fmt: skip
    # late joiners get their share after the first has given it up: publish until both have some
    number = 3
    while not all(first):
        number += 1
        author.tell(PublishNotes(channel, keys, number, number))
        first = eventually(
            lambda n=number: sum(map(len, seen := [m.ask(Notes()) for m in members])) >= 40 * n
            and seen, "all were shared", 20,
        )  # fmt: skip
        assert number < 200, "one member never got a share"
    assert sorted(first[0] + first[1]) == sorted(
        (key, n) for key in keys for n in range(1, number + 1)
    )
    assert len(seen_by(alone, 40 * number)) == 40 * number
    for actor in (author, alone, *members):
        actor.stop()


def test_a_group_goes_on_where_it_was(node: Node, channel: str) -> None:
    needs(node, "groups")
    for number in range(1, 11):
        node.publish(channel, Noted("k", number), key="k")
    with node.subscribe(channel, Noted, group="g", start=Start.EARLIEST) as subscription:
        assert [subscription.get(10).number for _ in range(4)] == [1, 2, 3, 4]
        subscription.acknowledge()
    with node.subscribe(channel, Noted, group="g") as subscription:
        assert [subscription.get(20).number for _ in range(6)] == [5, 6, 7, 8, 9, 10]


def test_replay_gives_what_was_before(node: Node, channel: str) -> None:
    needs(node, "replay")
    for number in range(1, 6):
        for key in "ab":
            node.publish(channel, Noted(key, number), key=key)
    with node.subscribe(channel, Noted, start="earliest") as subscription:
        events = [subscription.get(10) for _ in range(10)]
    assert [e.number for e in events if e.key == "a"] == [1, 2, 3, 4, 5]
    found = list(node.channels.read(channel))
    assert [delivery.key for delivery in found].count("a") == 5
    half = {d.partition: d.position for d in found[: len(found) // 2]}
    assert len(list(node.channels.read(channel, start=half))) == len(found) - len(found) // 2


def test_lag_counts_what_a_group_has_not_handled(node: Node, channel: str) -> None:
    needs(node, "lag")
    with node.subscribe(channel, Noted, group="g", start="earliest") as subscription:
        for number in range(1, 6):
            node.publish(channel, Noted("k", number), key="k")
        assert subscription.get(10).number == 1
        eventually(lambda: node.channels.lag(channel, "g") == 5, "nothing is handled", 10)
        assert subscription.get(10).number == 2
        eventually(lambda: node.channels.lag(channel, "g") == 4, "one is handled", 10)


@pytest.mark.usefixtures("kills")
@pytest.mark.parametrize("trouble", ["raise", "nack", "kill"])
def test_what_was_not_handled_comes_again_in_order(
    node: Node, channel: str, trouble: str, tmp_path: Path
) -> None:
    needs(node, "acknowledge")
    for number in range(1, 11):
        node.publish(channel, Noted("k", number), key="k")
    reader = node.spawn(
        DurableReader,
        args=(channel, "g", "earliest", trouble, 4, 2, str(tmp_path)),
        name=f"{channel}-reader",
    )
    assert seen_by(reader, 10) == notes("k", 10)
    assert len(list(tmp_path.iterdir())) == 2
    reader.stop()


@pytest.mark.usefixtures("kills")
@pytest.mark.parametrize("trouble", ["raise", "nack", "kill"])
def test_KF14_what_never_works_becomes_a_dead_letter_and_the_rest_goes_on(
    node: Node, channel: str, trouble: str
) -> None:
    needs(node, "acknowledge")
    for number in range(1, 8):
        node.publish(channel, Noted("k", number), key="k")
    args = (channel, "g", "earliest", trouble, 4)
    reader = node.spawn(DurableReader, args=args, name=f"{channel}-reader")
    assert seen_by(reader, 6) == [("k", number) for number in (1, 2, 3, 5, 6, 7)]
    (dead,) = list(node.channels.read(f"{channel}.dead-letter"))
    assert (dead.key, dead.body) == ("k", node._connected().post.codec.encode(Noted("k", 4)))
    assert dead.headers["origin-channel"] == channel
    assert dead.headers["group"] == "g"
    assert int(dead.headers["attempts"]) >= 3
    why = {"raise": "ValueError: no 4", "nack": "not 4", "kill": "died"}
    assert why[trouble] in dead.headers["error"]
    eventually(lambda: node.channels.lag(channel, "g") == 0, "it counts as handled", 10)
    reader.stop()


@pytest.mark.usefixtures("kills")
def test_nothing_that_is_committed_is_lost_or_doubled_when_workers_are_killed(
    node: Node, channel: str
) -> None:
    needs(node, "survives")
    author = node.spawn(DurableAuthor, name=f"{channel}-author", placement="w1")
    reader = node.spawn(DurableReader, args=(channel, "g"), name=f"{channel}-r", placement="w2")
    pids = {worker.name: worker.pid for worker in node.status().workers}
    for start in range(1, 60, 10):
        command = PublishNotes(channel, ["a", "b"], start, start + 9)
        author.tell(command, delivery="at_least_once")
        if start == 21:
            kill(pids["w1"])
        if start == 31:
            kill(pids["w2"])
    seen = seen_by(reader, 120)
    assert of_key(seen, "a") == of_key(seen, "b") == list(range(1, 61))
    author.stop()
    reader.stop()


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
