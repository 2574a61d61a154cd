"""What a node records of single messages: every one leads from where it was sent to its handler."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gristmill import Node, Ref
from gristmill.errors import UsageError
from gristmill.metrics.tracing import EVENTS
from gristmill.reporting import MessageTrace
from support.chrome import Arrow, Chrome
from support.messengers import (
    CHANNEL,
    Ask,
    Batcher,
    Crash,
    Keeper,
    Messenger,
    News,
    Note,
    Noted,
    Pass,
    Publish,
    Remark,
    Send,
    Slow,
    Tell,
)
from support.waiting import eventually

LONG = 60.0


@pytest.fixture(scope="module")
def node(nothing_is_left: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    journal = tmp_path_factory.mktemp("journal")
    with Node(workers=2, journal=journal, trace=True) as started:
        yield started


@pytest.fixture
def here(node: Node) -> Iterator[Ref[Messenger]]:
    ref = node.spawn(Messenger, placement="w1")
    yield ref
    ref.stop()


@pytest.fixture(params=["w1", "w2"])
def there(node: Node, request: pytest.FixtureRequest) -> Iterator[Ref[Messenger]]:
    """Give an actor beside the first one, and one in the other worker."""
    ref = node.spawn(Messenger, name=f"there-{request.param}", placement=request.param)
    yield ref
    ref.stop()


@pytest.fixture
def since(node: Node) -> int:
    """Give the ns since the node's start at which the test has begun."""
    trace = node.message_trace(1e-6)
    return trace.end_ns - trace.base_ns


def drawn(node: Node) -> Chrome:
    return Chrome(node.message_trace(LONG).json())


def arrows(node: Node, since: int, to: str) -> list[Arrow]:
    """Give the arrows to the handlers of a message, in the order in which they were sent."""
    found = [
        arrow
        for arrow in drawn(node).arrows
        if arrow.end.name.rpartition(".")[2] == to and arrow.sent > since
    ]
    return sorted(found, key=lambda arrow: arrow.sent)


def outermost(arrow: Arrow) -> str:
    """Give the name of the whole slice in which a message was sent."""
    return (*arrow.start.parents, arrow.start.name)[0]


def test_an_ask_leads_from_the_client_to_the_handler(
    node: Node, here: Ref[Messenger], since: int
) -> None:
    for _ in range(20):
        here.ask(Noted())
    found = arrows(node, since, "Noted")
    assert len(found) == 20
    for arrow in found:
        assert outermost(arrow) == "ask Messenger.Noted"
        assert arrow.start.process == "client"
        assert (arrow.end.process, arrow.end.name) == ("w1", "Messenger.Noted")
        assert arrow.handled == arrow.end.begin
    shown = drawn(node).slices
    asked = {each.name for each in shown if each.parents[:1] == ("ask Messenger.Noted",)}
    assert {"request Messenger.Noted", "ser", "send", "idle", "deser"} <= asked
    handled = {each.name for each in shown if each.parents == ("Messenger.Noted",)}
    assert {"dispatch", "deser", "compute", "ser"} <= handled


def test_each_of_a_run_of_requests_has_its_arrow(
    node: Node, here: Ref[Messenger], since: int
) -> None:
    list(here.ask_many([Noted()] * 300, window=128))
    found = arrows(node, since, "Noted")
    assert len(found) == 300
    assert {outermost(arrow) for arrow in found} <= {
        f"request Messenger.Noted x{count}" for count in range(1, 129)
    }
    handled = [arrow.handled for arrow in found]
    assert len(set(handled)) == 300


def test_tells_of_the_client_are_not_taken_for_each_other(
    node: Node, here: Ref[Messenger], since: int
) -> None:
    for number in range(200):
        here.tell(Remark("r") if number % 3 else Note("n"))
    assert here.ask(Noted()) == 200
    for kind, count in (("Note", 67), ("Remark", 133)):
        found = arrows(node, since, kind)
        assert len(found) == count
        assert {outermost(arrow) for arrow in found} == {f"tell Messenger.{kind}"}
        handled = [arrow.handled for arrow in found]
        assert handled == sorted(handled), "they came in the order in which they were sent"


def test_tells_of_an_actor_lead_from_its_handler(
    node: Node, here: Ref[Messenger], there: Ref[Messenger], since: int
) -> None:
    here.ask(Tell(there, 100))
    eventually(lambda: there.ask(Noted()) == 100, "all have come")
    found = sorted(
        [*arrows(node, since, "Note"), *arrows(node, since, "Remark")], key=lambda a: a.sent
    )
    assert len(found) == 100
    place = there.address.name.removeprefix("there-")
    for number, arrow in enumerate(found):
        assert arrow.start.process == "w1"
        assert arrow.start.parents == ("Messenger.Tell",)
        assert (arrow.end.process, arrow.end.name) == (
            place,
            "Messenger.Remark" if number % 2 else "Messenger.Note",
        )


def test_what_is_told_at_least_once_has_arrows_too(node: Node, since: int) -> None:
    teller = node.spawn(Messenger, name="teller", placement="w1")
    keeper = node.spawn(Keeper, name="keeper", placement="w2")
    teller.ask(Tell(keeper, 10, "at_least_once"))
    keeper.tell(Note("from the client"), delivery="at_least_once")
    eventually(lambda: keeper.ask(Noted()) == 11, "all have come")
    found = [*arrows(node, since, "Note"), *arrows(node, since, "Remark")]
    assert len(found) == 11
    assert {(arrow.start.process, outermost(arrow)) for arrow in found} <= {
        ("w1", "Messenger.Tell"),
        ("w1", "dispatch"),  # if the worker has only heard then where the name is
        ("client", "tell Keeper.Note"),
    }
    keeper.stop()
    teller.stop()


def test_asks_of_an_actor_and_its_steps_between_them(
    node: Node, here: Ref[Messenger], there: Ref[Messenger], since: int
) -> None:
    here.ask(Ask(there))
    (to_noted,) = arrows(node, since, "Noted")
    (to_slow,) = arrows(node, since, "Slow")
    for arrow in (to_noted, to_slow):
        assert arrow.start.process == "w1"
        assert outermost(arrow) == "Messenger.Ask"
    assert to_slow.sent > to_noted.handled, "it was sent in a later step of the handler"
    steps = [s for s in drawn(node).messages("w1") if s.name == "Messenger.Ask" and s.begin > since]
    assert len(steps) >= 3


def test_an_actor_tells_itself(node: Node, here: Ref[Messenger], since: int) -> None:
    here.tell(Pass())
    eventually(lambda: here.ask(Noted()) == 1, "it has come")
    (arrow,) = arrows(node, since, "Later")
    assert (arrow.start.process, arrow.end.process) == ("w1", "w1")
    assert outermost(arrow) == "Messenger.Pass"


@pytest.mark.parametrize("size", [10, 100_000], ids=["in band", "in shared memory"])
def test_messages_with_arrays(
    node: Node, here: Ref[Messenger], there: Ref[Messenger], since: int, size: int
) -> None:
    here.ask(Send(there, size))
    for kind in ("Load", "Total"):
        (arrow,) = arrows(node, since, kind)
        assert outermost(arrow) == "Messenger.Send"


def test_an_event_leads_to_every_subscriber(node: Node, here: Ref[Messenger], since: int) -> None:
    hearers = [
        node.spawn(Messenger, kwargs={"hears": True}, placement=place) for place in ("w1", "w2")
    ]
    here.ask(Publish())
    node.publish(CHANNEL, News(2))
    eventually(lambda: [each.ask(Noted()) for each in hearers] == [2, 2], "both have come")
    found = arrows(node, since, "News")
    assert sorted((arrow.start.process, arrow.end.process) for arrow in found) == [
        ("client", "w1"),
        ("client", "w2"),
        ("w1", "w1"),
        ("w1", "w2"),
    ]
    for hearer in hearers:
        hearer.stop()


def test_a_batch_is_one_slice_with_an_arrow_for_each(node: Node, since: int) -> None:
    batcher = node.spawn(Batcher, placement="w1")
    list(batcher.ask_many([Noted()] * 64, window=64))
    found = arrows(node, since, "Noted")
    assert len(found) == 64
    calls = {arrow.end for arrow in found}
    assert len(calls) < 64
    assert {call.name for call in calls} == {"Batcher.Noted"}
    batcher.stop()


def test_a_handler_that_raises_is_a_slice_like_others(
    node: Node, here: Ref[Messenger], since: int
) -> None:
    monitor = node.monitor(here)
    here.tell(Crash())
    monitor.wait(5.0)
    assert here.ask(Noted()) == 0
    assert [outermost(arrow) for arrow in arrows(node, since, "Crash")] == ["tell Messenger.Crash"]


def test_starts_and_counters_are_there(node: Node, here: Ref[Messenger]) -> None:
    for _ in range(200):
        here.tell(Note("n"))
    here.ask(Noted())
    drawing = drawn(node)
    assert "Messenger.start" in {each.name for each in drawing.messages("w1")}
    waiting = drawing.counters("in mailboxes")
    assert max(value for _, _, value in waiting) > 1
    assert waiting[-1][2] == 0
    ratios = drawing.counters("compute/coordinate")
    assert {process for process, _, _ in ratios} == {"w1", "w2"}


def test_the_window_bounds_what_is_shown(node: Node, here: Ref[Messenger]) -> None:
    here.ask(Slow())
    before = node.message_trace(LONG)
    here.ask(Noted())
    window = (node.message_trace(LONG).end_ns - before.end_ns) / 1e9
    drawing = Chrome(node.message_trace(window).json())
    assert "Messenger.Slow" not in {each.name for each in drawing.messages()}


def test_a_killed_worker_is_missing_and_the_next_one_is_there() -> None:
    with Node(workers=2, trace=True) as node:
        here = node.spawn(Messenger, placement="w1")
        there = node.spawn(Messenger, placement="w2")
        here.ask(Noted())
        (pid,) = (each.pid for each in node.status().workers if each.name == "w1")
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: node.status().worker_restarts == 1, "it is noticed")
        eventually(lambda: node.status().workers[0].state == "ready", "the next one is up")
        there.ask(Noted())
        here.ask(Noted())
        trace = node.message_trace(LONG)
        assert trace.missing == ("w1.1",)
        assert "missing: w1.1" in trace.summary()
        drawing = Chrome(trace.json())
        assert [(a.end.process, a.end.name) for a in drawing.arrows] == [
            ("w2", "Messenger.Noted"),
            ("w1", "Messenger.Noted"),
        ]
        assert node.message_trace(1e-6).missing == (), "that was before this window"


def test_a_full_ring_says_what_it_has_dropped() -> None:
    with Node(workers=1, trace=True) as node:
        ref = node.spawn(Messenger)
        list(ref.ask_many([Noted()] * (EVENTS // 4), window=1024))
        trace = node.message_trace(LONG)
        (worker,) = (each for each in trace.processes if each.name == "w1")
        assert worker.dropped > 0
        assert len(worker.records) == EVENTS
        assert "w1: only the last" in trace.summary()
        drawing = Chrome(trace.json())
        assert drawing.document["otherData"]["dropped"]["w1"] == worker.dropped
        assert 1000 < len(drawing.arrows) < EVENTS // 4


def test_arrows_stay_right_when_a_worker_is_replaced() -> None:
    """What it had in its mailboxes has no arrows; no other one is taken for something else."""
    with Node(workers=2, trace=True) as node, ThreadPoolExecutor() as threads:
        here = node.spawn(Messenger, placement="w1")
        reloading = threads.submit(node.reload)
        told = 0
        while not reloading.done():
            here.tell(Remark("r") if told % 3 else Note("n"))
            told += 1
        reloading.result()
        for number in range(20):
            here.tell(Remark("r") if number % 3 else Note("n"))
        here.ask(Noted())
        trace = node.message_trace(LONG)
        assert set(trace.missing) == {"w1.1", "w2.1"}, "they have ended, in order"
        found = Chrome(trace.json()).arrows
        assert {(outermost(arrow), arrow.end.name) for arrow in found} == {
            ("tell Messenger.Note", "Messenger.Note"),
            ("tell Messenger.Remark", "Messenger.Remark"),
            ("ask Messenger.Noted", "Messenger.Noted"),
        }


def test_who_records_nothing_says_so(tmp_path: Path) -> None:
    with Node(workers=1) as node:
        node.spawn(Messenger).ask(Noted())
        with pytest.raises(UsageError, match=r"trace=True"):
            node.message_trace()
    with pytest.raises(UsageError, match="in_process"):
        Node(workers=1, in_process=True, trace=True)


def test_a_window_is_above_zero(node: Node) -> None:
    with pytest.raises(UsageError, match="window"):
        node.message_trace(0)


def test_a_trace_is_written_into_a_file(node: Node, here: Ref[Messenger], tmp_path: Path) -> None:
    here.ask(Noted())
    trace: MessageTrace = node.message_trace(LONG)
    trace.write(tmp_path / "trace.json")
    assert Chrome((tmp_path / "trace.json").read_bytes()).messages("w1")
