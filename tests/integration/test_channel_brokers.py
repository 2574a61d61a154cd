"""Brokers and actors: in one process, under slow handlers, with events of other programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from gristmill import Node
from gristmill.config import ChannelConfig
from support.channels import Author, DurableReader, Noted, Notes, PublishNotes, Reader
from support.redis_server import RedisServer
from support.waiting import eventually


@pytest.fixture(scope="module", params=["processes", "in_process"])
def node(
    request: pytest.FixtureRequest,
    redis_config: ChannelConfig,
    nothing_is_left: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Node]:
    with Node(
        workers=2,
        channels=redis_config,
        in_process=request.param == "in_process",
        journal=tmp_path_factory.mktemp("journal"),
        max_restarts=1000,
        within=1.0,
    ) as started:
        yield started


@pytest.fixture
def channel(request: pytest.FixtureRequest) -> str:
    return f"brokers-{request.node.name}"


def seen_by(reader: Any, count: int) -> list[tuple[str, int]]:
    return eventually(lambda: len(got := reader.ask(Notes(), timeout=20)) >= count and got, "all")


def test_published_and_handled_and_every_one_counted(node: Node, channel: str) -> None:
    before = node.counters()
    reader = node.spawn(Reader, args=(channel, "g"), name=f"{channel}-r")
    author = node.spawn(Author)
    author.tell(PublishNotes(channel, ["a", "b"], 1, 50))
    seen = seen_by(reader, 100)
    for key in "ab":
        assert [number for k, number in seen if k == key] == list(range(1, 51))
    eventually(lambda: node.channels.lag(channel, "g") == 0, "all is acknowledged")
    after = eventually(lambda: (now := node.counters()).balanced and now, "the books are balanced")
    since = after - before
    assert since.published == 101
    assert since.dropped["unwanted"] == 1, "what nobody handles is passed over"
    reader.stop()
    author.stop()


def test_a_handler_that_computes_for_longer_than_the_lease_keeps_its_events(
    node: Node, channel: str, redis_config: ChannelConfig
) -> None:
    if node.status().workers[0].pid > 1 << 29:
        pytest.skip("in one process a handler that computes stops the test as well")
    slow = node.spawn(
        Reader, args=(channel, "g", "earliest", "compute", 1), name=f"{channel}-s", placement="w1"
    )
    rival = node.spawn(Reader, args=(channel, "g"), name=f"{channel}-r", placement="w2")
    keys = ["a", "b", "c", "d"]
    author = node.spawn(Author, placement="w2")
    author.tell(PublishNotes(channel, keys, 2, 2))
    eventually(lambda: len(slow.ask(Notes()) + rival.ask(Notes())) == 4, "both have begun")
    author.tell(PublishNotes(channel, keys, 1, 1))  # each takes longer than the lease
    seen = eventually(
        lambda: len(got := slow.ask(Notes(), timeout=50) + rival.ask(Notes())) >= 8 and got,
        "all were handled", 50,
    )  # fmt: skip
    assert sorted(seen) == sorted((key, number) for key in keys for number in (1, 2))
    for actor in (slow, rival, author):
        actor.stop()


def test_an_event_of_another_program_is_handled_once(
    node: Node, channel: str, redis_server: RedisServer
) -> None:
    node.publish(channel, Noted("k", 1), key="k")
    (first,) = eventually(lambda: list(node.channels.read(channel)), "it is there")
    reader = node.spawn(DurableReader, args=(channel, "g"), name=f"{channel}-r")
    seen_by(reader, 1)
    stream = f"gristmill:{{{channel}}}:{first.partition}"
    with redis.Redis.from_url(redis_server.url) as client:
        client.xadd(stream, {"b": first.body})
        client.xadd(stream, {"b": b"no message"})
    assert seen_by(reader, 2) == [("k", 1), ("k", 1)], "it has no publisher, so it is a new one"
    (dead,) = eventually(
        lambda: reader.ask(Notes()) and list(node.channels.read(f"{channel}.dead-letter")),
        "what is no message is told",
    )
    assert dead.body == b"no message"
    reader.stop()


def test_a_subscription_ends_with_its_actor_and_by_order(node: Node, channel: str) -> None:
    reader = node.spawn(Reader, args=(channel, "g"), name=f"{channel}-r")
    node.publish(channel, Noted("k", 1), key="k")
    assert seen_by(reader, 1) == [("k", 1)]
    reader.stop()
    node.publish(channel, Noted("k", 2), key="k")
    eventually(lambda: node.channels.lag(channel, "g") == 1, "nobody listens")
    again = node.spawn(Reader, args=(channel, "g"), name=f"{channel}-r")
    assert seen_by(again, 1) == [("k", 2)]
    again.stop()
