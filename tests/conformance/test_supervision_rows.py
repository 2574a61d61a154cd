# ruff: noqa: N802 - named by the conformance row's id
"""Groups 1 to 8 of the conformance table, as far as the pure tree decides them."""

from __future__ import annotations

import random
import sys
import time
from collections import deque
from typing import Any

import msgspec
import pytest

from gristmill import supervision as sv
from gristmill.errors import ActorNotFoundError, AlreadyStartedError, ErrorData
from gristmill.supervision import (
    AutoShutdown,
    Ending,
    Restart,
    State,
    Strategy,
    SupervisorSpec,
)

CRASH = sv.Crash(ErrorData("ValueError", "x"))
KILLED = sv.Killed(9)
NORMAL = sv.Normal()
SHUTDOWN = sv.Shutdown()
TRANSIENT, TEMPORARY = Restart.TRANSIENT, Restart.TEMPORARY


class World:
    """Drives a tree: actors start and stop at once, unless their id is in one of the sets."""

    def __init__(self, root: SupervisorSpec) -> None:
        self.tree = sv.SupervisionTree(root, random.Random(1))
        self.now = 0.0
        self.slow_start: set[str] = set()
        self.failing: set[str] = set()
        self.ignoring: set[str] = set()
        self.slow_stop: set[str] = set()
        self.ids: dict[int, str] = {}
        self.live: dict[str, tuple[int, int]] = {}
        self.timers: dict[int, float] = {}
        self.log: list[str] = []
        self.reports: list[sv.ErrorRecord] = []
        self.completed: dict[int, sv.Outcome] = {}
        self.stopped: sv.TreeStopped | None = None
        self._todo: deque[sv.Action] = deque()

    def start(self) -> World:
        self.feed(self.tree.start(self.now))
        return self

    def feed(self, actions: list[sv.Action]) -> None:
        self._todo.extend(actions)
        while self._todo:
            self._carry_out(self._todo.popleft())

    def _carry_out(self, action: sv.Action) -> None:
        match action:
            case sv.StartActor(key, incarnation, spec):
                assert spec.id not in self.live
                self.ids[key] = spec.id
                self.live[spec.id] = (key, incarnation)
                self.log.append(f"start {spec.id}")
                if spec.id not in self.slow_start:
                    self.come_up(spec.id)
            case sv.StopActor(key, _, _, _):
                self.log.append(f"stop {self.ids[key]}")
                if self.ids[key] not in self.slow_stop:
                    self.exit(self.ids[key], SHUTDOWN)
            case sv.KillActor(key, _):
                self.log.append(f"kill {self.ids[key]}")
                self.exit(self.ids[key], KILLED)
            case sv.ArmTimer(timer, at):
                self.timers[timer] = at
            case sv.CancelTimer(timer):
                del self.timers[timer]
            case sv.Report(record):
                self.reports.append(record)
            case sv.Completed(operation, outcome):
                assert operation not in self.completed
                self.completed[operation] = outcome
            case sv.TreeStopped():
                assert self.stopped is None
                assert not self.live
                self.stopped = action
            case _:
                self.log.append("tree started")

    def come_up(self, child: str) -> None:
        key, incarnation = self.live[child]
        if child in self.failing | self.ignoring:
            del self.live[child]
            ignored = child in self.ignoring
            actions = self.tree.start_failed(key, incarnation, CRASH, self.now, ignored=ignored)
        else:
            actions = self.tree.actor_started(key, incarnation, self.now)
        self._todo.extend(actions)

    def exit(self, child: str, reason: sv.ExitReason) -> None:
        self._todo.extend(self.tree.actors_exited([self.live.pop(child)], reason, self.now))

    def crash(self, *children: str, reason: sv.ExitReason = CRASH, **options: bool) -> list[str]:
        """End actors through one event; give what was logged because of it."""
        before = len(self.log)
        gone = [self.live.pop(child) for child in children]
        self.feed(self.tree.actors_exited(gone, reason, self.now, **options))
        return self.log[before:]

    def stop(self) -> list[str]:
        before = len(self.log)
        self.feed(self.tree.stop(self.now))
        return self.log[before:]

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while due := [(at, timer) for timer, at in self.timers.items() if at <= until]:
            self.now, timer = min(due)
            del self.timers[timer]
            self.feed(self.tree.timer_fired(timer, self.now))
        self.now = until

    def key(self, path: str) -> int:
        return self.tree.by_path(path)

    def add(self, parent: str, spec: sv.Spec) -> tuple[int, sv.Outcome | None]:
        key, operation, actions = self.tree.add_child(self.key(parent), spec, self.now)
        self.feed(actions)
        return key, self.completed.get(operation)

    def terminate(self, path: str) -> sv.Outcome | None:
        _, operation, actions = self.tree.terminate_child(self.key(path), self.now)
        self.feed(actions)
        return self.completed.get(operation)

    def restart(self, path: str) -> sv.Outcome | None:
        _, operation, actions = self.tree.restart_child(self.key(path), self.now)
        self.feed(actions)
        return self.completed.get(operation)

    def counts(self, path: str = "root") -> tuple[int, int, int, int]:
        counts = self.tree.count_children(self.key(path))
        return counts.specs, counts.active, counts.supervisors, counts.actors

    def state(self, path: str) -> State:
        parent, _, child = path.rpartition("/")
        rows = self.tree.which_children(self.key(parent))
        return next(row.state for row in rows if row.id == child)


def actor(id_: str, restart: Restart = Restart.PERMANENT, **fields: Any) -> sv.ChildSpec:
    return sv.ChildSpec(id_, b"", restart, **fields)


def root(*children: str | sv.Spec, **fields: Any) -> SupervisorSpec:
    return supervisor("root", *children, **fields)


def supervisor(id_: str, *children: str | sv.Spec, **fields: Any) -> SupervisorSpec:
    specs = tuple(actor(child) if isinstance(child, str) else child for child in children)
    return SupervisorSpec(id_, children=specs, **fields)


def running(*children: str | sv.Spec, **fields: Any) -> World:
    return World(root(*children, **({"max_restarts": 5} | fields))).start()


# -- 1. start ---------------------------------------------------------------------------------


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


# -- 2. specs ---------------------------------------------------------------------------------


def test_SV01_defaults() -> None:
    child = sv.ChildSpec("a", b"")
    assert (child.restart, child.shutdown, child.significant) == (Restart.PERMANENT, 5.0, False)
    inner = SupervisorSpec("s")
    assert (inner.restart, inner.shutdown) == (Restart.PERMANENT, sv.INFINITY)
    flags = (inner.strategy, inner.max_restarts, inner.within, inner.auto_shutdown)
    assert flags == (Strategy.ONE_FOR_ONE, 1, 5.0, AutoShutdown.NEVER)


WRONG: Any = "always"
FAULTY: list[tuple[str, sv.Spec, str]] = [
    ("SV02", sv.ChildSpec("", b""), "id"),
    ("SV02", sv.ChildSpec("a/b", b""), "without '/'"),
    ("SV02", sv.ChildSpec("a"), "no start"),
    ("SV02", {"id": "a"}, "no spec"),  # type: ignore[list-item]  # what the row is about
    ("SV03", actor("a", WRONG), "restart"),
    ("SV03", actor("a", shutdown=-1.0), "shutdown"),
    ("SV03", actor("a", shutdown="soon"), "shutdown"),
    ("SV03", actor("a", shutdown=float("nan")), "shutdown"),
    ("SV03", actor("a", significant="yes"), "significant"),
    ("SV03", sv.ChildSpec("a", len), "start"),  # type: ignore[arg-type]  # what the row is about
    ("SV03", actor("a", backoff=sv.Backoff(2, 1)), "backoff"),
    ("SV05", supervisor("a", strategy="all_at_once"), "strategy"),
    ("SV05", supervisor("a", max_restarts=-1), "max_restarts"),
    ("SV05", supervisor("a", max_restarts=float("inf")), "max_restarts"),
    ("SV05", supervisor("a", within=0.0), "within"),
    ("SV05", supervisor("a", within=float("inf")), "within"),
    ("SV05", supervisor("a", auto_shutdown="yes"), "auto_shutdown"),
    ("SV05", supervisor("a", "b", "b"), "two children"),
    ("SV05", supervisor("a", max_children=3), "max_children"),
    ("SV05", supervisor("a", strategy=Strategy.DYNAMIC, max_children=0), "max_children"),
    ("SV06", supervisor("a", "b", strategy=Strategy.DYNAMIC), "static children"),
    ("SV07", actor("a", TRANSIENT, significant=True), "auto_shutdown=never"),
    (
        "SV07",
        supervisor("s", actor("a", significant=True), auto_shutdown=AutoShutdown.ANY_SIGNIFICANT),
        "permanent",
    ),
    (
        "SV08",
        supervisor("a", strategy=Strategy.DYNAMIC, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT),
        "dynamic",
    ),
]


@pytest.mark.parametrize(("row", "spec", "message"), FAULTY)
def test_SV02_to_SV08_refused_at_start_and_when_added(
    row: str, spec: sv.Spec, message: str
) -> None:
    with pytest.raises(sv.SpecError, match=message):
        sv.SupervisionTree(root(spec), random.Random(1))
    world = running()
    with pytest.raises(sv.SpecError, match=message):
        world.tree.add_child(world.tree.root, spec, 0)


def test_SV02_unknown_keys_are_ignored() -> None:
    wire = {"kind": "actor", "id": "a", "start": b"", "colour": "red"}
    assert msgspec.convert(wire, sv.ChildSpec | SupervisorSpec) == actor("a")


def test_SV05_zero_restarts_are_legal() -> None:
    sv.validate(supervisor("a", max_restarts=0))


# -- 3. restart type and reason ---------------------------------------------------------------


REASONS = [NORMAL, SHUTDOWN, sv.Shutdown("x"), CRASH, KILLED, sv.Exited(3), sv.Lost("n")]


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


# -- 4. strategies ----------------------------------------------------------------------------


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


def two_levels(**fields: Any) -> SupervisorSpec:
    dynamic = supervisor("pool", strategy=Strategy.DYNAMIC)
    return root(supervisor("one", "a", "b", dynamic), supervisor("two", "c"), **fields)


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


# -- 5. intensity -----------------------------------------------------------------------------


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


# -- 6. shutdown ------------------------------------------------------------------------------


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


# -- 7. significant children ------------------------------------------------------------------


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


# -- 8. dynamic children and introspection ----------------------------------------------------


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
        with pytest.raises(ActorNotFoundError, match="99"):
            call(99, 0)
    with pytest.raises(ActorNotFoundError, match="99"):
        tree.delete_child(99)
    with pytest.raises(ActorNotFoundError, match="'root/b'"):
        tree.by_path("root/b")


def test_DA06_DA07_restart_and_delete_need_a_stopped_child() -> None:
    world = running("a", actor("b", backoff=sv.Backoff(1.0, 8.0)))
    world.crash("b")
    for path, state in (("root/a", State.RUNNING), ("root/b", State.RESTARTING)):
        with pytest.raises(sv.ChildStateError) as error:
            world.restart(path)
        assert error.value.state is state
        with pytest.raises(sv.ChildStateError):
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
        with pytest.raises(ActorNotFoundError, match="root/two is stopped"):
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
