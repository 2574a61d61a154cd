"""The in-memory channel between processes, and inside one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gristmill import Mailbox, Node
from gristmill.channels import ChannelClosedError
from gristmill.config import ChannelConfig
from gristmill.errors import UsageError
from support.behaviours import Follower, Gate, Ignored, Publish, Publisher, Seen, Tick
from support.waiting import eventually


@pytest.fixture(scope="module", params=["processes", "in_process"])
def node(
    request: pytest.FixtureRequest, own_temporary_directory: object, nothing_is_left: None
) -> Iterator[Node]:
    """Give a node of both kinds."""
    with Node(workers=2, in_process=request.param == "in_process") as started:
        yield started


def numbers(count: int, source: str) -> list[tuple[str, int]]:
    return [(source, number) for number in range(1, count + 1)]


def test_every_subscriber_gets_each_publishers_events_in_order(node: Node) -> None:
    followers = [node.spawn(Follower, placement=f"w{home}") for home in (1, 2)]
    publishers = [node.spawn(Publisher, placement=f"w{home}") for home in (1, 2)]
    with node.subscribe("ticks", Tick) as mine:
        for source, publisher in zip("ab", publishers, strict=True):
            publisher.tell(Publish("ticks", source, 300))
        for follower in followers:
            seen = eventually(
                lambda f=follower: len(got := f.ask(Seen())) == 600 and got, "every tick"
            )
            for source in "ab":
                assert [tick for tick in seen if tick[0] == source] == numbers(300, source)
        events = [mine.get(5) for _ in range(600)]
        assert [e.number for e in events if e.source == "a"] == list(range(1, 301))
        assert mine.get(0.01) is None
    for actor in (*followers, *publishers):
        actor.stop()


def test_CH01_a_slow_subscriber_is_bounded_and_its_loss_counted(  # noqa: N802 - a row's id
    node: Node, tmp_path: Path
) -> None:
    slow = node.spawn(Follower, placement="w1", mailbox=Mailbox(capacity=8))
    publisher = node.spawn(Publisher, placement="w2")
    dropped = node.counters().dropped_in_all
    gate = tmp_path / "gate"
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(slow.ask(Gate(str(gate)), timeout=30)))
    thread.start()
    eventually(lambda: node.status() and (tmp_path / "gate.held").exists(), "it is held")
    with node.subscribe("ticks", Tick) as mine:
        publisher.tell(Publish("ticks", "s", 100))
        assert [mine.get(5).number for _ in range(100)] == list(range(1, 101))
    held = eventually(
        lambda: node.counters().dropped_in_all - dropped >= 90 and 1, "the loss is counted"
    )
    gate.touch()
    thread.join(10)
    assert held
    assert len(answers) == 1
    seen = eventually(lambda: slow.ask(Seen()), "what fitted in")
    assert seen == numbers(len(seen), "s")
    assert len(seen) <= 8 + 2
    assert node.counters().dropped_in_all - dropped == 101 - len(seen)
    slow.stop()
    publisher.stop()


def test_a_clients_subscription_is_bounded_and_counts(node: Node) -> None:
    publisher = node.spawn(Publisher)
    with node.subscribe("one", Tick, capacity=10) as narrow, node.subscribe("one", Tick) as wide:
        publisher.tell(Publish("one", "n", 50))
        assert [wide.get(5).number for _ in range(50)] == list(range(1, 51))
        assert narrow.dropped == 40
        assert narrow.get(0) == Tick("n", 41)
        assert len(narrow.drain()) == 9
        assert narrow.get(0) is None
    publisher.stop()


def test_CH02_a_closed_subscription_drains_and_then_says_so(node: Node) -> None:  # noqa: N802 - a row's name
    subscription = node.subscribe("closing", Tick)
    node.publish("closing", Tick("c", 1))
    node.publish("closing", Tick("c", 2))
    node.publish("closing", Ignored())
    assert subscription.get(5) == Tick("c", 1)
    subscription.close()
    subscription.close()
    node.publish("closing", Tick("c", 3))
    assert subscription.get() == Tick("c", 2)
    with pytest.raises(ChannelClosedError, match="'closing' is closed"):
        subscription.get()
    assert subscription.drain() == []
    assert list(subscription) == []


def test_closing_wakes_who_waits(node: Node) -> None:
    subscription = node.subscribe("quiet", Tick)
    outcome: list[object] = []

    def wait() -> None:
        outcome.extend(subscription)
        outcome.append("ended")

    thread = threading.Thread(target=wait)
    thread.start()
    subscription.close()
    thread.join(5)
    assert outcome == ["ended"]


def test_subscribing_again_after_closing(node: Node) -> None:
    for number in range(5):
        with node.subscribe("again", Tick) as subscription:
            node.publish("again", Tick("x", number))
            assert subscription.get(5) == Tick("x", number)


def test_publishing_after_the_end_fails() -> None:
    with Node(workers=1, in_process=True) as node:
        subscription = node.subscribe("end", Tick)
        node.publish("end", Tick("x", 1))
    assert subscription.get() == Tick("x", 1)
    with pytest.raises(UsageError, match="does not run"):
        node.publish("end", Tick("x", 2))


def test_an_actor_can_not_subscribe_where_every_backend_is_off() -> None:
    with (
        Node(workers=1, in_process=True, channels=ChannelConfig(use_in_memory=False)) as node,
        pytest.raises(Exception, match="every backend is off"),
    ):
        node.spawn(Follower)
