# ruff: noqa: N802 - named by the conformance row's id
"""Conformance groups 6 and 8: the children of supervisors, administered from outside."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gristmill import (
    ActorCrashed,
    ActorNotFoundError,
    AskTimeoutError,
    Backoff,
    Ignore,
    Node,
    Strategy,
    SupervisorSpec,
)
from gristmill.behaviours.children import Child
from gristmill.errors import AlreadyStartedError, StartFailedError, UsageError
from gristmill.node.supervisor_ref import SupervisorRef
from gristmill.supervision import (
    AlreadyPresentError,
    ChildNotFoundError,
    ChildRestartingError,
    ChildRunningError,
    ChildSpec,
    MaxChildrenError,
    Shutdown,
    State,
    StrategyError,
    SupervisorNotFoundError,
)
from gristmill.testing import Simulation
from gristmill.transport.codec import Codec
from gristmill.worker.specs import actor_spec, child_spec
from support.actors import read_lines
from support.bonds import Patient, Peer, Ping, Slow
from support.fragile import Born, Break, Count, End, EndByRef, Fragile, Have, Parent, Which
from support.processes import kill, worker_pids
from support.waiting import eventually

LATER = Backoff(60.0, 60.0, jitter=0.0)
"""A restart that is due and does not come within a test."""
AT_ONCE = Backoff(0.01, 0.02)
MANY = 1_000_000


@pytest.fixture
def switch(tmp_path: Path) -> Path:
    """Give the file that says whether actors can start."""
    return tmp_path / "switch"


@pytest.fixture
def start(node: Node, switch: Path) -> Iterator[Callable[..., SupervisorRef]]:
    """Give what starts a supervisor of fragile actors, which is gone after the test."""
    started: list[str] = []

    def make(
        name: str, *children: str | ChildSpec | SupervisorSpec, **fields: Any
    ) -> SupervisorRef:
        specs = tuple(
            described(child, switch) if isinstance(child, str) else child for child in children
        )
        fields = {"max_restarts": MANY, "within": 1.0} | fields
        node.start_supervisor(SupervisorSpec(name, children=specs, **fields))
        started.append(name)
        return node.supervisor(name)

    yield make
    root = node.supervisor()
    for name in started:
        if any(child.id == name for child in root.which_children()):
            root.terminate_child(name)
            root.delete_child(name)


def described(name: str, switch: Path, **options: Any) -> ChildSpec:
    """Describe a fragile child."""
    actor = actor_spec(Codec(None), Fragile, args=(str(switch), name), name=name)
    return child_spec(actor, name, **options)


def states(supervisor: SupervisorRef) -> dict[str, str]:
    """Give what the children of a supervisor do, by id."""
    return {child.id: child.state.value for child in supervisor.which_children()}


def one(supervisor: SupervisorRef, child: str) -> Child:
    """Give a child."""
    return next(row for row in supervisor.which_children() if row.id == child)


def counts(supervisor: SupervisorRef) -> tuple[int, int, int, int]:
    """Count the children."""
    found = supervisor.count_children()
    return found.specs, found.active, found.supervisors, found.actors


def test_DA01_a_child_whose_id_belongs_to_one_that_runs(
    start: Callable[..., SupervisorRef], switch: Path
) -> None:
    top = start("da01", "da01-a", SupervisorSpec("inner"))
    with pytest.raises(AlreadyStartedError, match="da01-a' is taken by actor #"):
        top.start_child(Fragile, args=(str(switch),), name="da01-a")
    with pytest.raises(AlreadyStartedError, match="root/da01/inner is running"):
        top.start_supervisor(SupervisorSpec("inner"))


def test_DA02_a_child_whose_id_belongs_to_one_that_is_stopped(
    start: Callable[..., SupervisorRef], switch: Path
) -> None:
    top = start("da02", "da02-a")
    top.terminate_child("da02-a")
    with pytest.raises(AlreadyPresentError, match="da02-a is stopped and its spec is kept"):
        top.start_child(Fragile, args=(str(switch),), name="da02-a")
    top.delete_child("da02-a")
    ref = top.start_child(Fragile, args=(str(switch), "anew"), name="da02-a")
    assert ref.ask(Born()) == "anew"


@pytest.mark.parametrize("how", ["id", "ref"])
def test_DA03_a_terminated_child_is_stopped_and_kept(
    start: Callable[..., SupervisorRef], node: Node, tmp_path: Path, how: str
) -> None:
    log = tmp_path / "log"
    top = start("da03", max_restarts=0)
    ref = top.start_child(Peer, args=(str(log),), name="da03-a")
    short = top.start_child(Peer, args=(str(log),), name="da03-t", restart="temporary")
    ends = [node.monitor(each) for each in (ref, short)]
    for child in (ref, short):
        child.ask(Ping())  # the monitor has come there before
        top.terminate_child(child.name if how == "id" else child)
    assert [end.wait(5.0) for end in ends] == [Shutdown(), Shutdown()]
    lines = [line for line in read_lines(log) if "terminate" in line]
    assert lines == ["terminate da03-a shutdown", "terminate da03-t shutdown"]
    assert states(top) == {"da03-a": "stopped"}
    assert one(top, "da03-a").ref is None
    assert "da03-a" not in node.status().names
    with pytest.raises(ActorNotFoundError):
        ref.ask(Ping())
    tree = next(child for child in node.status().tree.children if child.id == "da03")
    assert tree.restarts_in_window == 0


def test_DA03_a_terminated_child_can_be_restarted_where_its_refs_lead(
    start: Callable[..., SupervisorRef], node: Node, switch: Path
) -> None:
    top = start("da03-r", "da03-r1")
    ref = node.lookup("da03-r1")
    added = top.start_child(Fragile, args=(str(switch), "added"))  # without a name
    for child, text in ((ref, "da03-r1"), (added, "added")):
        top.terminate_child(child)
        with pytest.raises(ActorNotFoundError):
            child.ask(Born())
        (again,) = top.restart_child(child)
        assert again.ask(Born()) == child.ask(Born()) == text
    assert node.lookup("da03-r1").ask(Born()) == "da03-r1"


def test_DA03_a_terminated_supervisor_takes_its_children_along_and_brings_them_back(
    start: Callable[..., SupervisorRef], node: Node, switch: Path
) -> None:
    below = SupervisorSpec("inner", children=(described("da03-s1", switch),))
    top = start("da03-s", below)
    inner = node.supervisor("da03-s/inner")
    extra = inner.start_child(Fragile, args=(str(switch),), name="da03-s2")
    ref = node.lookup("da03-s1")
    top.terminate_child("inner")
    assert states(top) == {"inner": "stopped"}
    for gone in (ref, extra):
        with pytest.raises(ActorNotFoundError):
            gone.ask(Born())
    (again,) = top.restart_child("inner")
    assert again.ask(Born()) == ref.ask(Born()) == "da03-s1"
    assert states(inner) == {"da03-s1": "running"}  # what was added later was not kept
    assert "da03-s2" not in node.status().names


def test_DA04_terminate_of_a_stopped_child_is_no_error(start: Callable[..., SupervisorRef]) -> None:
    top = start("da04", "da04-a")
    top.terminate_child("da04-a")
    top.terminate_child("da04-a")
    assert states(top) == {"da04-a": "stopped"}


def test_DA05_children_that_there_are_not(
    start: Callable[..., SupervisorRef], node: Node, switch: Path
) -> None:
    top = start("da05", "da05-a")
    elsewhere = node.spawn(Fragile, args=(str(switch),))
    for call in (top.terminate_child, top.restart_child, top.delete_child):
        with pytest.raises(ChildNotFoundError, match="root/da05 has no child 'da05-b'"):
            call("da05-b")
        with pytest.raises(ChildNotFoundError, match="root/da05 has no child with key"):
            call(elsewhere)
        with pytest.raises(UsageError, match="by its id, a text, or by its ref"):
            call(5)  # type: ignore[arg-type]  # that is the test
    elsewhere.stop()


def test_DA06_DA07_restart_and_delete_of_a_child_that_is_not_stopped(
    start: Callable[..., SupervisorRef], node: Node, switch: Path
) -> None:
    top = start("da06", "da06-a", described("da06-b", switch, backoff=LATER))
    node.lookup("da06-b").tell(Break())
    eventually(lambda: states(top)["da06-b"] == "restarting", "a failure")
    for call in (top.restart_child, top.delete_child):
        with pytest.raises(ChildRunningError, match="da06-a: it is running"):
            call("da06-a")
        with pytest.raises(ChildRestartingError, match="da06-b: it is restarting"):
            call("da06-b")
    top.terminate_child("da06-a")
    top.delete_child("da06-a")
    assert states(top) == {"da06-b": "restarting"}
    with pytest.raises(ChildNotFoundError):
        top.restart_child("da06-a")


def test_DA06_a_child_whose_restart_fails_stays_stopped(
    start: Callable[..., SupervisorRef], node: Node, switch: Path
) -> None:
    top = start("da06-f", "da06-f1", max_restarts=0)
    ref = node.lookup("da06-f1")
    top.terminate_child("da06-f1")
    switch.write_text("fail")
    with pytest.raises(StartFailedError, match="ValueError: no start") as caught:
        top.restart_child("da06-f1")
    assert "remote traceback" in caught.value.__notes__[0]
    switch.write_text("ignore")
    with pytest.raises(Ignore, match="da06-f1 chose not to run"):
        top.restart_child("da06-f1")
    assert states(top) == {"da06-f1": "stopped"}
    switch.unlink()
    top.restart_child("da06-f1")
    assert ref.ask(Born()) == "da06-f1"


def test_DA06_a_child_whose_name_is_taken_by_now(
    start: Callable[..., SupervisorRef], node: Node, switch: Path
) -> None:
    top = start("da06-n", "da06-n1")
    top.terminate_child("da06-n1")
    other = node.spawn(Fragile, args=(str(switch), "other"), name="da06-n1")
    with pytest.raises(AlreadyStartedError, match="another actor has its name by now"):
        top.restart_child("da06-n1")
    assert other.ask(Born()) == "other"
    other.stop()
    (ref,) = top.restart_child("da06-n1")
    assert ref.ask(Born()) == "da06-n1"


def test_DA06_a_child_whose_worker_was_removed_meanwhile(switch: Path) -> None:
    with Node(workers=2) as own:
        top = own.supervisor()
        options = {"args": (str(switch), "moved")}
        bound = top.start_child(Fragile, name="da06-b", placement="w2", **options)  # type: ignore[arg-type]  # a table
        free = top.start_child(Fragile, name="da06-f", **options)  # type: ignore[arg-type]  # a table
        for child in (bound, free):
            top.terminate_child(child)
        own.remove_worker("w2")
        with pytest.raises(StartFailedError, match="placement 'w2' is unknown"):
            top.restart_child(bound)
        assert states(top) == {"da06-f": "stopped", "da06-b": "stopped"}
        (again,) = top.restart_child("da06-f")
        assert again.ask(Born()) == "moved"


def test_DA06_a_stopped_child_starts_as_the_last_reload_says(switch: Path) -> None:
    def child(text: str) -> ChildSpec:
        actor = actor_spec(Codec(None), Fragile, args=(str(switch), text), name="da06-r")
        return child_spec(actor, "da06-r")

    with Node(workers=1, supervisors=[child("old")]) as own:
        top, ref = own.supervisor(), own.lookup("da06-r")
        assert ref.ask(Born()) == "old"
        top.terminate_child(ref)
        own.reload(supervisors=[child("new")])
        assert states(top) == {"da06-r": "stopped"}
        top.restart_child(ref)
        assert ref.ask(Born()) == "new"


def test_DA09_a_supervisor_that_has_ended(
    start: Callable[..., SupervisorRef], node: Node, switch: Path
) -> None:
    top = start("da09", SupervisorSpec("inner", children=(described("da09-a", switch),)))
    inner = node.supervisor("da09/inner")
    calls: list[Callable[[], Any]] = [
        lambda: inner.start_child(Fragile, args=(str(switch),)),
        lambda: inner.start_supervisor(SupervisorSpec("x")),
        lambda: inner.terminate_child("da09-a"),
        lambda: inner.restart_child("da09-a"),
        lambda: inner.delete_child("da09-a"),
        inner.which_children,
        inner.count_children,
        lambda: node.supervisor("da09/inner"),
    ]
    top.terminate_child("inner")
    for call in calls:
        with pytest.raises(SupervisorNotFoundError, match="root/da09/inner is stopped"):
            call()
    top.delete_child("inner")
    for call in calls:
        with pytest.raises(SupervisorNotFoundError, match="no supervisor at 'root/da09/inner'"):
            call()
    top.start_supervisor(SupervisorSpec("inner"))
    assert inner.which_children() == []  # whoever stands there now
    top.start_child(Fragile, args=(str(switch),), name="da09-b")
    with pytest.raises(SupervisorNotFoundError, match="is an actor and no supervisor"):
        node.supervisor("da09/da09-b")


def test_DA10_a_dynamic_supervisor_keeps_no_stopped_children(
    start: Callable[..., SupervisorRef], switch: Path
) -> None:
    top = start("da10", strategy=Strategy.DYNAMIC)
    first, second = (top.start_child(Fragile, args=(str(switch),), name=f"da10-{n}") for n in "ab")
    for call in (top.restart_child, top.delete_child):
        with pytest.raises(StrategyError, match="a dynamic supervisor keeps no stopped children"):
            call("da10-a")
    top.terminate_child(first)
    top.terminate_child("da10-b")
    assert counts(top) == (0, 0, 0, 0)
    with pytest.raises(ChildNotFoundError):
        top.terminate_child(second)


def test_DA12_terminate_of_a_child_that_waits_for_its_restart(
    start: Callable[..., SupervisorRef], node: Node, switch: Path
) -> None:
    top = start("da12", described("da12-a", switch, backoff=LATER))
    ref = node.lookup("da12-a")
    ref.tell(Break())
    eventually(lambda: states(top)["da12-a"] == "restarting", "a failure")
    top.terminate_child("da12-a")
    assert states(top) == {"da12-a": "stopped"}
    with pytest.raises(ActorNotFoundError):
        ref.ask(Born())
    top.restart_child("da12-a")
    assert ref.ask(Born()) == "da12-a"


def test_DA12_terminate_of_a_child_in_a_restart_loop(
    start: Callable[..., SupervisorRef], node: Node, switch: Path
) -> None:
    top = start("da12-l", described("da12-l1", switch, backoff=AT_ONCE))
    starts = switch.with_name("switch.starts")
    switch.write_text("fail")
    node.lookup("da12-l1").tell(Break())
    eventually(lambda: len(read_lines(starts)) > 3, "restarts that fail")
    top.terminate_child("da12-l1")
    made = len(read_lines(starts))
    assert states(top) == {"da12-l1": "stopped"}
    with pytest.raises(StartFailedError):
        top.restart_child("da12-l1")
    assert len(read_lines(starts)) == made + 1  # that one, and none of the loop


def test_DA12_terminate_of_a_child_whose_worker_has_just_died(
    start: Callable[..., SupervisorRef], node: Node, switch: Path
) -> None:
    top = start("da12-k")
    ref = top.start_child(Fragile, args=(str(switch), "k"), name="da12-k1", placement="w1")
    kill(worker_pids(node)["w1"])
    top.terminate_child(ref)
    assert states(top) == {"da12-k1": "stopped"}
    top.restart_child(ref)
    assert ref.ask(Born()) == "k"


def test_DA13_work_in_proportion_to_the_children(start: Callable[..., SupervisorRef]) -> None:
    top = start("da13", strategy=Strategy.DYNAMIC)

    def cost(children: int) -> float:
        begun = time.perf_counter()
        refs = [top.start_child(Parent, args=("",), restart="temporary") for _ in range(children)]
        for ref in refs:
            top.terminate_child(ref)
        return time.perf_counter() - begun

    assert min(cost(60) for _ in range(3)) < 50 * min(cost(6) for _ in range(3))
    assert counts(top) == (0, 0, 0, 0)


def test_DA14_a_dynamic_supervisor_that_is_full(
    start: Callable[..., SupervisorRef], switch: Path
) -> None:
    top = start("da14", strategy=Strategy.DYNAMIC, max_children=2)
    options: dict[str, Any] = {"args": (str(switch),)}
    top.start_child(Fragile, name="da14-a", **options)
    waiting = top.start_child(Fragile, name="da14-b", backoff=LATER, **options)
    waiting.tell(Break())
    eventually(lambda: states(top)["da14-b"] == "restarting", "a failure")
    with pytest.raises(MaxChildrenError, match=r"its 2 children \(max_children\); 'da14-c' was"):
        top.start_child(Fragile, name="da14-c", **options)
    assert len(read_lines(switch.with_name("switch.starts"))) == 2
    top.terminate_child(waiting)
    top.start_child(Fragile, name="da14-c", **options)
    assert counts(top) == (2, 2, 0, 2)


def test_DA18_DA19_children_are_listed_newest_first_and_counted(
    start: Callable[..., SupervisorRef], node: Node, switch: Path
) -> None:
    top = start(
        "da18",
        "da18-a",
        described("da18-t", switch, restart="transient"),
        described("da18-b", switch, backoff=LATER),
        SupervisorSpec("inner"),
    )
    top.start_child(Fragile, args=(str(switch),), name="da18-z")
    node.lookup("da18-b").tell(Break())
    eventually(lambda: states(top)["da18-b"] == "restarting", "a failure")
    top.terminate_child("da18-t")
    rows = top.which_children()
    assert [(row.id, row.kind, row.state) for row in rows] == [
        ("da18-z", "actor", State.RUNNING),
        ("inner", "supervisor", State.RUNNING),
        ("da18-b", "actor", State.RESTARTING),
        ("da18-t", "actor", State.STOPPED),
        ("da18-a", "actor", State.RUNNING),
    ]
    assert [row.ref is not None for row in rows] == [True, False, True, False, True]
    assert rows[1].path == "root/da18/inner"
    assert node.supervisor(rows[1].path).which_children() == []
    first = rows[-1].ref
    assert first is not None
    assert first.ask(Born()) == "da18-a"
    assert counts(top) == (5, 3, 1, 4)


def test_DA21_rest_for_one_with_a_child_in_a_restart_loop(
    start: Callable[..., SupervisorRef], node: Node, switch: Path
) -> None:
    log = str(switch.with_name("log"))
    peers = [
        child_spec(actor_spec(Codec(None), Peer, args=(log,), name=name), name)
        for name in ("da21-a", "da21-c")
    ]
    middle = described("da21-b", switch, backoff=AT_ONCE)
    top = start("da21", peers[0], middle, peers[1], strategy=Strategy.REST_FOR_ONE)
    born = node.lookup("da21-a").ask(Ping())
    switch.write_text("fail")
    node.lookup("da21-b").tell(Break())
    eventually(lambda: len(read_lines(switch.with_name("switch.starts"))) > 3, "failing restarts")
    eventually(lambda: states(top)["da21-b"] == "restarting", "the time between two of them")
    assert states(top)["da21-a"] == "running"
    assert states(top)["da21-c"] == "stopped"
    assert counts(top) == (3, 1, 0, 3)
    switch.unlink()
    eventually(lambda: set(states(top).values()) == {"running"}, "a restart")
    assert node.lookup("da21-a").ask(Ping()) == born
    assert node.lookup("da21-c").ask(Ping()) != born


def test_SD12_a_stop_does_not_start_a_child_that_waits_for_its_restart(switch: Path) -> None:
    starts = switch.with_name("switch.starts")
    loop = described("sd12-l", switch, backoff=AT_ONCE)
    children = (described("sd12-a", switch, backoff=LATER), loop)
    with Node(workers=1, max_restarts=MANY, supervisors=children) as own:
        top = own.supervisor()
        own.lookup("sd12-a").tell(Break())
        eventually(lambda: states(top)["sd12-a"] == "restarting", "a failure")
        switch.write_text("fail")
        own.lookup("sd12-l").tell(Break())
        eventually(lambda: len(read_lines(starts)) > 4, "restarts that fail")
        begun = time.monotonic()
        own.stop()
        assert time.monotonic() - begun < 10.0  # far from the minute of the backoff
        assert own.exit_code == 0
    assert [line for line in read_lines(starts) if line.startswith("sd12-a")] == ["sd12-a "]


def test_SD14_a_child_that_is_slow_to_stop_still_does(
    start: Callable[..., SupervisorRef], node: Node, tmp_path: Path
) -> None:
    top = start("sd14-s")
    log = tmp_path / "log"
    ref = top.start_child(Patient, args=(str(log), 0.4), name="sd14-s1")
    with pytest.raises(AskTimeoutError, match=r"did not stop within 0\.05 s; it still will"):
        top.terminate_child(ref, timeout=0.05)
    assert states(top) == {"sd14-s1": "stopping"}
    with pytest.raises(ChildRunningError, match="it is stopping"):
        top.restart_child("sd14-s1")
    top.terminate_child("sd14-s1")  # waits for the stop that is under way
    assert read_lines(log) == ["stopped"]
    assert states(top) == {"sd14-s1": "stopped"}


def test_a_child_that_is_terminated_while_it_starts(
    start: Callable[..., SupervisorRef], node: Node, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    top = start("early")
    failed: list[Exception] = []

    def spawn() -> None:
        try:
            top.start_child(Slow, args=(str(gate), "waiting"), name="early-a")
        except StartFailedError as error:
            failed.append(error)

    thread = threading.Thread(target=spawn)
    thread.start()
    eventually(lambda: states(top) == {"early-a": "starting"}, "a start")
    threading.Timer(0.05, gate.touch).start()  # an ordered stop waits for the start
    top.terminate_child("early-a")
    thread.join(5.0)
    assert "early-a could not start: shutdown: terminated" in str(failed[0])
    assert states(top) == {"early-a": "stopped"}
    (ref,) = top.restart_child("early-a")
    assert ref.ask(Ping()) == 1


def test_an_actor_administers_its_own_children(node: Node, switch: Path) -> None:
    parent = node.spawn(Parent, args=(str(switch),), name="own")
    assert parent.ask(Which()) == []
    assert parent.ask(Count()) == (0, 0, 0, 0)
    with pytest.raises(ActorCrashed, match="ChildNotFoundError: the actor has no children"):
        parent.ask(End("own-x"))
    a, b = parent.ask(Have("own-a")), parent.ask(Have("own-b"))
    assert parent.ask(Which()) == [("own-b", "running", True), ("own-a", "running", True)]
    assert parent.ask(Count()) == (2, 2, 0, 2)
    parent.ask(EndByRef(a))
    with pytest.raises(ActorNotFoundError):
        a.ask(Born())
    assert b.ask(Born()) == "own-b"
    parent.ask(End("own-b"))
    assert parent.ask(Which()) == []
    assert parent.ask(Have("own-a")).ask(Born()) == "own-a"  # its name is free
    with pytest.raises(ActorCrashed, match=r"ChildNotFoundError: root/.* has no child with key"):
        parent.ask(EndByRef(parent))
    parent.stop()


@pytest.mark.parametrize("how", ["in process", "simulated"])
def test_administration_without_processes(how: str, switch: Path) -> None:
    children = (SupervisorSpec("s", children=(described("a", switch, backoff=LATER),)),)
    options: dict[str, Any] = {"workers": 2, "supervisors": children}
    with Node(in_process=True, **options) if how == "in process" else Simulation(7, **options) as n:
        top = n.supervisor("s")
        ref = n.lookup("a")
        ref.tell(Break())
        added = top.start_child(Fragile, args=(str(switch), "b"), name="b")
        eventually(lambda: states(top) == {"a": "restarting", "b": "running"}, "a failure")
        top.terminate_child("a")
        top.terminate_child(added)
        assert states(top) == {"a": "stopped", "b": "stopped"}
        for child in (ref, added):
            top.restart_child(child)
        assert (ref.ask(Born()), added.ask(Born())) == ("a", "b")
        parent = n.spawn(Parent, args=(str(switch),))
        child = parent.ask(Have("c"))
        parent.ask(EndByRef(child))
        assert parent.ask(Count()) == (0, 0, 0, 0)
