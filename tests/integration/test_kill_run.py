"""Whatever is killed, 1.5 seconds later the run goes on, or it has ended and nothing is left."""

from __future__ import annotations

import asyncio
import fcntl
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from gristmill import ActorDied, Node
from gristmill.errors import NodeStoppedError
from gristmill.node.rundir import find_node
from support.actors import Add, Compute, Worker, read_lines
from support.processes import fork_server_pid, kill, supervisor_pid, worker_pids
from support.scripts import running
from support.traces import assert_nothing_left, marked_processes, run_directories, segments
from support.waiting import eventually

GONE_WITHIN = 1.5

CLIENT = """
    from gristmill import Node
    from support.actors import Add, Worker

    if __name__ == "__main__":
        with Node(workers=2) as node:
            refs = [node.spawn(Worker) for _ in range(4)]
            print("up", flush=True)
            while True:
                for ref in refs:
                    list(ref.ask_many(Add(i, i) for i in range(100)))
"""
ARRAYS = """
    import numpy as np
    from gristmill import Node
    from support.array_actors import Artist, Keep, Kept, Make, PassOn

    if __name__ == "__main__":
        with Node(workers=2) as node:
            refs = [node.spawn(Artist) for _ in range(4)]
            numbers, kept = np.ones(100_000), []
            refs[0].ask(PassOn(numbers, refs[1]))
            print("up", flush=True)
            while True:
                for near, far in zip(refs, refs[::-1]):
                    near.ask(PassOn(numbers, far))
                    far.tell(Keep(node.empty(100_000)))
                    kept = [*kept[-5:], *near.ask_many(Make(100_000, 1.0) for _ in range(3))]
                    far.ask(Kept())
"""


@pytest.mark.parametrize(
    ("victim", "named"),
    [(supervisor_pid, "the supervisor process is gone"), (fork_server_pid, "the fork server died")],
    ids=["supervisor", "fork server"],
)
def test_a_kill_of_the_node_ends_the_run_with_an_error(
    victim: Callable[[Node], int], named: str
) -> None:
    with Node(workers=2) as node:
        refs = [node.spawn(Worker) for _ in range(2)]

        def load() -> None:
            while True:
                for ref in refs:
                    list(ref.ask_many((Add(i, i) for i in range(100)), timeout=None))

        async def load_async() -> None:
            while True:
                await asyncio.gather(*(refs[0].ask_async(Add(i, i)) for i in range(50)))

        with ThreadPoolExecutor(2) as threads:
            loads = [threads.submit(load), threads.submit(lambda: asyncio.run(load_async()))]
            eventually(lambda: all(f.running() for f in loads), "there is load")
            kill(victim(node))
            begun = time.monotonic()
            for future in loads:
                with pytest.raises((NodeStoppedError, ActorDied)):
                    future.result(GONE_WITHIN)
        eventually(lambda: node.error is not None, "the client knows", GONE_WITHIN)
        assert named in str(node.error)
        with pytest.raises(NodeStoppedError, match=named):
            refs[0].ask(Add(1, 1), timeout=None)
        assert_nothing_left(GONE_WITHIN - (time.monotonic() - begun))


@pytest.mark.parametrize("source", [CLIENT, ARRAYS], ids=["numbers", "arrays"])
def test_a_kill_of_the_client_ends_everything(tmp_path: Path, source: str) -> None:
    with running(tmp_path, source) as script:
        assert script.line() == "up"
        kill(script.pid)
        script.wait()
        assert_nothing_left(GONE_WITHIN)


@pytest.mark.parametrize("processes", [3, 4, 5])
def test_a_kill_of_the_client_while_its_node_starts(tmp_path: Path, processes: int) -> None:
    with running(tmp_path, CLIENT) as script:
        eventually(lambda: len(marked_processes()) >= processes, "so many processes are there")
        kill(script.pid)
        script.wait()
        assert_nothing_left(5.0)


def test_a_kill_of_the_client_while_its_code_is_loaded(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    source = f"""
        from gristmill import Node
        from support.actors import wait_at

        if __name__ == "__main__":
            Node(workers=2).start()
        else:
            print("loading", flush=True)
            wait_at({str(gate)!r})
    """
    with running(tmp_path, source) as script:
        assert script.line() == "loading"
        kill(script.pid)
        script.wait()
        eventually(lambda: "the client is gone" in script.stderr, "the supervisor knows it")
        gate.touch()
        assert_nothing_left(5.0)


def test_a_kill_of_the_client_ends_handlers_that_compute(tmp_path: Path) -> None:
    source = CLIENT.replace("Add, Worker", "Add, Compute, Worker").replace(
        "while True:", "refs[0].ask(Compute('/nowhere'), timeout=None)\n            while True:"
    )
    with running(tmp_path, source) as script:
        assert script.line() == "up"
        kill(script.pid)
        script.wait()
        assert_nothing_left(GONE_WITHIN)


def is_let_go(run_dir: Path) -> bool:
    """Tell whether no process holds the lock of a run, not even one that is still dying."""
    with (run_dir / "lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


@pytest.mark.parametrize("victim", [0, 1, 2, 3], ids=["client", "supervisor", "server", "worker"])
def test_a_kill_with_arrays_in_flight_leaves_none(tmp_path: Path, victim: int) -> None:
    with running(tmp_path, ARRAYS) as script:
        assert script.line() == "up"
        assert segments()
        supervisor = find_node().supervisor
        (server,) = psutil.Process(supervisor).children()
        workers = [worker.pid for worker in server.children()]
        kill([script.pid, supervisor, server.pid, *workers][victim])
        script.wait()
        assert_nothing_left(GONE_WITHIN)


@pytest.mark.parametrize("source", [CLIENT, ARRAYS], ids=["numbers", "arrays"])
def test_a_kill_of_everything_at_once_is_swept_by_the_next_start(
    tmp_path: Path, source: str
) -> None:
    with running(tmp_path, source) as script:
        assert script.line() == "up"
        for pid in {script.pid, *marked_processes()}:
            with suppress(ProcessLookupError):  # it has died with its parent just now
                kill(pid)
        script.wait()
        eventually(lambda: all(map(is_let_go, run_directories())), "all are dead")
    left = {*run_directories(), *segments()}
    with Node(workers=1) as node:
        assert left.isdisjoint({*run_directories(), *segments()})
        assert node.spawn(Worker).ask(Add(1, 1)) == 2


def test_the_run_goes_on_when_a_worker_is_killed(tmp_path: Path) -> None:
    with Node(workers=2, max_restarts=100) as node:
        refs = [node.spawn(Worker) for _ in range(4)]
        for victim in ("w1", "w2"):
            kill(worker_pids(node)[victim])
            begun = time.monotonic()
            for ref in refs:
                _until_answered(ref.ask)
            assert time.monotonic() - begun < GONE_WITHIN


def _until_answered(ask: Callable[[Add], int]) -> None:
    while True:
        try:
            ask(Add(1, 1))
        except ActorDied:
            continue
        return


def test_one_interrupt_drains_and_a_second_one_stops_at_once(tmp_path: Path) -> None:
    seen, gate = tmp_path / "seen", tmp_path / "gate"
    source = f"""
        from gristmill import Node
        from support.actors import Compute, Witness

        if __name__ == "__main__":
            with Node(workers=2) as node:
                ref = node.spawn(Witness, args=({str(seen)!r},), name="w")
                node.spawn(Witness, args=({str(seen)!r},), name="last")
                print("up", flush=True)
                ref.ask(Compute({str(gate)!r}), timeout=None)
    """
    with running(tmp_path, source, "once.py") as script:
        assert script.line() == "up"
        script.interrupt()
        gate.touch()
        assert script.wait() == 128 + signal.SIGINT
        assert read_lines(seen)[-2:] == ["terminate last shutdown", "terminate w shutdown"]
    assert_nothing_left(GONE_WITHIN)
    gate.unlink()
    seen.unlink()
    with running(tmp_path, source, "twice.py") as script:
        assert script.line() == "up"
        script.interrupt()
        eventually(lambda: "terminate last shutdown" in read_lines(seen), "the node drains")
        script.interrupt()
        begun = time.monotonic()
        assert script.wait() == 128 + signal.SIGINT
        assert time.monotonic() - begun < GONE_WITHIN
        assert_nothing_left(GONE_WITHIN)


def test_stop_waits_for_handlers_and_kills_what_does_not_end(tmp_path: Path) -> None:
    node = Node(workers=1).start()
    ref = node.spawn(Worker)
    with ThreadPoolExecutor(1) as threads:
        held = threads.submit(ref.ask, Compute(str(tmp_path / "never")), timeout=None)
        eventually(lambda: ref._post._pending, "the handler computes")  # type: ignore[attr-defined]  # ours
        begun = time.monotonic()
        node.stop(0.3)
        assert time.monotonic() - begun < GONE_WITHIN
        with pytest.raises((ActorDied, NodeStoppedError)):
            held.result(1)
    assert_nothing_left(0.5)


def test_descriptors_of_the_client_are_given_back() -> None:
    with Node(workers=1):
        pass
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(2):
        with Node(workers=1) as node:
            node.spawn(Worker).ask(Add(1, 1))
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
