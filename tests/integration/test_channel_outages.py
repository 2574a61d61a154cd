"""Servers that are killed and come back while events are published and handled."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from gristmill import Node, Ref
from gristmill.channels import ChannelFullError
from gristmill.config import ChannelConfig
from gristmill.errors import ActorError
from support.brokers import needs_real
from support.channels import DurableAuthor, DurableReader, Noted, Notes, PublishNotes, Reader
from support.redis_server import RedisServer
from support.server_process import ServerProcess
from support.waiting import eventually

RESUMES_WITHIN = 5.0
"""Seconds from the server's return until events flow again."""


@pytest.fixture(params=["redis", "kafka"])
def server(request: pytest.FixtureRequest) -> ServerProcess:
    """Give each server that can be killed."""
    name = {"redis": "redis_server", "kafka": "kafka_broker"}[request.param]
    found = request.getfixturevalue(name)
    needs_real(found)
    assert isinstance(found, ServerProcess)
    return found


@pytest.fixture
def config(server: ServerProcess, request: pytest.FixtureRequest) -> ChannelConfig:
    found = request.getfixturevalue(f"{server.name}_config")
    assert isinstance(found, ChannelConfig)
    return found


def started(config: ChannelConfig, tmp_path: Path) -> Node:
    journal = tmp_path / "journal"
    return Node(workers=2, channels=config, journal=journal, max_restarts=1000, within=1.0)


@pytest.fixture
def node(config: ChannelConfig, tmp_path: Path, nothing_is_left: None) -> Iterator[Node]:
    with started(config, tmp_path) as node:
        yield node


def notes_of(reader: Ref[Reader]) -> list[tuple[str, int]]:
    try:
        return reader.ask(Notes(), timeout=10)
    except ActorError:
        return []


def test_a_server_that_is_killed_and_comes_back_loses_and_doubles_nothing(
    node: Node, server: ServerProcess
) -> None:
    channel = f"outage-{server.name}"
    author = node.spawn(DurableAuthor, name="author", placement="w1")
    durable = node.spawn(DurableReader, args=(channel, "durable"), name="durable", placement="w2")
    volatile = node.spawn(Reader, args=(channel, "volatile"), name="volatile", placement="w1")
    with node.subscribe(channel, Noted) as listener:
        tell(author, channel, 1, 20)
        eventually(lambda: len(notes_of(durable)) == 40, "the first 20", 15)
        server.kill()
        tell(author, channel, 21, 40)  # kept until somebody takes them
        node.publish(channel, Noted("client", 1), key="client")
        eventually(lambda: node.counters().unconfirmed == 41, "all of them are counted", 15)
        server.start()
        back = time.monotonic()
        eventually(lambda: len(notes_of(durable)) > 40, "it goes on", 15)
        assert time.monotonic() - back < RESUMES_WITHIN
        os.kill(node.status().workers[1].pid, signal.SIGKILL)
        tell(author, channel, 41, 60)
        seen = eventually(
            lambda: len(got := notes_of(durable)) >= 121 and got, "all that was published", 15
        )
        for key in "ab":
            assert [number for k, number in seen if k == key] == list(range(1, 61))
        assert seen.count(("client", 1)) == 1
        loose = eventually(
            lambda: len(set(got := notes_of(volatile))) == 121 and got, "nothing is lost", 15
        )
        assert len(loose) >= 121
        heard = []
        while len(set(heard)) < 121:
            event = listener.get(10)
            assert event is not None, "the listener has gone deaf"
            heard.append((event.key, event.number))
    eventually(lambda: node.channels.lag(channel, "durable") == 0, "all is acknowledged", 15)
    eventually(lambda: node.counters().unconfirmed == 0, "all is confirmed", 15)


def test_a_worker_at_rest_forgets_what_its_broker_has(
    node: Node, server: ServerProcess, tmp_path: Path
) -> None:
    author = node.spawn(DurableAuthor, name="author", placement="w1")
    tell(author, f"rest-{server.name}", 1, 20)
    eventually(lambda: node.counters().published == 40, "20 of each key", 15)
    owed = "SELECT count(*) FROM outbox WHERE target LIKE 'channel://%'"
    with closing(sqlite3.connect(tmp_path / "journal" / "w1.db")) as journal:
        eventually(lambda: journal.execute(owed).fetchone() == (0,), "it owes nothing", 15)
    assert node.counters().unconfirmed == 0


def test_an_author_that_has_its_worker_for_itself_leaves_nothing_behind(
    config: ChannelConfig,
    server: ServerProcess,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    nothing_is_left: None,
) -> None:
    channel = f"gone-{server.name}"
    with started(config, tmp_path) as node:  # here, so that capfd has what its workers say
        reader = node.spawn(Reader, args=(channel, "all"), name="reader", placement="w1")
        author = node.spawn(DurableAuthor, name="author", placement="dedicated")
        server.kill()
        tell(author, channel, 1, 20)
        eventually(lambda: node.counters().unconfirmed == 40, "all of them wait", 15)
        author.stop()
        # it says so later than the end of a worker would wait for a server
        stays = "this worker stays: 40 for brokers"
        eventually(lambda: stays in capfd.readouterr().err, "it says why it stays", 30)
        assert len(node.status().workers) == 3
        server.start()
        eventually(lambda: len(set(notes_of(reader))) == 40, "all that was published", 15)
        eventually(lambda: len(node.status().workers) == 2, "it has gone", 15)


def tell(author: Ref[DurableAuthor], channel: str, first: int, last: int) -> None:
    command = PublishNotes(channel, ["a", "b"], first, last)
    author.tell(command, delivery="at_least_once")


@pytest.mark.parametrize("policy", ["refuse", "drop"])
def test_what_may_wait_for_a_server_is_bounded(
    redis_config: ChannelConfig, redis_server: RedisServer, policy: str, nothing_is_left: None
) -> None:
    few = msgspec.structs.replace(redis_config, use_in_memory=True, max_unsent=10, when_full=policy)
    channel = f"bounded-{policy}"
    with Node(workers=1, channels=few) as node:
        node.publish(channel, Noted("k", 0), key="k")
        with node.subscribe(channel, Noted, start="earliest") as listener:
            assert listener.get(10) == Noted("k", 0)
        eventually(lambda: node.counters().unconfirmed == 0, "the publisher knows that, too")
        redis_server.kill()
        beside = node.subscribe(channel, Noted, backend="memory")
        refused = 0
        for number in range(1, 16):
            try:
                node.publish(channel, Noted("k", number), key="k")
            except ChannelFullError:
                refused += 1
        assert refused == (5 if policy == "refuse" else 0)
        assert node.unpublished == (0 if policy == "refuse" else 5)
        assert node.counters().unconfirmed == 10
        heard = [event.number for event in iter(lambda: beside.get(0.1), None)]
        assert heard == list(range(1, 16 - refused)), "what is refused is published nowhere"
        redis_server.start()
        eventually(lambda: len(list(node.channels.read(channel))) == 11, "the first ten", 15)
