"""Supervision trees over real worker processes."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gristmill import ActorBuilder, ActorCrashed, ActorNotFoundError, Node, Ref
from gristmill.errors import NodeStoppedError, RestartIntensityError
from gristmill.supervision import (
    BRUTAL_KILL,
    AutoShutdown,
    Restart,
    ShutdownPolicy,
    Strategy,
    SupervisorSpec,
)
from gristmill.transport.codec import Codec
from gristmill.worker.specs import actor_spec, child_spec
from support.actors import Compute, Crash, Leave, Note, Pid, Witness, Worker, read_lines
from support.policies import Break, Breed, Breeder
from support.processes import kill, next_pid, supervisor_pid, worker_pids
from support.traces import assert_nothing_left
from support.waiting import eventually

NAMES = ("a", "b", "c")
PLACES = {"a": "w1", "b": "w2", "c": "w1"}


def witness(
    node: Node,
    seen: Path,
    name: str,
    *,
    restart: Restart | str = "permanent",
    shutdown: ShutdownPolicy = 5.0,
    placement: str = "any",
) -> Any:
    codec = Codec(node._connected().post)
    spec = actor_spec(codec, Witness, args=(str(seen),), name=name, placement=placement)
    return child_spec(spec, name, restart=restart, shutdown=shutdown)


def tree(
    node: Node, seen: Path, strategy: Strategy, *, max_restarts: int = 100
) -> dict[str, Ref[Any]]:
    children = tuple(witness(node, seen, n, placement=PLACES[n]) for n in NAMES)
    spec = SupervisorSpec("family", strategy, max_restarts, 60.0, children)
    return dict(zip(NAMES, node.start_supervisor(spec), strict=True))


@pytest.mark.parametrize(
    ("strategy", "restarted"),
    [
        (Strategy.ONE_FOR_ONE, ["b"]),
        (Strategy.ONE_FOR_ALL, ["a", "b", "c"]),
        (Strategy.REST_FOR_ONE, ["b", "c"]),
    ],
)
def test_a_crash_restarts_what_the_strategy_says(
    tmp_path: Path, strategy: Strategy, restarted: list[str]
) -> None:
    seen = tmp_path / "seen"
    with Node(workers=2) as node:
        refs = tree(node, seen, strategy)
        assert read_lines(seen) == ["start a", "start b", "start c"]
        refs["b"].tell(Crash("x"))
        eventually(lambda: read_lines(seen)[3:].count(f"start {restarted[-1]}") == 1, "restarts")
        lines = read_lines(seen)[3:]
        stopped = [n for n in reversed(restarted) if n != "b"]
        assert lines == [
            "terminate b crash: ValueError: x",
            *(f"terminate {n} shutdown" for n in stopped),
            *(f"start {n}" for n in restarted),
        ]
        for name in NAMES:
            refs[name].ask(Pid())


@pytest.mark.parametrize(
    ("strategy", "restarted"),
    [(Strategy.ONE_FOR_ONE, {"a", "c"}), (Strategy.ONE_FOR_ALL, {"a", "b", "c"})],
)
def test_a_workers_death_counts_once_and_restarts_its_actors(
    tmp_path: Path, strategy: Strategy, restarted: set[str]
) -> None:
    seen = tmp_path / "seen"
    with Node(workers=2) as node:
        refs = tree(node, seen, strategy, max_restarts=1)
        kill(worker_pids(node)["w1"])
        eventually(
            lambda: {x[6:] for x in read_lines(seen)[3:] if x.startswith("start")} == restarted,
            "restarts",
        )
        assert not any(x.startswith(("terminate a", "terminate c")) for x in read_lines(seen))
        for name in NAMES:
            refs[name].ask(Pid())


def test_restart_types(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    with Node(workers=2, max_restarts=100) as node:
        for kind in ("permanent", "transient", "temporary"):
            for end in (Leave(), Crash("x")):
                name = f"{kind}-{type(end).__name__}"
                node.spawn(Witness, args=(str(seen),), name=name, restart=kind).tell(end)

        def starts() -> dict[str, int]:
            lines = read_lines(seen)
            return {x[6:]: lines.count(x) for x in lines if x.startswith("start")}

        eventually(lambda: sum(starts().values()) == 9, "three restarts")
        eventually(lambda: len(node.status().names) == 3, "the others are forgotten")
        assert starts() == {
            "permanent-Leave": 2,
            "permanent-Crash": 2,
            "transient-Leave": 1,
            "transient-Crash": 2,
            "temporary-Leave": 1,
            "temporary-Crash": 1,
        }
        with pytest.raises(ActorNotFoundError):
            node.lookup("temporary-Crash")


def test_too_many_restarts_end_the_run_with_the_chain_of_causes() -> None:
    with Node(workers=2, max_restarts=3, within=5.0) as node:
        ref = node.spawn(Worker, name="doomed")
        for number in range(4):
            ref.tell(Crash(f"cause {number}"))
        eventually(lambda: node.error is not None, "the run has ended")
        error = node.error
        assert isinstance(error, RestartIntensityError)
        assert error.exit_code == 5
        assert "restart intensity exceeded" in str(error)
        assert "cause 3" in str(error)
        assert "doomed" in str(error)
        with pytest.raises(RestartIntensityError):
            ref.ask(Pid())
        assert_nothing_left(1.5)


def test_an_inner_supervisor_that_gives_up_is_restarted_by_its_parent(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    with Node(workers=2, max_restarts=3) as node:
        refs = tree(node, seen, Strategy.ONE_FOR_ONE, max_restarts=0)
        refs["b"].tell(Crash("x"))
        eventually(lambda: read_lines(seen).count("start c") == 2, "the family is restarted")
        assert [x for x in read_lines(seen)[3:] if x.startswith("start")] == [
            "start a",
            "start b",
            "start c",
        ]
        refs["a"].ask(Pid())


def test_the_tree_stops_in_reverse_start_order_behind_its_messages(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    with Node(workers=2) as node:
        refs = tree(node, seen, Strategy.ONE_FOR_ONE)
        node.spawn(Witness, args=(str(seen),), name="last")
        refs["b"].tell(Note(7))
    lines = read_lines(seen)
    ends = [x.split()[1] for x in lines if x.startswith("terminate")]
    assert ends == ["last", "c", "b", "a"]
    assert lines.index("note 7") < lines.index("terminate b shutdown")


def test_brutal_kill_runs_no_terminate(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    with Node(workers=1) as node:
        node.spawn(Witness, args=(str(seen),), name="brutal", shutdown=BRUTAL_KILL).stop()
        node.spawn(Witness, args=(str(seen),), name="gentle").stop()
    lines = read_lines(seen)
    assert lines == ["start brutal", "start gentle", "terminate gentle shutdown"]


def test_an_actor_that_never_stops_is_killed_within_its_time(tmp_path: Path) -> None:
    with Node(workers=2) as node:
        stubborn = node.spawn(Worker, name="stubborn", shutdown=0.2, placement="w1")
        pid = stubborn.ask(Pid())
        neighbour = node.spawn(Worker, name="neighbour", placement="w1")
        with ThreadPoolExecutor(1) as threads:
            held = threads.submit(stubborn.ask, Compute(str(tmp_path / "never")), timeout=None)
            eventually(lambda: node.activity()[0].message == "Compute", "it computes")
            begun = time.monotonic()
            stubborn.stop()
            assert time.monotonic() - begun < 1.5
            assert held.exception(2) is not None
        assert neighbour.ask(Pid()) != pid


def test_sigterm_to_a_worker_stops_its_actors_in_order_and_counts_once(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    with Node(workers=2, max_restarts=3) as node:
        for n in range(5):
            node.spawn(Witness, args=(str(seen),), name=f"p{n}", placement="w1")
        node.spawn(
            Witness, args=(str(seen),), name="transient", placement="w1", restart="transient"
        )
        first = worker_pids(node)["w1"]
        kill(first, signal.SIGTERM)
        next_pid(node, "w1", [first])
        eventually(lambda: node.lookup("p4").ask(Pid()) != first, "its actors are back")
        lines = read_lines(seen)
        ends = [x for x in lines if x.startswith("terminate")]
        assert len(ends) == 6
        assert all("shutdown" in x for x in ends)
        assert lines.count("start p4") == 2
        assert lines.count("start transient") == 1
        assert node.error is None


def test_sigterm_to_the_supervisor_process_stops_everything_in_order(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    with Node(workers=2) as node:
        node.spawn(Witness, args=(str(seen),), name="w")
        kill(supervisor_pid(node), signal.SIGTERM)
        assert node.wait(5)
        assert isinstance(node.error, NodeStoppedError)
    assert read_lines(seen) == ["start w", "terminate w shutdown"]


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
def test_a_transient_actor_that_has_ended_comes_back_with_its_group(
    tmp_path: Path, strategy: Strategy
) -> None:
    seen = tmp_path / "seen"
    with Node(workers=3) as node:
        node.start_supervisor(SupervisorSpec("group", strategy, 5))
        first, second = (
            node.spawn(
                Witness, args=(str(seen),), name=name, supervisor="group", restart="transient"
            )
            for name in ("first", "second")
        )
        second.tell(Leave())
        eventually(lambda: "second" not in node.status().names, "it has ended")
        second.tell(Note(1))  # for nobody
        first.tell(Crash("x"))
        eventually(lambda: read_lines(seen).count("start second") == 2, "it is back")
        second.tell(Note(2))
        eventually(lambda: "note 2" in read_lines(seen), "its ref is as good as ever")
        assert "note 1" not in read_lines(seen)
        assert node.lookup("second").ask(Pid()) == second.ask(Pid())


def test_an_actor_whose_name_is_taken_by_then_does_not_come_back(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    with Node(workers=2, max_restarts=0) as node:
        node.start_supervisor(
            SupervisorSpec("group", Strategy.ONE_FOR_ALL, 2, 60.0, restart=Restart.TEMPORARY)
        )
        first, second = (
            node.spawn(
                Witness, args=(str(seen),), name=name, supervisor="group", restart="transient"
            )
            for name in ("first", "second")
        )
        second.tell(Leave())
        eventually(lambda: "second" not in node.status().names, "it has ended")
        holder = node.spawn(Worker, name="second")
        first.tell(Crash("x"))
        eventually(lambda: "first" not in node.status().names, "the supervisor has given up")
        assert node.lookup("second") == holder
        assert read_lines(seen).count("start second") == 1
        holder.ask(Pid())


def test_a_significant_actor_that_ends_takes_its_supervisor_along(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    with Node(workers=2) as node:
        node.start_supervisor(
            SupervisorSpec(
                "job", restart=Restart.TEMPORARY, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT
            )
        )
        for name in ("helper", "other"):
            node.spawn(Witness, args=(str(seen),), name=name, supervisor="job")
        builder = ActorBuilder(Witness).args(str(seen)).name("main").restart("transient")
        main = builder.significant().spawn(node, supervisor="job")
        main.tell(Leave())
        eventually(lambda: node.status().names == (), "all have ended")
        ends = [line.split()[1] for line in read_lines(seen) if line.startswith("terminate")]
        assert ends == ["main", "other", "helper"]
        node.spawn(Worker).ask(Pid())


def test_a_restart_by_its_class_stops_the_children_first_and_costs_nothing(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    with Node(workers=2, max_restarts=0) as node:
        parent = node.spawn(Breeder, args=(str(seen),), name="parent")
        parent.ask(Breed("child"))
        with pytest.raises(ActorCrashed):
            parent.ask(Break("ValueError"))
        parent.ask(Breed("child"))
        assert [line.split()[0] for line in read_lines(seen)] == [
            "start", "start", "before", "terminate", "start", "start"
        ]  # fmt: skip
        assert node.status().tree.restarts_in_window == 0
