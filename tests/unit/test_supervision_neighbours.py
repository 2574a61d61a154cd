"""What OTP's supervisors do beside the conformance rows, and what verdicts of actor classes add."""

from __future__ import annotations

import pytest

from gristmill import supervision as sv
from gristmill.supervision import (
    AutoShutdown,
    Decision,
    Directive,
    Ending,
    Restart,
    State,
    Strategy,
    Verdict,
)
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

ANY, ALL = AutoShutdown.ANY_SIGNIFICANT, AutoShutdown.ALL_SIGNIFICANT
GROUPS = [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE]
AGAIN = Verdict(Directive.RESTART)
LATER = Verdict(Directive.RESTART, 2.0)
NEVER = Verdict(Directive.STOP)


# --- groups ---


@pytest.mark.parametrize("strategy", GROUPS)
def test_a_transient_child_that_has_ended_comes_back_with_its_group(strategy: Strategy) -> None:
    world = running("a", actor("t", TRANSIENT), "b", strategy=strategy)
    assert world.crash("t", reason=NORMAL) == []
    assert world.crash("a") == ["stop b", "start a", "start t", "start b"]


@pytest.mark.parametrize("strategy", GROUPS)
def test_a_terminated_child_comes_back_with_its_group(strategy: Strategy) -> None:
    world = running("a", "t", "b", strategy=strategy)
    world.terminate("root/t")
    assert world.crash("a") == ["stop b", "start a", "start t", "start b"]


def test_a_group_waits_for_the_backoff_of_the_child_that_failed() -> None:
    slow = actor("b", backoff=sv.Backoff(1.0, 8.0, jitter=0.0))
    world = running("a", slow, "c", strategy=Strategy.REST_FOR_ONE)
    assert world.crash("b") == ["stop c"]
    assert world.crash("a") == ["start a"]
    assert world.counts() == (3, 1, 0, 3)
    world.wait(1.0)
    assert world.log[-2:] == ["start b", "start c"]


def test_a_child_that_is_started_again_by_hand_keeps_its_place() -> None:
    world = running("a", "b", "c")
    world.terminate("root/a")
    assert world.restart("root/a") == sv.Started(world.key("root/a"), 2)
    assert world.stop() == ["stop c", "stop b", "stop a"]


def test_a_child_in_backoff_can_be_terminated_and_started_by_hand() -> None:
    world = running(actor("a", backoff=sv.Backoff(5.0, 8.0)))
    world.crash("a")
    assert world.terminate("root/a") == sv.Terminated()
    assert not world.timers
    assert world.restart("root/a") == sv.Started(world.key("root/a"), 2)


def test_a_child_that_chose_not_to_run_can_be_started_by_hand() -> None:
    world = World(root(actor("a", TRANSIENT)))
    world.ignoring = {"a"}
    world.start()
    assert world.counts() == (1, 0, 0, 1)
    world.ignoring = set()
    world.restart("root/a")
    assert world.counts() == (1, 1, 0, 1)


def test_children_that_start_or_wait_to_start_are_not_active() -> None:
    world = World(root("a", "b"))
    world.slow_start = {"a"}
    world.start()
    assert world.counts() == (2, 0, 0, 2)
    assert (world.state("root/a"), world.state("root/b")) == (State.STARTING, State.STOPPED)


# --- supervisors as children ---


@pytest.mark.parametrize(
    ("restart", "after"), [(TRANSIENT, (2, 1, 1, 1)), (TEMPORARY, (1, 1, 0, 1))]
)
def test_a_supervisor_that_gives_up_ends_in_order(
    restart: Restart, after: tuple[int, int, int, int]
) -> None:
    world = running("a", supervisor("in", "x", max_restarts=0, restart=restart))
    assert world.crash("x") == []
    assert world.counts() == after
    assert world.stopped is None


def test_a_permanent_supervisor_that_shuts_down_by_itself_is_started_again() -> None:
    leaf = actor("x", TRANSIENT, significant=True)
    world = running("a", supervisor("in", leaf, auto_shutdown=ANY))
    assert world.crash("x", reason=NORMAL) == ["start x"]


# --- significant children ---


@pytest.mark.parametrize("auto", [ANY, ALL])
def test_the_end_of_a_significant_child_that_was_asked_for_ends_nothing_else(
    auto: AutoShutdown,
) -> None:
    world = running("a", actor("s", TRANSIENT, significant=True), auto_shutdown=auto)
    world.terminate("root/s")
    assert world.stopped is None


def test_a_significant_child_that_its_group_takes_along_ends_nothing_else() -> None:
    child = actor("s", TEMPORARY, significant=True)
    world = running("a", child, auto_shutdown=ANY, strategy=Strategy.ONE_FOR_ALL)
    assert world.crash("a") == ["stop s", "start a"]
    assert world.stopped is None


@pytest.mark.parametrize("how", ["terminated", "deleted"])
def test_the_last_significant_child_counts_those_that_are_down_as_ended(how: str) -> None:
    children = (actor(child, TRANSIENT, significant=True) for child in "st")
    world = running("a", *children, auto_shutdown=ALL)
    world.terminate("root/s")
    if how == "deleted":
        world.tree.delete_child(world.key("root/s"))
    world.crash("t", reason=NORMAL)
    assert world.stopped is not None
    assert world.stopped.ending is Ending.AUTO_SHUTDOWN


def test_a_significant_child_that_is_added_later_counts() -> None:
    world = running("a", auto_shutdown=ANY)
    world.add("root", actor("s", TEMPORARY, significant=True))
    world.crash("s")
    assert world.stopped is not None


# --- verdicts ---


def test_a_restart_by_its_class_costs_nothing() -> None:
    world = running("a", "b", max_restarts=0)
    for _ in range(10):
        assert world.crash("a", verdict=AGAIN) == ["start a"]
    assert [report.decision for report in world.reports] == [Decision.OWN_RESTART] * 10
    assert "as its on_failure says (0 of 0 restarts in 5 s)" in str(world.reports[0])


def test_a_restart_from_the_journal_costs_nothing_either() -> None:
    world = running("a", max_restarts=0)
    for _ in range(3):
        assert world.crash("a", verdict=Verdict(Directive.REPLAY)) == ["start a"]
    assert [report.decision for report in world.reports] == [Decision.REPLAY] * 3
    assert "restarting from its journal (0 of 0 restarts in 5 s)" in str(world.reports[0])


@pytest.mark.parametrize("strategy", GROUPS)
def test_a_restart_by_its_class_takes_its_group_along(strategy: Strategy) -> None:
    world = running("a", "b", max_restarts=0, strategy=strategy)
    assert world.crash("a", verdict=AGAIN) == ["stop b", "start a", "start b"]


def test_a_restart_by_its_class_waits_as_that_says_or_as_its_spec_does() -> None:
    world = running(actor("a", backoff=sv.Backoff(1.0, 8.0, jitter=0.0)), max_restarts=0)
    assert world.crash("a", verdict=LATER) == []
    world.wait(1.9)
    assert "a" not in world.live
    world.wait(0.1)
    assert "a" in world.live
    world.crash("a", verdict=AGAIN)
    world.wait(1.0)
    assert "a" in world.live


def test_a_stop_by_its_class_holds_whatever_its_restart_type() -> None:
    world = running("a", actor("t", TRANSIENT), actor("s", TEMPORARY), max_restarts=0)
    for child in "ats":
        assert world.crash(child, verdict=NEVER) == []
    assert world.counts() == (2, 0, 0, 2)
    assert {report.decision for report in world.reports} == {Decision.OWN_STOP}


def test_a_temporary_child_never_comes_back() -> None:
    world = running("a", actor("t", TEMPORARY))
    assert world.crash("t", verdict=AGAIN) == []
    assert world.counts() == (1, 1, 0, 1)


def test_a_stop_by_its_class_is_the_end_of_a_significant_child() -> None:
    world = running(actor("s", TRANSIENT, significant=True), "a", auto_shutdown=ANY)
    world.crash("s", verdict=NEVER)
    assert world.stopped is not None


def test_a_failed_restart_follows_its_class_and_a_first_start_does_not() -> None:
    world = running("a", max_restarts=0)
    world.slow_start = {"a"}
    world.crash("a", verdict=AGAIN)
    key, incarnation = world.live.pop("a")
    world.feed(world.tree.start_failed(key, incarnation, sv.Killed(9), world.now, verdict=LATER))
    assert "a" not in world.live
    world.wait(2.0)
    key, incarnation = world.live.pop("a")
    world.feed(world.tree.start_failed(key, incarnation, sv.Killed(9), world.now, verdict=NEVER))
    assert world.state("root/a") is State.STOPPED

    world = World(root("a"))
    world.slow_start = {"a"}
    world.start()
    key, incarnation = world.live.pop("a")
    world.feed(world.tree.start_failed(key, incarnation, sv.Killed(9), world.now, verdict=AGAIN))
    assert world.stopped is not None
    assert world.stopped.ending is Ending.START_FAILED


def test_a_supervisor_that_stops_takes_no_verdict() -> None:
    world = running("a", "b")
    world.slow_stop = {"b"}
    world.stop()
    world.crash("b", verdict=AGAIN)
    assert world.stopped is not None
