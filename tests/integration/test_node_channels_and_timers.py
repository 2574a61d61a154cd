from __future__ import annotations

from pathlib import Path

import pytest

from gristmill import Node, Ref
from support.actors import (
    Alarms,
    Arm,
    Clock,
    Compute,
    Crash,
    Listener,
    Noted,
    Notes,
    Pump,
    Speaker,
    Subscribe,
    Worker,
)
from support.waiting import eventually


@pytest.fixture(scope="module")
def speaker(node: Node) -> Ref[Speaker]:
    return node.spawn(Speaker, placement="w1")


@pytest.mark.parametrize("placement", ["w1", "w2"])
def test_subscribers_get_events_in_order(node: Node, speaker: Ref[Speaker], placement: str) -> None:
    listener = node.spawn(Listener, placement=placement)
    later = node.spawn(Worker, placement=placement)
    later.ask(Subscribe("numbers"))

    def hears() -> bool:
        speaker.tell(Pump(speaker, 1))
        return bool(later.ask(Notes()))

    eventually(hears, "who subscribes while it runs hears a moment later")
    with node.subscribe("numbers", Noted) as mine:
        speaker.tell(Pump(listener, 200))
        heard = [mine.get(5).number]
        while heard[-1] != 200:
            heard.append(mine.get(5).number)
        heard = heard[-200:]  # the ones before were for the late listener
    assert heard == list(range(1, 201))
    eventually(lambda: listener.ask(Notes())[-200:] == heard, "the listener has heard all")
    eventually(lambda: later.ask(Notes())[-200:] == heard, "the late listener has heard all")
    listener.stop()
    later.stop()


def test_a_subscription_holds_when_it_is_there(node: Node, speaker: Ref[Speaker]) -> None:
    for _ in range(50):
        listener = node.spawn(Listener, placement="w2")
        with node.subscribe("numbers", Noted) as mine:
            speaker.tell(Pump(speaker, 1))
            assert mine.get(5) == Noted(1)
        eventually(lambda ref=listener: ref.ask(Notes()) == [1], "the listener has heard it")
        listener.stop()


def test_a_worker_that_computes_does_not_hold_up_subscribers(node: Node, tmp_path: Path) -> None:
    busy = node.spawn(Worker, placement="w2")
    gate = tmp_path / "gate"
    held = busy.request(Compute(str(gate)))
    eventually(lambda: node.activity()[1].message == "Compute", "it computes")
    with node.subscribe("numbers", Noted) as mine:
        node.publish("numbers", Noted(1))
        assert mine.get(5) == Noted(1)
    listener = node.spawn(Listener, placement="w1")
    node.publish("numbers", Noted(2))
    eventually(lambda: listener.ask(Notes()) == [2], "the listener has heard it")
    gate.touch()
    assert held.result(5)
    listener.stop()
    busy.stop()


def test_a_client_publishes(node: Node) -> None:
    listener = node.spawn(Listener)
    with node.subscribe("numbers", Noted) as mine:
        for number in range(10):
            node.publish("numbers", Noted(number))
        assert [mine.get(5).number for _ in range(10)] == list(range(10))
    eventually(lambda: listener.ask(Notes()) == list(range(10)), "the listener has heard all")
    listener.stop()


def test_a_slow_subscription_drops_the_oldest_and_counts(node: Node, speaker: Ref[Speaker]) -> None:
    with (
        node.subscribe("numbers", Noted, capacity=10) as mine,
        node.subscribe("numbers", Noted) as all_of_them,
    ):
        speaker.tell(Pump(speaker, 50))
        assert [all_of_them.get(5).number for _ in range(50)] == list(range(1, 51))
        assert [event.number for event in mine.drain()] == list(range(41, 51))
        assert mine.dropped == 40


def test_timers_fire_once_and_not_too_early(node: Node) -> None:
    clock = node.spawn(Clock)
    delays = [0.03, 0.01, 0.02, 0]
    clock.ask(Arm(delays))
    fired = eventually(lambda: len(clock.ask(Alarms())) == 4 and clock.ask(Alarms()), "four timers")
    assert isinstance(fired, list)
    assert all(after >= delay for after, delay in zip(fired, sorted(delays), strict=True))


def test_timers_end_with_their_incarnation(node: Node) -> None:
    clock = node.spawn(Clock)
    clock.ask(Arm([0.1]))
    clock.tell(Crash("x"))
    clock.ask(Arm([0.12]))
    eventually(lambda: clock.ask(Alarms()), "the second timer")
    assert len(clock.ask(Alarms())) == 1
