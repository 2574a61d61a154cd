# ruff: noqa: N802 - named by the conformance row's id
"""Conformance group 4: strategies; what the pure tree decides."""

from __future__ import annotations

from gristmill import supervision as sv
from gristmill.supervision import Ending, Strategy
from support.supervision import (
    CRASH,
    SHUTDOWN,
    TEMPORARY,
    World,
    actor,
    running,
    two_levels,
)


def test_SG01_one_for_one_replaces_only_the_failed_child() -> None:
    assert running("a", "b", "c").crash("a") == ["start a"]


def test_SG02_one_for_all_stops_in_reverse_and_starts_in_order() -> None:
    world = running(*"abcd", strategy=Strategy.ONE_FOR_ALL)
    old = dict(world.live)
    log = world.crash("b")
    assert log == ["stop d", "stop c", "stop a", "start a", "start b", "start c", "start d"]
    assert all(world.live[child] > old[child] for child in "abcd")


def test_SG04_rest_for_one_restarts_from_the_failed_child_on() -> None:
    world = running(*"abc", strategy=Strategy.REST_FOR_ONE)
    assert world.crash("c") == ["start c"]
    assert world.crash("b") == ["stop c", "start b", "start c"]


def test_SG05_failed_start_in_a_group_restart_retries_the_group() -> None:
    world = running("a", "b", strategy=Strategy.ONE_FOR_ALL, max_restarts=2)
    world.failing = {"b"}
    log = world.crash("a")
    attempt = ["start a", "start b", "stop a"]
    assert log == ["stop b", *attempt, *attempt]
    assert world.stopped is not None
    assert world.stopped.ending is Ending.INTENSITY


def test_SG07_temporary_bystander_is_removed() -> None:
    world = running("a", actor("t", TEMPORARY), strategy=Strategy.ONE_FOR_ALL)
    assert world.crash("a") == ["stop t", "start a"]
    assert world.counts() == (1, 1, 0, 1)


def test_SG10_dynamic_child_is_restarted_with_its_own_arguments() -> None:
    world = running(strategy=Strategy.DYNAMIC)
    for number in range(3):
        world.add("root", sv.ChildSpec(f"a{number}", bytes([number])))
    old = dict(world.live)
    actions = world.tree.actors_exited([world.live.pop("a1")], CRASH, 0)
    key, incarnation = old["a1"]
    starts = [action for action in actions if isinstance(action, sv.StartActor)]
    assert starts == [sv.StartActor(key, incarnation + 1, sv.ChildSpec("a1", b"\x01"))]


def test_SG11_dynamic_child_that_ignores_its_restart_is_dropped() -> None:
    world = running(strategy=Strategy.DYNAMIC)
    world.add("root", actor("a"))
    world.ignoring = {"a"}
    world.crash("a")
    assert world.counts() == (0, 0, 0, 0)


def test_SG12_inner_restart_leaves_other_supervisors_alone() -> None:
    world = World(two_levels()).start()
    assert world.crash("a") == ["start a"]
    assert world.tree.snapshot(0).restarts_in_window == 0


def test_SG13_restarted_supervisor_brings_back_its_static_children() -> None:
    world = World(two_levels(strategy=Strategy.ONE_FOR_ALL)).start()
    world.add("root/one/pool", actor("p"))
    world.add("root/two", actor("d"))
    world.crash("a")
    log = world.crash("b")
    assert log == ["stop p", "stop a", "stop d", "stop c", "start a", "start b", "start c"]
    assert world.counts("root/one/pool") == (0, 0, 0, 0)
    assert world.counts("root/two") == (1, 1, 0, 1)


def test_SG14_nothing_starts_before_all_old_ones_are_dead() -> None:
    world = running("a", "b", "c", strategy=Strategy.ONE_FOR_ALL)
    world.slow_stop = {"a"}
    assert world.crash("b") == ["stop c", "stop a"]
    world.exit("a", SHUTDOWN)
    world.feed([])
    assert world.log[-3:] == ["start a", "start b", "start c"]


def test_SG15_added_child_ranks_last() -> None:
    world = running("a", "b", strategy=Strategy.REST_FOR_ONE)
    world.add("root", actor("z"))
    world.add("root", actor("c"))
    assert world.crash("b") == ["stop c", "stop z", "start b", "start z", "start c"]
    assert world.crash("z") == ["stop c", "start z", "start c"]
