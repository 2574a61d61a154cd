# ruff: noqa: N802 - named by the conformance row's id
from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from gristmill import ActorDied, ActorNotFoundError, Node, Ref
from gristmill.errors import WorkerBootError
from support.actors import Add, Compute, Die, Note, Notes, Pid, Witness, Worker, read_lines
from support.processes import kill, supervisor_pid, worker_pids
from support.scripts import running
from support.traces import marked_processes, segments
from support.waiting import eventually


def test_PR01_the_death_of_an_idle_worker_is_noticed_at_once(node: Node) -> None:
    ref = node.spawn(Worker, placement="w1")
    victim = ref.ask(Pid())
    kill(victim)
    begun = time.monotonic()
    eventually(lambda: worker_pids(node).get("w1") != victim, "it is noticed", 0.25)
    assert time.monotonic() - begun < 0.25
    assert ref.ask(Pid()) != victim


def test_PR02_a_kill_in_mid_call_is_told_at_once(node: Node, tmp_path: Path) -> None:
    ref = node.spawn(Worker, placement="w1")
    victim = ref.ask(Pid())
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(ref.ask, Compute(str(tmp_path / "never")), timeout=None)
        eventually(lambda: psutil.Process(victim).cpu_times() and not call.done(), "it computes")
        kill(victim)
        begun = time.monotonic()
        error = call.exception(5)
    assert isinstance(error, ActorDied)
    assert "SIGKILL" in str(error)
    assert time.monotonic() - begun < 0.5


def test_PR05_cycles_of_kill_and_restart_leave_nothing(node: Node) -> None:
    ref = node.spawn(Worker, placement="w1")

    def held() -> tuple[int, int, int, int]:
        client, supervisor = psutil.Process(), psutil.Process(supervisor_pid(node))
        return client.num_fds(), supervisor.num_fds(), supervisor.num_threads(), len(segments())

    def cycle() -> None:
        victim = ref.ask(Pid())
        kill(victim)
        eventually(lambda: _pid(ref) not in (0, victim), "it is back")

    cycle()
    before = held()
    for _ in range(100):
        cycle()
    eventually(lambda: all(a <= b for a, b in zip(held(), before, strict=True)), "counts are flat")
    assert len(marked_processes()) == 4
    states = [psutil.Process(pid).status() for pid in marked_processes()]
    assert psutil.STATUS_ZOMBIE not in states


def _pid(ref: Ref[Worker]) -> int:
    try:
        return ref.ask(Pid())
    except ActorDied:
        return 0


def test_PR08_a_busy_handler_is_not_declared_dead(node: Node, tmp_path: Path) -> None:
    busy = node.spawn(Worker, placement="w1")
    other = node.spawn(Worker, placement="w2")
    gate, pid = tmp_path / "gate", busy.ask(Pid())
    with ThreadPoolExecutor(1) as threads:
        held = threads.submit(busy.ask, Compute(str(gate)), timeout=20)
        deadline = time.monotonic() + 1.5
        slowest = 0.0
        while time.monotonic() < deadline:
            begun = time.monotonic()
            other.ask(Add(1, 1))
            slowest = max(slowest, time.monotonic() - begun)
        gate.touch()
        assert held.result(5) == pid
    assert slowest < 0.5
    assert busy.ask(Pid()) == pid


def test_PR11_ctrl_c_stops_in_order_and_terminates_once(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    source = f"""
        import threading
        from gristmill import Node
        from support.actors import Witness

        if __name__ == "__main__":
            with Node(workers=2) as node:
                for n in range(4):
                    node.spawn(Witness, args=({str(seen)!r},), name=f"w{{n}}")
                print("up", flush=True)
                threading.Event().wait()
    """
    with running(tmp_path, source) as script:
        assert script.line() == "up"
        script.interrupt()
        assert script.wait() == 130
    ends = [x for x in read_lines(seen) if x.startswith("terminate")]
    assert ends == [f"terminate w{n} shutdown" for n in (3, 2, 1, 0)]


def test_PR12_sigterm_to_a_worker_is_an_orderly_end_of_its_actors(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    with Node(workers=1, max_restarts=1) as node:
        for kind in ("permanent", "transient", "temporary"):
            node.spawn(Witness, args=(str(seen),), name=kind, restart=kind)
        first = worker_pids(node)["w1"]
        kill(first, signal.SIGTERM)
        eventually(lambda: read_lines(seen).count("start permanent") == 2, "it is back")
        eventually(lambda: node.status().names == ("permanent",), "the others are not")
        ends = [x for x in read_lines(seen) if x.startswith("terminate")]
        assert sorted(x.split()[1] for x in ends) == ["permanent", "temporary", "transient"]


def test_PR13_a_worker_that_cannot_boot_stops_the_run(tmp_path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(WorkerBootError, match="no such table"):
        Node(workers=2, preload=["support.broken_module"]).start()
    assert time.monotonic() - begun < 5.0


def test_PR14_no_message_to_a_dead_worker_is_silent(node: Node) -> None:
    ref = node.spawn(Worker, placement="w1", restart="temporary")
    with pytest.raises(ActorDied):
        ref.ask(Die("kill"))
    with pytest.raises((ActorDied, ActorNotFoundError)):
        ref.ask(Add(1, 1), timeout=None)
    before = len(node.dead_letters())
    ref.tell(Note(1))
    eventually(lambda: len(node.dead_letters()) > before, "a dead letter")


def test_PR16_a_message_sent_the_instant_spawn_returns_is_delivered() -> None:
    for _ in range(3):
        with Node(workers=2) as node:
            refs = [node.spawn(Worker, placement=place) for place in ("w1", "w2")]
            for ref in refs:
                ref.tell(Note(1))
            assert [ref.ask(Notes()) for ref in refs] == [[1], [1]]


def test_PR18_a_stop_with_unsent_messages_does_not_hang() -> None:
    node = Node(workers=1).start()
    ref = node.spawn(Worker, restart="temporary")
    ref.ask(Pid())
    os.kill(worker_pids(node)["w1"], signal.SIGSTOP)
    for number in range(1000):
        ref.tell(Note(number))
    begun = time.monotonic()
    node.stop(0.3)
    assert time.monotonic() - begun < 3.0


@pytest.mark.parametrize(
    ("end", "told", "restarted"),
    [
        ("term", "shutdown", False),
        ("exit 0", "normal", False),
        ("exit 7", "exited with code 7", True),
        ("kill", "killed by SIGKILL", True),
    ],
)
def test_PR23_what_a_workers_exit_status_means(
    tmp_path: Path, end: str, told: str, *, restarted: bool
) -> None:
    seen = tmp_path / "seen"
    with Node(workers=2) as node:
        node.spawn(
            Witness, args=(str(seen),), name="transient", restart="transient", placement="w1"
        )
        killer = node.spawn(Worker, restart="temporary", placement="w1")
        first = worker_pids(node)["w1"]
        if end == "term":
            kill(first, signal.SIGTERM)
        else:
            with pytest.raises(ActorDied, match=told):
                killer.ask(Die(end))
        eventually(lambda: worker_pids(node).get("w1") not in (first, None), "another worker")
        if restarted:
            eventually(lambda: read_lines(seen).count("start transient") == 2, "it is back")
        else:
            eventually(lambda: "transient" not in node.status().names, "it is gone")
            assert read_lines(seen).count("start transient") == 1
