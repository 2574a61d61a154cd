# ruff: noqa: N802 - named by the conformance row's id
"""Conformance group 5: restart intensity; what the pure tree decides."""

from __future__ import annotations

import pytest

from gristmill import supervision as sv
from gristmill.supervision import Ending, Strategy
from support.supervision import (
    NORMAL,
    TEMPORARY,
    TRANSIENT,
    World,
    actor,
    root,
    running,
    supervisor,
)


@pytest.mark.parametrize("strategy", list(Strategy))
def test_RI01_one_restart_too_many_ends_the_supervisor(strategy: Strategy) -> None:
    world = running(strategy=strategy, max_restarts=3)
    for child in "ab":
        world.add("root", actor(child))
    for _ in range(3):
        world.crash("b")
    assert "b" in world.live
    assert world.crash("b") == ["stop a"]
    assert world.stopped is not None
    assert isinstance(world.stopped.reason, sv.Shutdown)
    assert world.stopped.ending is Ending.INTENSITY


def test_RI02_no_restart_allowed() -> None:
    world = running("a", actor("t", TEMPORARY), actor("n", TRANSIENT), max_restarts=0)
    world.crash("t")
    world.crash("n", reason=NORMAL)
    assert world.stopped is None
    world.crash("a")
    assert world.stopped is not None


def test_RI03_the_budget_is_shared() -> None:
    world = running("a", "b", max_restarts=1)
    world.crash("a")
    world.crash("b")
    assert world.stopped is not None


def test_RI04_a_group_restart_costs_one() -> None:
    world = running(*"abcdefghij", strategy=Strategy.ONE_FOR_ALL, max_restarts=1)
    world.crash("e")
    assert world.tree.snapshot(0).restarts_in_window == 1
    assert len(world.live) == 10


@pytest.mark.parametrize("strategy", list(Strategy))
def test_RI06_failed_attempts_count(strategy: Strategy) -> None:
    world = running(strategy=strategy, max_restarts=3)
    world.add("root", actor("a"))
    world.failing = {"a"}
    assert world.crash("a") == ["start a"] * 3
    assert world.stopped is not None


def test_RI07_sliding_window() -> None:
    world = running("a", max_restarts=2, within=10.0)
    for at in (0, 8, 11):
        world.now = at
        assert world.crash("a") == ["start a"]
    world.now = 12
    world.crash("a")
    assert world.stopped is not None


def test_RI07_both_ends_of_the_window_count() -> None:
    intensity = sv.RestartIntensity(1, 10.0)
    assert intensity.record(0.0)
    assert not intensity.record(10.0)
    later = sv.RestartIntensity(1, 10.0)
    assert later.record(0.0)
    assert later.record(10.000001)


def test_RI09_slow_crashes_never_add_up() -> None:
    world = running("a", max_restarts=1, within=5.0)
    for _ in range(100):
        world.now += 5.001
        assert world.crash("a") == ["start a"]


@pytest.mark.parametrize("origin", [0.0, 1e6, -3600.0])
def test_RI10_only_differences_of_the_given_time_count(origin: float) -> None:
    world = running("a", max_restarts=1, within=5.0)
    ended = []
    for at in (0.0, 5.5, 10.5):
        world.now = origin + at
        world.crash("a")
        ended.append(world.stopped is not None)
    assert ended == [False, False, True]


def test_RI13_restarted_supervisor_has_an_empty_history() -> None:
    world = World(root(supervisor("inner", "a", max_restarts=1), max_restarts=5)).start()
    for restarts_of_root in (0, 1, 1, 2, 2, 3):
        world.crash("a")
        assert world.tree.snapshot(0).restarts_in_window == restarts_of_root


def test_RI15_the_chain_of_causes_goes_up_to_the_root() -> None:
    services = supervisor("services", "payment", max_restarts=0)
    world = World(root(services, "orders", max_restarts=0)).start()
    assert world.crash("payment") == ["stop orders"]
    assert world.stopped is not None
    assert world.stopped.causes == (
        "root/services/payment: crash: ValueError: x",
        "root/services: restart intensity exceeded (1 restarts in 5 s, 0 allowed)",
        "root: restart intensity exceeded (1 restarts in 5 s, 0 allowed)",
    )
