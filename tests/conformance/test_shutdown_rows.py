# ruff: noqa: N802 - named by the conformance row's id
"""Conformance group 6: shutdown; what the pure tree decides."""

from __future__ import annotations

import pytest

from gristmill import supervision as sv
from gristmill.errors import ActorNotFoundError
from gristmill.supervision import Ending, State, Strategy
from support.supervision import (
    CRASH,
    KILLED,
    NORMAL,
    SHUTDOWN,
    World,
    actor,
    running,
    supervisor,
    two_levels,
)


def test_SD01_stopped_in_reverse_one_by_one() -> None:
    world = running(*"abcde")
    world.slow_stop = set("abcde")
    world.stop()
    for child in "edcba":
        assert world.log[-1] == f"stop {child}"
        world.exit(child, SHUTDOWN)
        world.feed([])
    assert world.stopped == sv.TreeStopped(SHUTDOWN, Ending.STOPPED, ())


def test_SD03_SD07_killed_when_the_timeout_is_over() -> None:
    world = running("a", actor("b", shutdown=1.0), "c")
    world.slow_stop = {"b"}
    assert world.stop() == ["stop c", "stop b"]
    world.wait(0.999)
    assert world.log[-1] == "stop b"
    world.wait(0.001)
    assert world.log[-2:] == ["kill b", "stop a"]
    assert [(record.child, record.reason) for record in world.reports] == [("b", KILLED)]
    assert world.stopped is not None


def test_SD04_brutal_kill_does_not_ask() -> None:
    world = running(actor("a", shutdown=sv.BRUTAL_KILL))
    assert world.stop() == ["kill a"]
    assert not world.reports


def test_SD05_infinity_waits() -> None:
    inner = supervisor("inner", actor("b", shutdown=sv.INFINITY))
    world = running(actor("a", shutdown=sv.INFINITY), inner)
    world.slow_stop = {"a", "b"}
    world.stop()
    world.wait(1e6)
    assert world.log[-1] == "stop b"
    world.exit("b", SHUTDOWN)
    world.feed([])
    world.wait(1e6)
    assert world.log[-1] == "stop a"
    assert world.stopped is None


def test_SD05_supervisor_with_a_timeout_is_killed_with_all_below() -> None:
    inner = supervisor("inner", "a", "b", shutdown=1.0)
    world = running(inner)
    world.slow_stop = {"b"}
    world.stop()
    world.wait(1.0)
    assert world.log[-3:] == ["stop b", "kill b", "kill a"]
    assert world.stopped is not None


@pytest.mark.parametrize("reason", [NORMAL, SHUTDOWN, CRASH])
def test_SD08_children_that_end_by_themselves_during_a_stop(reason: sv.ExitReason) -> None:
    world = running("a", "b", "c")
    world.slow_stop = {"c"}
    world.stop()
    world.crash("a", reason=reason)
    world.crash("c", reason=reason)
    assert world.log[-2:] == ["stop c", "stop b"]
    assert world.stopped == sv.TreeStopped(SHUTDOWN, Ending.STOPPED, ())
    decisions = [record.decision for record in world.reports]
    assert decisions == ([] if sv.is_ordered(reason) else [sv.Decision.STOPPING] * 2)


def test_SD10_dynamic_children_are_asked_all_at_once_under_one_deadline() -> None:
    world = running(strategy=Strategy.DYNAMIC)
    for child in "abcde":
        world.add("root", actor(child, shutdown=1.0))
    world.slow_stop = set("abcde")
    assert world.stop() == ["stop e", "stop d", "stop c", "stop b", "stop a"]
    world.exit("a", SHUTDOWN)
    world.feed([])
    world.wait(1.0)
    assert sorted(world.log[-4:]) == ["kill b", "kill c", "kill d", "kill e"]
    assert world.stopped is not None


def test_SD12_restarting_child_is_not_started_by_a_stop() -> None:
    world = running(actor("a", backoff=sv.Backoff(1.0, 8.0)))
    world.crash("a")
    assert world.state("root/a") is State.RESTARTING
    assert world.stop() == []
    assert world.stopped is not None
    assert not world.timers


def test_SD13_kill_takes_everything_at_once() -> None:
    world = World(two_levels()).start()
    world.feed(world.tree.kill(0))
    assert world.log[-3:] == ["kill c", "kill b", "kill a"]
    assert world.stopped is not None


def test_SD15_second_stop_does_nothing() -> None:
    world = running("a")
    world.stop()
    assert world.stop() == []
    with pytest.raises(ActorNotFoundError):
        world.tree.count_children(world.tree.root)
