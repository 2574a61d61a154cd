"""A request that its asker has given up is not handled, or not to its end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gristmill import Node, Ref
from gristmill.node.deliveries import Deliveries
from support.actors import Incarnation, Worker, read_lines
from support.chains import (
    Count,
    DurableLink,
    Link,
    Outcome,
    PersistAndNap,
    Wait,
    WaitBelow,
    WaitStubbornly,
)
from support.waiting import eventually


@pytest.fixture(scope="module", params=["processes", "in_process"])
def either(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    nothing_is_left: None,
) -> Iterator[Node]:
    """Give a node of each kind."""
    journal = tmp_path_factory.mktemp("journal")
    in_process = request.param == "in_process"
    with Node(workers=2, journal=journal, in_process=in_process) as started:
        yield started


@pytest.fixture
def link(either: Node) -> Iterator[Ref[Link]]:
    ref = either.spawn(Link, placement="w1")
    yield ref
    ref.stop()


def lines_come(node: Node, path: Path, *expected: str) -> None:
    """Wait until a handler has written this."""
    eventually(lambda: node.status() and read_lines(path) == list(expected), f"{expected}")


def cancelled(node: Node, before: Deliveries, count: int) -> None:
    """Wait until so many messages are counted as cancelled, and no other fate is missing."""

    def counted() -> bool:
        since = node.counters() - before
        return since.balanced and since.dropped.get("cancelled", 0) == count

    eventually(counted, f"{count} cancelled")


def test_an_abandoned_request_ends_its_handler_and_not_its_actor(
    either: Node, link: Ref[Link], tmp_path: Path
) -> None:
    before = either.counters()
    path = tmp_path / "lines"
    pending = link.request(Wait(str(path)))
    lines_come(either, path, "begun")
    pending.abandon()
    lines_come(either, path, "begun", "cancelled")
    assert link.ask(Outcome()) == ""
    cancelled(either, before, 1)
    assert not either.dead_letters()


def test_what_waits_behind_is_taken_out_of_the_mailbox(
    either: Node, link: Ref[Link], tmp_path: Path
) -> None:
    before = either.counters()
    first, second = tmp_path / "first", tmp_path / "second"
    running = link.request(Wait(str(first)))
    waiting = link.request(Wait(str(second)))
    lines_come(either, first, "begun")
    waiting.abandon()
    running.abandon()
    assert link.ask(Outcome()) == ""
    assert read_lines(second) == []
    cancelled(either, before, 2)


def test_a_request_abandoned_at_once_never_runs_for_long(
    either: Node, link: Ref[Link], tmp_path: Path
) -> None:
    before = either.counters()
    path = tmp_path / "lines"
    for _ in range(50):
        link.request(Wait(str(path))).abandon()
    assert link.ask(Outcome()) == ""
    assert "ended" not in read_lines(path)
    cancelled(either, before, 50)


def test_a_cancelled_ask_is_taken_back(either: Node, link: Ref[Link], tmp_path: Path) -> None:
    path = tmp_path / "lines"

    async def give_up() -> None:
        asking = asyncio.create_task(link.ask_async(Wait(str(path)), timeout=None))
        await asyncio.to_thread(lines_come, either, path, "begun")
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    asyncio.run(give_up())
    lines_come(either, path, "begun", "cancelled")
    assert link.ask(Outcome()) == ""


def test_an_ask_that_is_cancelled_while_it_is_sent_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, go_on = tmp_path / "lines", threading.Event()
    with Node(workers=1, in_process=True) as node:
        link = node.spawn(Link)
        post = node._connected().post
        send_request = post.send_request

        def slow(*arguments: Any) -> Any:
            waiter = send_request(*arguments)
            go_on.wait(10)
            return waiter

        monkeypatch.setattr(post, "send_request", slow)

        async def give_up() -> None:
            asking = asyncio.create_task(link.ask_async(Wait(str(path)), timeout=None))
            await asyncio.to_thread(lines_come, node, path, "begun")
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            go_on.set()

        asyncio.run(give_up())
        lines_come(node, path, "begun", "cancelled")


def test_who_is_cancelled_takes_back_what_it_has_asked(
    either: Node, link: Ref[Link], tmp_path: Path
) -> None:
    before = either.counters()
    below = either.spawn(Link, placement="w2")
    path = tmp_path / "lines"
    pending = link.request(WaitBelow(str(path), below))
    lines_come(either, path, "begun")
    pending.abandon()
    lines_come(either, path, "begun", "cancelled")
    assert link.ask(Outcome()) == below.ask(Outcome()) == ""
    cancelled(either, before, 2)
    below.stop()


def test_an_actor_that_ends_takes_back_what_it_has_asked(either: Node, tmp_path: Path) -> None:
    above = either.spawn(Link, placement="w1", restart="temporary", shutdown="brutal_kill")
    below = either.spawn(Link, placement="w2")
    path = tmp_path / "lines"
    above.request(WaitBelow(str(path), below))
    lines_come(either, path, "begun")
    above.stop()
    lines_come(either, path, "begun", "cancelled")
    assert below.ask(Outcome()) == ""
    below.stop()


def test_a_handler_may_finish_all_the_same(either: Node, link: Ref[Link], tmp_path: Path) -> None:
    before = either.counters()
    path = tmp_path / "lines"
    pending = link.request(WaitStubbornly(str(path)))
    lines_come(either, path, "begun")
    pending.abandon()
    lines_come(either, path, "begun", "cancelled")
    assert link.ask(Outcome()) == ""
    cancelled(either, before, 0)


def test_what_has_persisted_goes_on(either: Node, tmp_path: Path) -> None:
    ref = either.spawn(DurableLink, name="durable")
    path = tmp_path / "lines"
    pending = ref.request(PersistAndNap(str(path)))
    lines_come(either, path, "begun")
    pending.abandon()
    (tmp_path / "lines.go").touch()
    assert ref.ask(Count()) == 1
    ref.stop()
    again = either.spawn(DurableLink, name="durable")
    assert again.ask(Count()) == 1
    again.stop()


def test_a_stop_of_reading_many_replies_takes_the_rest_back(either: Node, tmp_path: Path) -> None:
    ref = either.spawn(Worker, placement="w1")
    held = either.spawn(Link, placement="w1")
    replies = ref.ask_many([Incarnation()] * 3)
    assert next(replies)
    replies.close()
    path = tmp_path / "lines"
    waits = held.ask_many([Wait(str(path))] * 3, timeout=0.2)
    with pytest.raises(TimeoutError):
        next(waits)
    lines_come(either, path, "begun", "cancelled")
    assert held.ask(Outcome()) == ""
    ref.stop()
    held.stop()
