# ruff: noqa: N802 - named by the conformance row's id
"""Conformance group 7: significant children; what the pure tree decides."""

from __future__ import annotations

import pytest

from gristmill import supervision as sv
from gristmill.supervision import AutoShutdown, Ending
from support.supervision import NORMAL, REASONS, TEMPORARY, TRANSIENT, actor, running, supervisor

ANY_ONE, ALL = AutoShutdown.ANY_SIGNIFICANT, AutoShutdown.ALL_SIGNIFICANT


def test_AS01_significant_transient_ends_its_supervisor() -> None:
    important = actor("s", TRANSIENT, significant=True)
    world = running("a", important, "b", auto_shutdown=ANY_ONE)
    assert world.crash("s") == ["start s"]
    assert world.crash("s", reason=NORMAL) == ["stop b", "stop a"]
    assert world.stopped is not None
    assert world.stopped.ending is Ending.AUTO_SHUTDOWN
    assert isinstance(world.stopped.reason, sv.Shutdown)


@pytest.mark.parametrize("reason", REASONS)
def test_AS02_significant_temporary_ends_its_supervisor(reason: sv.ExitReason) -> None:
    world = running("a", actor("s", TEMPORARY, significant=True), auto_shutdown=ANY_ONE)
    assert world.crash("s", reason=reason) == ["stop a"]
    assert world.stopped is not None


@pytest.mark.parametrize("together", [False, True])
def test_AS04_only_the_last_significant_end_counts(together: bool) -> None:
    important = (actor(child, TRANSIENT, significant=True) for child in "st")
    world = running("a", *important, auto_shutdown=ALL)
    if together:
        world.crash("s", "t", reason=NORMAL)
    else:
        world.crash("s", reason=NORMAL)
        assert world.stopped is None
        world.crash("t", reason=NORMAL)
    assert world.stopped is not None


def test_AS04_one_that_comes_back_is_not_at_its_end() -> None:
    important = (actor("s", TEMPORARY, significant=True), actor("t", TRANSIENT, significant=True))
    world = running(*important, auto_shutdown=ALL)
    assert world.crash("s", "t") == ["start t"]
    assert world.stopped is None


@pytest.mark.parametrize("significant", [True, False])
def test_AS07_outer_follows_a_significant_inner_only(significant: bool) -> None:
    leaf = actor("s", TRANSIENT, significant=True)
    inner = supervisor(
        "inner", leaf, auto_shutdown=ANY_ONE, restart=TRANSIENT, significant=significant
    )
    world = running("a", inner, auto_shutdown=ANY_ONE)
    world.crash("s", reason=NORMAL)
    assert (world.stopped is not None) is significant


@pytest.mark.parametrize("reason", REASONS)
def test_AS08_others_never_end_their_supervisor(reason: sv.ExitReason) -> None:
    important = actor("s", TRANSIENT, significant=True)
    world = running(important, actor("a", TRANSIENT), actor("b", TEMPORARY), auto_shutdown=ANY_ONE)
    world.crash("a", reason=reason)
    world.crash("b", reason=reason)
    assert world.stopped is None
