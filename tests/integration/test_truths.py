"""The truth tests: whether the granularity report says what is known from elsewhere.

They have the numbers of the list that the report is held to. Number 1 and 2 begin in
``test_accounting``; number 10, advice, is tested where advice is given.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import psutil
import pytest

from gristmill import ActorCrashed, ActorDied, AskTimeoutError, Node
from gristmill.metrics import Report
from gristmill.metrics.classes import COORD, total, unnamed
from gristmill.metrics.schema import TypeRow, WorkerRow
from gristmill.ref import Ref
from support.reports import during
from support.truths import (
    SLOW_NS,
    Archive,
    Chatter,
    Check,
    Checked,
    Clerk,
    Collect,
    Copies,
    Count,
    Doze,
    Fail,
    File,
    Filing,
    Hinder,
    Known,
    Note,
    Quiet,
    Relay,
    TimeCount,
    Watch,
)
from support.waiting import eventually

MS = 1_000_000


@pytest.fixture
def known() -> Iterator[tuple[Node, Ref[Known]]]:
    with Node(workers=1) as node:
        yield node, node.spawn(Known)


def rows(report: Report, kind: str = "worker") -> list[WorkerRow]:
    return [row for row in report.workers if row.kind == kind]


def row_of(report: Report, message: str) -> TypeRow:
    (found,) = [row for row in report.types if row.message == message]
    return found


def coordination(row: WorkerRow) -> int:
    return total(unnamed(row.classes), COORD)


# --- 2: a known share of compute ---


def test_truth_02_cpu_time_of_compute_is_known_on_a_crowded_machine() -> None:
    with Node(workers=4) as node:  # more than there are cores
        pool = node.pool(Known, 4, routing="round_robin")
        taken: list[int] = []

        def wrong() -> float:  # of all calls so far, of which not all are timed
            taken.extend(pool.ask_many([TimeCount(3000)] * 1200, window=16))
            row = row_of(node.granularity(), "TimeCount")
            assert row.compute_cpu_ns is not None
            return abs(row.compute_cpu_ns / sum(taken) - 1)

        eventually(lambda: wrong() < 0.05, "CPU time is that of the calls", within=30)


def test_truth_02_what_a_burst_journals_and_sends_is_no_compute(tmp_path: Path) -> None:
    with Node(workers=2, journal=tmp_path / "journal") as node:
        archive = node.spawn(Archive, name="archive", placement="w2")
        clerk = node.spawn(Clerk, args=(archive,), name="clerk", placement="w1")

        def file() -> None:
            copies = archive.ask(Copies()) + 2000 * 10
            for _ in range(2000):
                clerk.tell(File(10))
            eventually(lambda: archive.ask(Copies()) == copies, "all copies", within=20)

        def wrong() -> float:
            before = clerk.ask(Filing())
            (row,) = [row for row in rows(during(node, file)) if row.id == "w1"]
            own = row.classes["compute"] + row.classes["ser"]
            return abs(own / (clerk.ask(Filing()) - before) - 1)

        wrong()  # from now on, few messages are stamped
        assert median(wrong() for _ in range(21)) < 0.15  # others on the cores disturb some


# --- 3: known coordination ---


def test_truth_03_slow_decoding_is_deser_and_no_compute(known: tuple[Node, Ref[Known]]) -> None:
    node, ref = known
    requests = [Check(Checked(i)) for i in range(40)]
    row = row_of(during(node, lambda: list(ref.ask_many(requests, window=8))), "Check")
    assert row.messages == 40
    assert row.coord_ns.deser >= 40 * SLOW_NS
    assert row.compute_ns < 0.1 * row.coord_ns.deser


def test_truth_03_slow_sockets_are_send(known: tuple[Node, Ref[Known]]) -> None:
    node, ref = known
    ref.ask(Hinder(2 * MS))
    report = during(node, lambda: [ref.ask(Quiet()) for _ in range(30)])
    (worker,) = rows(report)
    assert worker.classes["send"] >= 30 * 2 * MS
    assert worker.classes["compute"] < 2 * MS
    assert row_of(report, "Quiet").coord_ns.send >= 30 * 2 * MS


def test_truth_03_work_of_the_supervisor_process_is_in_its_row() -> None:
    with Node(workers=1) as node:
        (row,) = rows(node.granularity(), "supervisor")
        process = psutil.Process(row.pid)

        def cpu() -> float:
            times = process.cpu_times()
            return times.user + times.system

        def calls() -> None:
            for _ in range(1500):
                node.status()

        before = cpu()
        (spent,) = rows(during(node, calls), "supervisor")
        after = cpu()
    assert spent.messages >= 1500
    assert coordination(spent) / 1e9 >= 0.5 * (after - before) > 0
    assert sum(spent.classes.values()) == pytest.approx(spent.wall_ns, rel=0.001)


# --- 4: known waiting ---


def test_truth_04_an_ask_that_waits_is_ask_wait_and_a_sleep_is_io_wait() -> None:
    with Node(workers=2) as node:
        sleeper = node.spawn(Known, placement="w1")
        asker = node.spawn(Known, args=(sleeper,), placement="w2")
        began = time.perf_counter_ns()
        report = during(node, lambda: [asker.ask(Doze(0.01)) for _ in range(50)])
        longest = time.perf_counter_ns() - began
    first, second = rows(report)
    assert 500 * MS * 0.98 <= second.classes["ask_wait"] <= longest
    assert 500 * MS * 0.98 <= first.classes["io_wait"] <= longest
    assert first.classes["ask_wait"] == second.classes["io_wait"] == 0
    assert second.classes["compute"] < 0.1 * second.classes["ask_wait"]
    assert sum(row.ask_wait_ns for row in report.types) == second.classes["ask_wait"]


# --- 5: garbage collection ---


def test_truth_05_collections_in_a_handler_are_no_compute(known: tuple[Node, Ref[Known]]) -> None:
    node, ref = known
    ref.ask(Collect(300_000), timeout=20.0)
    spent: list[int] = []
    report = during(node, lambda: spent.append(ref.ask(Collect(300_000), timeout=20.0)))
    (worker,) = rows(report)
    assert spent[0] > 5 * MS
    assert worker.classes["gc_user"] == pytest.approx(spent[0], rel=0.05)
    assert worker.classes["compute"] < 0.2 * spent[0]
    assert row_of(report, "Collect").gc_ns == worker.classes["gc_user"]


# --- 6: each ns of coordination is somebody's, once ---


def test_truth_06_types_and_edges_add_up_to_the_processes() -> None:
    with Node(workers=2) as node:
        target = node.spawn(Known, placement="w1")
        chatty = node.spawn(Known, args=(target,), placement="w2")
        list(chatty.ask_many([Chatter(20)] * 50))
        list(target.ask_many([Quiet()] * 300))
        assert chatty.ask(Relay(2)) == 1
        eventually(
            lambda: sum(r.messages for r in node.granularity().types) == 50 + 1000 + 300 + 2,
            "everything was handled",
        )
        report = node.granularity()
    assert {row.message: row.messages for row in report.types} == {
        "Chatter": 50, "Note": 1000, "Quiet": 300, "Relay": 2,
    }  # fmt: skip
    by_type = sum(row.coord_ns.total() for row in report.types)
    by_process = sum(coordination(row) for row in report.workers)
    busy = by_process + sum(r.classes["compute"] + r.classes["gc_user"] for r in report.workers)
    assert report.checks.unattributed_pct is not None
    assert by_process - by_type == pytest.approx(report.checks.unattributed_pct / 100 * busy, abs=1)
    assert by_process >= by_type  # the rest is what each look at the report costs, and the start
    assert all(row.coord_ns.total() > 0 for row in report.types)
    sent = {(edge.source, edge.target): edge.messages for edge in report.edges}
    assert sent == {("client", "Known"): 351, ("Known", "Known"): 1001}
    assert sum(edge.coord_ns for edge in report.edges) == pytest.approx(by_type, abs=10)
    assert all(edge.bytes >= edge.messages for edge in report.edges)


# --- 7: whatever happens, no time is lost ---


def test_truth_07_conservation_holds_through_failures_timeouts_kills_and_nesting() -> None:
    with Node(workers=2, max_restarts=100, within=1.0) as node:
        chain: Ref[Known] | None = None
        for number in range(6):
            chain = node.spawn(Known, args=(chain,), placement=f"w{1 + number % 2}")
        assert chain is not None
        assert chain.ask(Relay(5)) == 5
        victim = node.spawn(Known, placement="w1")
        for _ in range(3):
            victim.tell(Fail())
            with contextlib.suppress(ActorCrashed, ActorDied):
                victim.ask(Quiet())
        with pytest.raises(AskTimeoutError):
            victim.ask(Doze(0.5), timeout=0.01)
        assert chain.ask(Chatter(100)) == 100
        list(chain.ask_many([Count(2000)] * 200))
        kept = {row.id: row for row in rows(node.granularity())}
        os.kill(kept["w1"].pid, signal.SIGKILL)
        eventually(
            lambda: all(w.state == "ready" and w.pid != kept["w1"].pid for w in
                        node.status().workers if w.name == "w1"), "w1 is back",
        )  # fmt: skip
        list(chain.ask_many([Count(2000)] * 50))
        report = node.granularity()
    after = {row.id: row for row in rows(report)}
    for row in after.values():
        assert sum(row.classes.values()) == pytest.approx(row.wall_ns, rel=0.001)
    assert not after["w1"].complete
    assert after["w2"].complete
    for name, value in kept["w1"].classes.items():
        assert after["w1"].classes[name] >= value - 2 * MS  # probes are shared out anew
    assert row_of(report, "Count").messages == 250


# --- 8: what the accounting itself costs ---


def test_truth_08_the_reports_own_cost_is_small_and_said(known: tuple[Node, Ref[Known]]) -> None:
    node, ref = known

    def cost() -> float:
        report = during(node, lambda: list(ref.ask_many([Count(4000)] * 500, window=8)))
        (worker,) = rows(report)
        assert (row_of(report, "Count").grain_ns or 0) > 150_000
        assert worker.classes["probe"] > 0
        return worker.classes["probe"] / worker.wall_ns

    # the middle one: it is measured, so it is more where others take the core in the midst of it
    assert median(cost() for _ in range(9)) < 0.01


# --- 9: an independent witness ---


def test_truth_09_shares_agree_with_samples_of_cpu_time() -> None:
    with Node(workers=1) as node:
        ref = node.spawn(Known)
        work = ([Count(150)] * 6 + [Count(2000)]) * 4000

        def difference() -> float:
            ref.ask(Watch(True))
            report = during(node, lambda: list(ref.ask_many(work, window=64)))
            seen = ref.ask(Watch(False))
            (worker,) = rows(report)
            sampled = seen.get("compute", 0) / sum(seen.values())
            if worker.contention is not None and worker.contention < 0.95:
                # others took the core: then the samples, of CPU time, are held against CPU time
                return abs(sampled - (row_of(report, "Count").compute_cpu_ns or 0) / worker.cpu_ns)
            busy = worker.classes["compute"] + coordination(worker)
            return abs(sampled - worker.classes["compute"] / busy)

        eventually(lambda: difference() < 0.05, "shares agree within 5 points", within=20)


# --- 11: what only looks like compute ---


@pytest.mark.parametrize("rounds", [20, 400])  # the second long enough for messages to be sampled
def test_truth_11_empty_handlers_and_nested_tells_are_coordination(rounds: int) -> None:
    with Node(workers=2) as node:
        target = node.spawn(Known, placement="w1")
        chatty = node.spawn(Known, args=(target,), placement="w2")

        def talk() -> None:
            for _ in range(rounds):
                list(target.ask_many([Quiet()] * 50))
                chatty.ask(Chatter(50))

        report = during(node, talk)
    assert (row_of(report, "Quiet").ratio or 0) < 1
    first, second = rows(report)
    told = row_of(report, "Chatter")
    assert told.compute_ns < second.classes["ser"]
    assert (second.ratio or 0) < 1
    assert row_of(report, Note.__name__).coord_ns.peer >= 0.5 * second.classes["ser"]
    assert (first.ratio or 0) < 1
