# ruff: noqa: N802 - named by the conformance row's id
"""Conformance group 1: starting; what the pure tree decides."""

from __future__ import annotations

import pytest

from gristmill import supervision as sv
from gristmill.supervision import Ending, Restart, State, Strategy
from support.supervision import CRASH, TRANSIENT, World, actor, root, running


def test_ST01_started_in_order_each_after_the_one_before() -> None:
    world = World(root("a", "b", "c"))
    world.slow_start = {"a", "b", "c"}
    world.start()
    seen = []
    for child in "abc":
        seen.append(list(world.log))
        world.come_up(child)
        world.feed([])
    assert seen == [["start a"], ["start a", "start b"], ["start a", "start b", "start c"]]
    assert world.log[-1] == "tree started"


def test_ST01_failed_static_start_undoes_what_was_started() -> None:
    world = World(root("a", "b", "c"))
    world.failing = {"c"}
    world.start()
    assert world.log == ["start a", "start b", "start c", "stop b", "stop a"]
    assert world.stopped is not None
    assert (world.stopped.reason, world.stopped.ending) == (CRASH, Ending.START_FAILED)
    assert world.stopped.causes == ("root/c: crash: ValueError: x", "root: failed to start")


@pytest.mark.parametrize("restart", [Restart.PERMANENT, TRANSIENT])
def test_ST06_ignored_child_is_kept_and_not_active(restart: Restart) -> None:
    world = World(root(actor("a", restart), "b"))
    world.ignoring = {"a"}
    world.start()
    assert world.counts() == (2, 1, 0, 2)
    assert world.state("root/a") is State.STOPPED
    assert not world.reports


@pytest.mark.parametrize("restart", list(Restart))
def test_ST08_ignored_dynamic_child_is_not_stored(restart: Restart) -> None:
    world = running(strategy=Strategy.DYNAMIC)
    world.ignoring = {"a"}
    _, outcome = world.add("root", actor("a", restart))
    assert outcome == sv.Ignored()
    assert world.counts() == (0, 0, 0, 0)
    assert world.stop() == []


@pytest.mark.parametrize("strategy", list(Strategy))
def test_ST10_failed_dynamic_start_is_forgotten(strategy: Strategy) -> None:
    world = running(strategy=strategy, max_restarts=0)
    world.add("root", actor("a"))
    world.failing = {"b"}
    _, outcome = world.add("root", actor("b"))
    assert outcome == sv.Failed(CRASH)
    assert world.counts() == (1, 1, 0, 1)
    assert world.tree.snapshot(0).restarts_in_window == 0
    assert world.log == ["tree started", "start a", "start b"]
