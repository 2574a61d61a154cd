"""Races, events that take several actors, backoff, causes: what the conformance rows leave open."""

from __future__ import annotations

import random
from typing import TypeVar

import msgspec
import pytest

from gristmill import supervision as sv
from gristmill.errors import ActorNotFoundError, ErrorData, UsageError
from gristmill.supervision import Restart, Strategy, SupervisorSpec

CRASH = sv.Crash(ErrorData("ValueError", "x"))
A = TypeVar("A", bound=sv.Action)


def actor(id_: str, restart: Restart = Restart.PERMANENT, **fields: object) -> sv.ChildSpec:
    return msgspec.structs.replace(sv.ChildSpec(id_, b"", restart), **fields)


def supervisor(id_: str, *children: sv.Spec, **fields: object) -> SupervisorSpec:
    return msgspec.structs.replace(SupervisorSpec(id_, children=children), **fields)


def of(kind: type[A], actions: list[sv.Action]) -> list[A]:
    return [action for action in actions if isinstance(action, kind)]


def keys(kind: type[sv.StartActor | sv.StopActor], actions: list[sv.Action]) -> list[int]:
    return [action.key for action in actions if isinstance(action, kind)]


def boot(root: SupervisorSpec) -> sv.SupervisionTree:
    """Start a tree, every actor at once."""
    tree = sv.SupervisionTree(root, random.Random(1))
    due = of(sv.StartActor, tree.start(0))
    while due:
        start = due.pop(0)
        due += of(sv.StartActor, tree.actor_started(start.key, start.incarnation, 0))
    return tree


def window(tree: sv.SupervisionTree, path: str, now: float = 0) -> int:
    view = tree.snapshot(now)
    for id_ in path.split("/")[1:]:
        view = next(child for child in view.children if child.id == id_)
    return view.restarts_in_window


def test_one_event_costs_each_supervisor_one_restart() -> None:
    inner = supervisor("inner", actor("c"), actor("d"))
    tree = boot(supervisor("root", actor("a"), actor("b"), inner))
    gone = [(tree.by_path(f"root/{path}"), 1) for path in ("inner/d", "b", "inner/c", "a")]
    actions = tree.actors_exited(gone, sv.Killed(9), 0)
    assert keys(sv.StartActor, actions) == [gone[3][0], gone[1][0], gone[2][0], gone[0][0]]
    assert len(of(sv.Report, actions)) == 4
    assert (window(tree, "root"), window(tree, "root/inner")) == (1, 1)


def test_escalation_of_an_event_that_was_counted_costs_nothing_more() -> None:
    inner = supervisor("inner", actor("c"), max_restarts=0)
    tree = boot(supervisor("root", actor("a"), inner))
    gone = [(tree.by_path("root/a"), 1), (tree.by_path("root/inner/c"), 1)]
    actions = tree.actors_exited(gone, sv.Killed(9), 0)
    assert sorted(keys(sv.StartActor, actions)) == sorted(key for key, _ in gone)
    assert window(tree, "root") == 1


def test_group_restart_after_an_event_that_took_half_the_group() -> None:
    children = (actor("a"), actor("b"), actor("t", Restart.TEMPORARY), actor("d"))
    tree = boot(supervisor("root", *children, strategy=Strategy.ONE_FOR_ALL))
    a, b, t, d = (tree.by_path(f"root/{child}") for child in "abtd")
    actions = tree.actors_exited([(b, 1), (t, 1)], sv.Killed(9), 0)
    assert keys(sv.StopActor, actions) == [d]
    actions = tree.actors_exited([(d, 1)], sv.Shutdown(), 0)
    assert keys(sv.StopActor, actions) == [a]
    actions = tree.actors_exited([(a, 1)], CRASH, 0)
    assert keys(sv.StartActor, actions) == [a]
    assert window(tree, "root") == 1


def test_sibling_crash_while_a_start_is_pending() -> None:
    tree = boot(
        supervisor("root", actor("a"), actor("b"), strategy=Strategy.ONE_FOR_ALL, max_restarts=2)
    )
    a, b = tree.by_path("root/a"), tree.by_path("root/b")
    tree.actors_exited([(b, 1)], CRASH, 0)
    tree.actors_exited([(a, 1)], sv.Shutdown(), 0)
    assert keys(sv.StartActor, tree.actor_started(a, 2, 0)) == [b]
    assert keys(sv.StopActor, tree.actors_exited([(a, 2)], CRASH, 0)) == [b]
    assert tree.actor_started(b, 2, 0) == []
    actions = tree.actors_exited([(b, 2)], sv.Shutdown(), 0)
    assert keys(sv.StartActor, actions) == [a]
    assert window(tree, "root") == 2


def test_stop_while_a_start_is_pending() -> None:
    tree = sv.SupervisionTree(supervisor("root", actor("a"), actor("b")), random.Random(1))
    (start,) = of(sv.StartActor, tree.start(0))
    (stop,) = of(sv.StopActor, tree.stop(0))
    assert (stop.key, stop.incarnation) == (start.key, 1)
    actions = tree.start_failed(start.key, start.incarnation, CRASH, 0)
    (stopped,) = of(sv.TreeStopped, actions)
    assert (stopped.ending, stopped.causes) == (sv.Ending.STOPPED, ())


def test_exit_of_the_asked_actor_counts_once() -> None:
    tree = boot(supervisor("root", actor("a")))
    key = tree.by_path("root/a")
    tree.stop(0)
    assert len(of(sv.TreeStopped, tree.actors_exited([(key, 1), (key, 1)], CRASH, 0))) == 1
    assert tree.actors_exited([(key, 1)], CRASH, 0) == []


def test_services_are_still_restarted_while_what_needs_them_drains() -> None:
    services = supervisor("services", actor("payment"))
    tree = boot(supervisor("root", services, actor("orders")))
    payment = tree.by_path("root/services/payment")
    assert keys(sv.StopActor, tree.stop(0)) == [tree.by_path("root/orders")]
    assert keys(sv.StartActor, tree.actors_exited([(payment, 1)], CRASH, 0)) == [payment]


def test_collateral_exits_are_free() -> None:
    tree = boot(supervisor("root", actor("a"), actor("t", Restart.TEMPORARY), max_restarts=0))
    a, t = tree.by_path("root/a"), tree.by_path("root/t")
    actions = tree.actors_exited([(a, 1), (t, 1)], sv.Killed(9), 0, collateral=True)
    assert keys(sv.StartActor, actions) == [a]
    assert window(tree, "root") == 0


def test_collateral_exit_during_the_first_start_tries_again() -> None:
    tree = sv.SupervisionTree(supervisor("root", actor("a"), max_restarts=0), random.Random(1))
    (start,) = of(sv.StartActor, tree.start(0))
    actions = tree.actors_exited([(start.key, 1)], sv.Killed(9), 0, collateral=True)
    assert of(sv.StartActor, actions) == [start._replace(incarnation=2)]
    assert of(sv.TreeStarted, tree.actor_started(start.key, 2, 0)) == [sv.TreeStarted()]


def test_backoff_grows_and_begins_again_after_a_quiet_time() -> None:
    backoff = sv.Backoff(1.0, 4.0, jitter=0.0)
    tree = boot(supervisor("root", actor("a", backoff=backoff), max_restarts=99))
    key, now, delays = tree.by_path("root/a"), 0.0, []
    for incarnation, uptime in enumerate((0.0, 0.1, 0.1, 3.9, 4.0, 0.0), start=1):
        now += uptime
        (timer,) = of(sv.ArmTimer, tree.actors_exited([(key, incarnation)], CRASH, now))
        delays.append(round(timer.at - now, 9))
        now = timer.at
        assert keys(sv.StartActor, tree.timer_fired(timer.id, now)) == [key]
        tree.actor_started(key, incarnation + 1, now)
    assert delays == [1.0, 2.0, 4.0, 4.0, 1.0, 2.0]


def test_backoff_of_one_child_does_not_hold_up_another() -> None:
    slow = actor("a", backoff=sv.Backoff(30.0, 60.0))
    tree = boot(supervisor("root", slow, actor("b"), max_restarts=9))
    tree.actors_exited([(tree.by_path("root/a"), 1)], CRASH, 0)
    b = tree.by_path("root/b")
    assert keys(sv.StartActor, tree.actors_exited([(b, 1)], CRASH, 0)) == [b]


def test_backoff_delay() -> None:
    backoff = sv.Backoff(0.5, 8.0, jitter=0.2)
    delays = [backoff.delay(restarts, 0.0) for restarts in (0, 1, 2, 3, 4, 5, 10_000)]
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert backoff.delay(0, 0.5) == pytest.approx(0.55)


def test_failed_start_of_an_inner_supervisor_fails_its_parent() -> None:
    inner = supervisor("inner", actor("b"))
    tree = sv.SupervisionTree(supervisor("root", actor("a"), inner), random.Random(1))
    (a,) = of(sv.StartActor, tree.start(0))
    (b,) = of(sv.StartActor, tree.actor_started(a.key, 1, 0))
    assert keys(sv.StopActor, tree.start_failed(b.key, 1, CRASH, 0)) == [a.key]
    (stopped,) = of(sv.TreeStopped, tree.actors_exited([(a.key, 1)], sv.Shutdown(), 0))
    assert stopped.ending is sv.Ending.START_FAILED
    assert stopped.causes == (
        "root/inner/b: crash: ValueError: x",
        "root/inner: failed to start",
        "root: failed to start",
    )


def test_added_supervisor_completes_when_all_of_it_runs() -> None:
    tree = boot(supervisor("root"))
    key, operation, actions = tree.add_child(tree.root, supervisor("s", actor("a")), 0)
    (start,) = of(sv.StartActor, actions)
    assert not of(sv.Completed, actions)
    actions = tree.actor_started(start.key, 1, 0)
    assert actions == [sv.Completed(operation, sv.Started(key, 1))]


def test_operations_under_way_fail_when_their_supervisor_stops() -> None:
    tree = boot(supervisor("root"))
    _, operation, actions = tree.add_child(tree.root, actor("a"), 0)
    (start,) = of(sv.StartActor, actions)
    tree.stop(0)
    actions = tree.actors_exited([(start.key, 1)], sv.Shutdown(), 0)
    ((done, outcome),) = of(sv.Completed, actions)
    assert done == operation
    assert isinstance(outcome, sv.Failed)
    assert isinstance(actions[-1], sv.TreeStopped)


def test_other_events_do_not_hurry_an_ordered_stop() -> None:
    tree = boot(supervisor("root", actor("a"), actor("b"), actor("c")))
    a, b, c = (tree.by_path(f"root/{child}") for child in "abc")
    assert keys(sv.StopActor, tree.stop(0)) == [c]
    assert keys(sv.StopActor, tree.actors_exited([(a, 1)], sv.Normal(), 0)) == []
    assert keys(sv.StopActor, tree.actors_exited([(c, 1)], sv.Shutdown(), 0)) == [b]


def test_added_child_caught_in_a_group_restart_completes_after_it() -> None:
    tree = boot(supervisor("root", actor("a"), strategy=Strategy.ONE_FOR_ALL))
    a = tree.by_path("root/a")
    added, operation, _ = tree.add_child(tree.root, actor("b"), 0)
    assert keys(sv.StopActor, tree.actors_exited([(a, 1)], CRASH, 0)) == [added]
    actions = tree.actors_exited([(added, 1)], sv.Shutdown(), 0)
    assert (keys(sv.StartActor, actions), of(sv.Completed, actions)) == ([a], [])
    assert keys(sv.StartActor, tree.actor_started(a, 2, 0)) == [added]
    actions = tree.actor_started(added, 2, 0)
    assert actions == [sv.Completed(operation, sv.Started(added, 2))]


def test_failed_group_start_of_a_child_that_never_ran_is_a_restart() -> None:
    tree = boot(supervisor("root", actor("a"), strategy=Strategy.ONE_FOR_ALL, max_restarts=2))
    a = tree.by_path("root/a")
    added, _, _ = tree.add_child(tree.root, actor("b"), 0)
    tree.terminate_child(added, 0)
    tree.actors_exited([(added, 1)], sv.Shutdown(), 0)
    tree.actors_exited([(a, 1)], CRASH, 0)
    assert keys(sv.StartActor, tree.actor_started(a, 2, 0)) == [added]
    (report,) = of(sv.Report, tree.start_failed(added, 2, CRASH, 0))
    assert report.record.decision is sv.Decision.RESTART


def test_an_event_that_ends_a_supervisor_restarts_nothing_in_it() -> None:
    leader = actor("leader", Restart.TEMPORARY, significant=True)
    auto = sv.AutoShutdown.ANY_SIGNIFICANT
    tree = boot(supervisor("root", leader, actor("a"), auto_shutdown=auto))
    gone = [(tree.by_path("root/a"), 1), (tree.by_path("root/leader"), 1)]
    actions = tree.actors_exited(gone, CRASH, 0)
    assert keys(sv.StartActor, actions) == []
    assert isinstance(actions[-1], sv.TreeStopped)


def test_an_actor_is_killed_once() -> None:
    tree = boot(supervisor("root", actor("a")))
    key = tree.by_path("root/a")
    assert tree.kill(0) == [sv.KillActor(key, 1)]
    assert tree.kill(0) == []


def test_late_escalation_of_an_event_that_was_counted_costs_nothing_more() -> None:
    inner = supervisor("inner", actor("c"), actor("d"), max_restarts=0)
    tree = boot(supervisor("root", actor("a"), inner))
    a, c, d = (tree.by_path(f"root/{path}") for path in ("a", "inner/c", "inner/d"))
    assert keys(sv.StopActor, tree.actors_exited([(a, 1), (c, 1)], sv.Killed(9), 0)) == [d]
    assert keys(sv.StartActor, tree.actors_exited([(d, 1)], sv.Shutdown(), 1)) == [c]
    assert window(tree, "root", 1) == 1


def test_an_actor_is_asked_to_stop_once() -> None:
    tree = boot(supervisor("root", actor("a")))
    key = tree.by_path("root/a")
    first, second = tree.terminate_child(key, 0), tree.terminate_child(key, 0)
    assert (keys(sv.StopActor, first.actions), second.actions) == ([key], [])
    assert tree.stop(0) == []
    actions = tree.actors_exited([(key, 1)], sv.Shutdown(), 0)
    done = [action.operation for action in of(sv.Completed, actions)]
    assert done == [first.operation, second.operation]
    assert isinstance(actions[-1], sv.TreeStopped)


def test_a_dynamic_child_is_asked_to_stop_once() -> None:
    tree = boot(supervisor("root", strategy=Strategy.DYNAMIC))
    key, _, _ = tree.add_child(tree.root, actor("a"), 0)
    tree.actor_started(key, 1, 0)
    assert keys(sv.StopActor, tree.terminate_child(key, 0).actions) == [key]
    assert tree.stop(0) == []


def test_keys_are_not_reused_and_statics_keep_theirs() -> None:
    inner = supervisor("inner", actor("a"), max_restarts=0)
    tree = boot(supervisor("root", inner, max_restarts=9))
    key = tree.by_path("root/inner/a")
    added, _, _ = tree.add_child(tree.by_path("root/inner"), actor("b"), 0)
    tree.actor_started(added, 1, 0)
    tree.actors_exited([(key, 1)], CRASH, 0)
    (start,) = of(sv.StartActor, tree.actors_exited([(added, 1)], sv.Shutdown(), 0))
    assert (start.key, start.incarnation) == (key, 2)
    tree.actor_started(key, 2, 0)
    again, _, _ = tree.add_child(tree.by_path("root/inner"), actor("b"), 0)
    assert again > added
    with pytest.raises(ActorNotFoundError):
        tree.terminate_child(added, 0)


def test_misuse_is_named() -> None:
    tree = boot(supervisor("root", actor("a")))
    with pytest.raises(UsageError, match="started once"):
        tree.start(0)
    with pytest.raises(UsageError, match="root is the root"):
        tree.terminate_child(tree.root, 0)
    with pytest.raises(ActorNotFoundError, match="root/a is an actor"):
        tree.which_children(tree.by_path("root/a"))


def test_stop_before_start() -> None:
    tree = sv.SupervisionTree(supervisor("root", actor("a")), random.Random(1))
    assert tree.stop(0) == [sv.TreeStopped(sv.Shutdown(), sv.Ending.STOPPED, ())]


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (sv.Normal(), "normal"),
        (sv.Shutdown(), "shutdown"),
        (sv.Shutdown("why"), "shutdown: why"),
        (CRASH, "crash: ValueError: x"),
        (sv.Killed(9), "killed by SIGKILL"),
        (sv.Killed(200), "killed by signal 200"),
        (sv.Exited(3), "exited with code 3"),
        (sv.Lost("n2"), "lost with node n2"),
    ],
)
def test_reasons_as_text_and_on_the_wire(reason: sv.ExitReason, text: str) -> None:
    assert sv.describe(reason) == text
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(reason), type=sv.ExitReason) == reason


def test_specs_and_snapshots_cross_the_wire() -> None:
    inner = supervisor("s", actor("b", shutdown=sv.BRUTAL_KILL), strategy=Strategy.REST_FOR_ONE)
    spec = supervisor("root", actor("a", backoff=sv.Backoff(1, 2)), inner)
    wire = msgspec.msgpack.encode(spec)
    assert msgspec.msgpack.decode(wire, type=sv.ChildSpec | SupervisorSpec) == spec
    view = boot(spec).snapshot(0)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(view), type=sv.Snapshot) == view
    assert [child.path for child in view.children] == ["root/a", "root/s"]
