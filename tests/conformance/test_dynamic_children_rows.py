# ruff: noqa: N802 - named by the conformance row's id
"""Conformance group 8: dynamic children and introspection; what the pure tree decides."""

from __future__ import annotations

import time

import pytest

from gristmill import supervision as sv
from gristmill.errors import ActorNotFoundError, AlreadyStartedError
from gristmill.supervision import State, Strategy
from support.supervision import (
    CRASH,
    NORMAL,
    TEMPORARY,
    TRANSIENT,
    World,
    actor,
    running,
    supervisor,
    two_levels,
)


def test_DA01_DA02_taken_ids() -> None:
    world = running("a", actor("t", TRANSIENT))
    world.crash("t", reason=NORMAL)
    with pytest.raises(AlreadyStartedError, match="root/a is running"):
        world.add("root", actor("a"))
    with pytest.raises(sv.AlreadyPresentError, match="root/t"):
        world.add("root", actor("t"))


def test_DA03_terminated_child_is_kept_unless_temporary() -> None:
    world = running("a", actor("t", TEMPORARY), max_restarts=0)
    assert world.terminate("root/a") == world.terminate("root/t") == sv.Terminated()
    assert world.counts() == (1, 0, 0, 1)
    assert world.log[-2:] == ["stop a", "stop t"]
    assert world.tree.snapshot(0).restarts_in_window == 0


def test_DA03_terminate_waits_for_the_end() -> None:
    world = running(actor("a", shutdown=1.0))
    world.slow_stop = {"a"}
    assert world.terminate("root/a") is None
    world.wait(1.0)
    assert list(world.completed.values()) == [sv.Terminated()]


def test_DA04_terminate_is_idempotent() -> None:
    world = running("a")
    world.terminate("root/a")
    assert world.terminate("root/a") == sv.Terminated()


def test_DA05_unknown_children() -> None:
    tree = running("a").tree
    for call in (tree.terminate_child, tree.restart_child):
        with pytest.raises(sv.ChildNotFoundError, match="99"):
            call(99, 0)
    with pytest.raises(sv.ChildNotFoundError, match="99"):
        tree.delete_child(99)
    for child in ("b", 99, tree.root):
        with pytest.raises(sv.ChildNotFoundError, match="root has no child"):
            tree.child_of(tree.root, child)
    with pytest.raises(ActorNotFoundError, match="'root/b'"):
        tree.by_path("root/b")


def test_DA06_DA07_restart_and_delete_need_a_stopped_child() -> None:
    world = running("a", actor("b", backoff=sv.Backoff(1.0, 8.0)))
    world.crash("b")
    refusals = {"root/a": sv.ChildRunningError, "root/b": sv.ChildRestartingError}
    for path, refusal in refusals.items():
        with pytest.raises(refusal):
            world.restart(path)
        with pytest.raises(refusal):
            world.tree.delete_child(world.key(path))
    world.terminate("root/a")
    assert isinstance(world.restart("root/a"), sv.Started)
    world.terminate("root/a")
    world.tree.delete_child(world.key("root/a"))
    assert world.counts() == (1, 0, 0, 1)


def test_DA06_failed_restart_child_leaves_it_stopped() -> None:
    world = running("a", max_restarts=0)
    world.terminate("root/a")
    world.failing = {"a"}
    assert world.restart("root/a") == sv.Failed(CRASH)
    assert world.state("root/a") is State.STOPPED


def test_DA09_dead_supervisor() -> None:
    world = World(two_levels()).start()
    key = world.key("root/two")
    child = world.key("root/two/c")
    world.terminate("root/two")
    for call in (
        lambda: world.tree.add_child(key, actor("x"), 0),
        lambda: world.tree.terminate_child(child, 0),
        lambda: world.tree.restart_child(child, 0),
        lambda: world.tree.delete_child(child),
        lambda: world.tree.which_children(key),
        lambda: world.tree.count_children(key),
    ):
        with pytest.raises(sv.SupervisorNotFoundError, match="root/two is stopped"):
            call()


def test_DA10_dynamic_supervisor_has_no_restart_and_no_delete() -> None:
    world = running(strategy=Strategy.DYNAMIC)
    key, _ = world.add("root", actor("a"))
    with pytest.raises(sv.StrategyError, match="restart root/a"):
        world.tree.restart_child(key, 0)
    with pytest.raises(sv.StrategyError, match="delete root/a"):
        world.tree.delete_child(key)
    assert world.terminate("root/a") == sv.Terminated()
    assert world.counts() == (0, 0, 0, 0)


def test_DA12_terminate_cancels_a_pending_restart() -> None:
    world = running(actor("a", backoff=sv.Backoff(1.0, 8.0)))
    world.crash("a")
    assert world.terminate("root/a") == sv.Terminated()
    assert not world.timers
    world.wait(100)
    assert world.log == ["start a", "tree started"]


def test_DA12_terminate_ends_a_running_attempt() -> None:
    world = running("a")
    world.slow_start = {"a"}
    world.crash("a")
    assert world.terminate("root/a") == sv.Terminated()
    assert world.state("root/a") is State.STOPPED


def test_DA13_work_grows_in_proportion_to_the_children() -> None:
    def cost(children: int) -> float:
        world = running(strategy=Strategy.DYNAMIC)
        began = time.process_time()
        for number in range(children):
            world.add("root", actor(f"a{number}", TEMPORARY))
        for number in range(children):
            world.terminate(f"root/a{number}")
        return time.process_time() - began

    assert cost(3000) < 50 * cost(300)


def test_DA14_max_children() -> None:
    world = running(strategy=Strategy.DYNAMIC, max_children=2)
    world.add("root", actor("a"))
    world.add("root", actor("b", backoff=sv.Backoff(1.0, 8.0)))
    world.crash("b")
    with pytest.raises(sv.MaxChildrenError, match="its 2 children"):
        world.add("root", actor("c"))
    world.terminate("root/b")
    assert isinstance(world.add("root", actor("c"))[1], sv.Started)


def test_DA18_which_children_lists_the_newest_first() -> None:
    world = running("a", actor("t", TRANSIENT), supervisor("s"))
    world.crash("t", reason=NORMAL)
    rows = world.tree.which_children(world.tree.root)
    assert [(row.id, row.state, row.kind) for row in rows] == [
        ("s", State.RUNNING, "supervisor"),
        ("t", State.STOPPED, "actor"),
        ("a", State.RUNNING, "actor"),
    ]


def test_DA19_count_children() -> None:
    world = running("a", actor("b", backoff=sv.Backoff(1.0, 8.0)), supervisor("s"))
    world.crash("b")
    assert world.counts() == (3, 2, 1, 2)


def test_DA21_rest_for_one_in_a_restart_loop() -> None:
    children = ("a", actor("b", backoff=sv.Backoff(1.0, 8.0)), "c")
    world = running(*children, strategy=Strategy.REST_FOR_ONE)
    world.failing = {"b"}
    world.crash("b")
    world.wait(1.5)
    states = [world.state(f"root/{child}") for child in "abc"]
    assert states == [State.RUNNING, State.RESTARTING, State.STOPPED]
    assert world.counts() == (3, 1, 0, 3)
