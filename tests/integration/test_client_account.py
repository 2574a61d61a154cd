"""What a client's row of the report says, against what the client has done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from gristmill import Durable, Mailbox, Node
from gristmill.metrics.schema import TypeRow, WorkerRow
from gristmill.node.client.reading import BLOCKED_WAIT
from support.actors import Compute, GetQuote, Ledger, Note, Noted, Worker
from support.processes import all_delivered
from support.waiting import eventually

SECONDS = 0.4


@pytest.fixture(scope="module")
def node(
    own_temporary_directory: Path, nothing_is_left: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Node]:
    with Node(workers=1, journal=tmp_path_factory.mktemp("journal")) as node:
        yield node


def client(node: Node) -> WorkerRow:
    (row,) = [row for row in node.granularity().workers if row.kind == "client"]
    return row


def spent(node: Node, act: Callable[[], object]) -> dict[str, float]:
    """Give the client's seconds by class while it does something, and how long that took."""
    outside = time.perf_counter()
    before = client(node).classes
    inside = time.perf_counter()
    act()
    shortest = time.perf_counter() - inside
    after = client(node).classes
    times = {name: (after[name] - before[name]) / 1e9 for name in after}
    assert sum(times.values()) <= 1.001 * (time.perf_counter() - outside), "no time counts twice"
    return {"wall": shortest} | times


def test_a_client_that_waits_for_an_event_is_idle(node: Node) -> None:
    with node.subscribe("news", Noted) as events:
        times = spent(node, lambda: events.get(timeout=SECONDS))
    assert times["wall"] >= SECONDS
    assert times["idle"] >= 0.95 * times["wall"]


def test_a_client_that_waits_for_the_supervisor_is_idle(node: Node) -> None:
    times = spent(node, lambda: node.wait(SECONDS))
    assert times["wall"] >= SECONDS
    assert times["idle"] >= 0.95 * times["wall"]


@pytest.mark.parametrize("way", ["tell", "ask"])
def test_a_client_that_waits_for_room_is_idle_and_does_not_send(
    node: Node, tmp_path: Path, way: str
) -> None:
    gate = tmp_path / "gate"
    ref = node.spawn(Worker, mailbox=Mailbox(capacity=2))

    def fill() -> None:
        held = [ref.request(Compute(str(gate)))]
        Timer(SECONDS, gate.touch).start()
        for number in range(4):
            if way == "tell":
                ref.tell(Note(number))
            else:
                held.append(ref.request(Compute(str(gate))))
        for each in held:
            each.result()

    times = spent(node, fill)
    assert times["wall"] >= SECONDS
    assert times["idle"] >= 0.9 * SECONDS
    assert times["send"] <= 0.2 * SECONDS
    ref.stop()


@pytest.mark.parametrize("together", [False, True])
def test_what_is_told_at_least_once_is_accounted_for(
    node: Node, together: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"ledger-{together}"
    ledger = node.spawn(Ledger, name=name, facets=[Durable()])
    delivery = ledger._post._delivery  # type: ignore[attr-defined]  # ours
    send, sending = delivery.send, []

    def timed(batch: list[Any]) -> None:
        begun = time.perf_counter()
        send(batch)
        sending.append(time.perf_counter() - begun)

    monkeypatch.setattr(delivery, "send", timed)

    def tell() -> None:
        for number in range(500):
            ledger.tell(Note(number), delivery="at_least_once")

    def tell_all() -> None:
        if together:
            with node.together():
                tell()
        else:
            tell()

    before = _note_row(node)
    times = spent(node, tell_all)
    all_delivered(ledger)
    assert times["ser"] > 0.0
    assert len(sending) == (1 if together else 500)
    assert times["send"] >= sum(sending)
    after = eventually(lambda: _note_row(node, 500 + (before.messages if before else 0)), "all")
    peer_before = before.coord_ns.peer if before else 0
    assert after.coord_ns.peer - peer_before >= 0.8e9 * (times["send"] + times["ser"])


def _note_row(node: Node, messages: int = 0) -> TypeRow | None:
    rows = [row for row in node.granularity().types if row.message == "Note"]
    rows = [row for row in rows if row.actor == "Ledger" and row.messages >= messages]
    return rows[0] if rows else None


def test_an_async_ask_that_waits_for_room_is_one_message(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = tmp_path / "gate"
    ref = node.spawn(Worker, mailbox=Mailbox(capacity=1))
    post = node._connected().post
    look, looked = post.read_available, []

    def look_for_room() -> None:
        looked.append(True)
        look()

    async def ask() -> int:
        held = ref.request(Compute(str(gate)))
        monkeypatch.setattr(post, "read_available", look_for_room)
        asking = asyncio.create_task(ref.ask_async(GetQuote("sku", 3), timeout=10.0))
        async with asyncio.timeout(10.0):
            while len(looked) < 3:
                await asyncio.sleep(BLOCKED_WAIT)
        gate.touch()
        held.result()
        return (await asking).cents

    assert asyncio.run(ask()) == 300
    (row,) = [row for row in post.account.snapshot().sent if row.message == "GetQuote"]
    assert (row.messages, row.replies) == (1, 1)
    ref.stop()
