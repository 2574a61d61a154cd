"""``Node(in_process=True)``: everything in the client's process."""

from __future__ import annotations

import asyncio
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gristmill import ActorCrashed, AskTimeoutError, Node
from gristmill.errors import (
    NodeStoppedError,
    RestartIntensityError,
    StartFailedError,
    UsageError,
    WorkerBootError,
)
from support import behaviours as b
from support.actors import Fail, Ledger, Note, Notes


def test_handlers_run_in_the_callers_thread_and_start_no_other() -> None:
    before = set(threading.enumerate())
    with Node(workers=2, in_process=True) as node:
        near = node.spawn(b.Inspector, placement="w1")
        far = node.spawn(b.Inspector, placement="w2")
        assert near.ask(b.Thread()) == threading.get_ident()
        assert near.ask(b.Ask(far)) == threading.get_ident()
        assert list(near.ask_many([b.Thread()] * 300, window=10)) == [threading.get_ident()] * 300
        assert set(threading.enumerate()) == before


def test_a_tell_is_handled_before_it_returns() -> None:
    with Node(workers=1, in_process=True) as node:
        node.spawn(b.Manager, name="m").tell(b.Rang(3))
        assert b.LOG[-2:] == ["second 3", "recorder 3"]


def test_many_threads_and_a_loop_at_once() -> None:
    with Node(workers=2, in_process=True) as node:
        ref = node.spawn(b.Inspector)

        async def many() -> int:
            return len(await asyncio.gather(*(ref.ask_async(b.Thread()) for _ in range(40))))

        with ThreadPoolExecutor(4) as threads:
            asked = [threads.submit(ref.ask, b.Thread()) for _ in range(40)]
            assert asyncio.run(many()) == 40
            assert all(future.result(10) for future in asked)


def test_a_plain_ask_under_a_running_loop() -> None:
    with Node(workers=1, in_process=True) as node:
        ref = node.spawn(b.Inspector)

        async def main() -> int:
            return ref.ask(b.Thread())

        assert asyncio.run(main())


def test_crashes_restarts_and_escalation() -> None:
    with Node(workers=1, in_process=True, max_restarts=2) as node:
        server = node.spawn(b.Server)
        for _ in range(2):
            server.tell(b.Burst())
        assert server.ask(b.GetLog()) == []
        assert node.status().actor_restarts == 2
        server.tell(b.Burst())
        assert node.wait(5)
        assert isinstance(node.error, RestartIntensityError)
        with pytest.raises(NodeStoppedError):
            server.ask(b.GetLog())
    assert node.exit_code == 5


def test_errors_reach_the_caller() -> None:
    with Node(workers=1, in_process=True) as node:
        server = node.spawn(b.Server)
        with pytest.raises(AskTimeoutError):
            server.ask(b.Hang(), timeout=0.02)
        with pytest.raises(ActorCrashed, match="is not durable") as caught:
            node.spawn(Ledger, facets=()).ask(Fail("no"))
        assert "remote traceback" in caught.value.__notes__[0]
        with pytest.raises(StartFailedError, match="too many positional"):
            node.spawn(b.Inspector, args=(1, 2))


def test_a_handler_can_not_wait_for_its_own_client() -> None:
    with Node(workers=1, in_process=True) as node:
        ref = node.spawn(b.Inspector)
        b.CLIENT_REFS[:] = [ref]
        assert "would wait for itself" in ref.ask(b.UseClient())


def test_map_pools_names_and_accounting() -> None:
    with Node(workers=2, in_process=True) as node:
        assert list(node.map(b.double, range(50))) == [2 * number for number in range(50)]
        pool = node.pool(b.Inspector, 3, name="pool")
        assert set(pool.ask_many([b.Thread()] * 9)) == {threading.get_ident()}
        assert node.lookup("pool-2").ask(b.Thread())
        status = node.status()
        assert [worker.state for worker in status.workers] == ["ready", "ready"]
        report = node.granularity()
        assert {row.id for row in report.workers} >= {"w1", "w2"}


def test_durable_state_and_at_least_once(tmp_path: Path) -> None:
    for expected in ([1, 2, 3], [1, 2, 3, 1, 2, 3]):
        with Node(workers=1, in_process=True, journal=tmp_path) as node:
            ledger = node.spawn(Ledger, name="ledger")
            for number in (1, 2, 3):
                ledger.tell(Note(number), delivery="at_least_once")
            assert ledger.ask(Notes()) == expected
            assert node.undelivered == 0


def test_dedicated_workers_and_stop_at_once() -> None:
    node = Node(workers=1, in_process=True).start()
    server = node.spawn(b.Server, placement="dedicated")
    assert len(node.status().workers) == 2
    server.stop()
    node.spawn(b.Server)
    node.stop(0)
    with pytest.raises(UsageError, match="does not run"):
        node.status()


def test_what_it_refuses() -> None:
    with pytest.raises(UsageError, match="pin_cpus"):
        Node(workers=1, in_process=True, pin_cpus=True)
    with pytest.raises(WorkerBootError, match="can't import no_such_module"):
        Node(workers=1, in_process=True, preload=["no_such_module"]).start()
    assert "no_such_module" not in sys.modules
