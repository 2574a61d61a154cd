# ruff: noqa: N802 - named by the conformance row's id
"""Conformance group 3: restart types and reasons; what the pure tree decides."""

from __future__ import annotations

import sys

import pytest

from gristmill import supervision as sv
from gristmill.supervision import State, Strategy
from support.supervision import CRASH, NORMAL, REASONS, TEMPORARY, TRANSIENT, actor, running


@pytest.mark.parametrize("reason", REASONS)
def test_RT01_RT02_RT03_permanent_is_always_restarted(reason: sv.ExitReason) -> None:
    world = running("a")
    assert world.crash("a", reason=reason) == ["start a"]
    assert world.tree.snapshot(0).restarts_in_window == 1


@pytest.mark.parametrize("reason", REASONS[:3])
def test_RT04_RT05_transient_is_kept_after_an_ordered_end(reason: sv.ExitReason) -> None:
    world = running(actor("a", TRANSIENT), "b")
    assert world.crash("a", reason=reason) == []
    assert world.counts() == (2, 1, 0, 2)
    assert world.state("root/a") is State.STOPPED
    assert not world.reports


@pytest.mark.parametrize("reason", REASONS[3:])
def test_RT07_transient_is_restarted_after_a_failure(reason: sv.ExitReason) -> None:
    assert running(actor("a", TRANSIENT)).crash("a", reason=reason) == ["start a"]


@pytest.mark.parametrize("reason", REASONS)
def test_RT09_temporary_is_removed(reason: sv.ExitReason) -> None:
    world = running(actor("a", TEMPORARY), max_restarts=0)
    assert world.crash("a", reason=reason) == []
    assert world.counts() == (0, 0, 0, 0)
    assert world.tree.snapshot(0).restarts_in_window == 0
    assert len(world.reports) == (not sv.is_ordered(reason))


def test_RT10_a_restart_is_a_new_incarnation_under_the_same_key() -> None:
    world = running("a")
    old = world.live["a"]
    world.crash("a")
    assert world.live["a"] == (old[0], old[1] + 1)
    assert world.tree.actors_exited([old], CRASH, 0) == []


def test_RT12_arguments_of_temporary_children_are_not_retained() -> None:
    world = running(strategy=Strategy.DYNAMIC)
    payload = bytes(1000)
    before = sys.getrefcount(payload)
    for number in range(100):
        world.add("root", sv.ChildSpec(f"a{number}", payload, TEMPORARY))
    assert sys.getrefcount(payload) == before
    assert len(world.live) == 100


def test_RT13_one_record_for_each_failure() -> None:
    world = running("a", actor("t", TRANSIENT), max_restarts=3, within=7.0)
    world.crash("t", reason=NORMAL)
    world.crash("a")
    (record,) = world.reports
    assert (record.supervisor, record.child, record.reason) == ("root", "a", CRASH)
    assert (record.restarts, record.max_restarts, record.within) == (1, 3, 7.0)
    expected = "root/a: crash: ValueError: x; restarting (1 of 3 restarts in 7 s)"
    assert str(record) == expected
