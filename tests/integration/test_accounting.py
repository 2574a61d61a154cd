"""The accounting of real workers against independent witnesses."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from gristmill import Node, Request
from gristmill.metrics import Report
from gristmill.metrics.schema import TypeRow, WorkerRow
from gristmill.node.pool import Pool
from support.computing import ProcessTimes, Spin, Spinner
from support.waiting import eventually


@pytest.fixture(scope="module")
def spinners() -> Iterator[tuple[Node, Pool[Spinner]]]:
    with Node(workers=2) as node:
        yield node, node.pool(Spinner, 2, routing="round_robin")


def worker_rows(report: Report) -> dict[str, WorkerRow]:
    return {row.id: row for row in report.workers if row.kind == "worker"}


def spin_row(report: Report) -> TypeRow:
    (row,) = [row for row in report.types if row.message == "Spin"]
    return row


def test_truth_01_conservation_and_wall_agrees_with_the_clients_clock(
    spinners: tuple[Node, Pool[Spinner]],
) -> None:
    node, pool = spinners
    outside = time.perf_counter_ns()
    before = worker_rows(node.granularity())
    inside = time.perf_counter_ns()
    list(pool.ask_many([Spin(2_000_000)] * 400, window=16))
    shortest = time.perf_counter_ns() - inside
    after = worker_rows(node.granularity())
    longest = time.perf_counter_ns() - outside
    assert before.keys() == after.keys() == {"w1", "w2"}
    for name, row in after.items():
        wall = sum(row.classes.values()) - sum(before[name].classes.values())
        assert 0.99 * shortest <= wall <= 1.01 * longest
        assert sum(row.classes.values()) == pytest.approx(row.wall_ns, rel=0.001)


@pytest.mark.parametrize("us", [20, 100, 1000])
def test_truth_02_known_share_of_compute(us: int) -> None:
    messages = 40_000 // us
    with Node(workers=1) as node:
        ref = node.spawn(Spinner)
        ref.ask(Spin(us * 1000))

        def is_known() -> bool:
            before = spin_row(node.granularity())
            spent = sum(ref.ask_many([Spin(us * 1000)] * messages, window=16))
            after = spin_row(node.granularity())
            error = abs(after.compute_ns - before.compute_ns - spent)
            return error <= max(1000 * messages, 0.02 * spent)

        # whoever takes the core between the handler's clock and ours adds to the error
        eventually(is_known, "compute is within 1 us a message or 2%", within=15)


def test_truth_02_cpu_time_agrees_with_the_kernels_within_two_percent(
    spinners: tuple[Node, Pool[Spinner]],
) -> None:
    node, pool = spinners
    cpu_before = {row.pid: row.cpu_ns for row in node.granularity().workers}
    kernel_before = dict(member.ask(ProcessTimes()) for member in pool.members)

    def all_have_computed() -> bool:
        list(pool.ask_many([Spin(5_000_000)] * 200, window=8))
        now = dict(member.ask(ProcessTimes()) for member in pool.members)
        return all(seconds - kernel_before[pid] > 0.5 for pid, seconds in now.items())

    eventually(all_have_computed, "both took half a second of their cores", within=30)
    cpu_after = {row.pid: row.cpu_ns for row in node.granularity().workers}
    kernel_after = dict(member.ask(ProcessTimes()) for member in pool.members)
    tick = 0.01
    for pid, seconds in kernel_after.items():
        by_kernel = seconds - kernel_before[pid]
        ours = (cpu_after[pid] - cpu_before[pid]) / 1e9
        assert by_kernel > 0.5
        assert ours == pytest.approx(by_kernel, rel=0.02, abs=2 * tick)


def test_truth_04_an_idle_worker_is_idle(spinners: tuple[Node, Pool[Spinner]]) -> None:
    node, _ = spinners
    before = worker_rows(node.granularity())
    assert not node.wait(1.0)  # one second in which nothing is asked of anybody
    after = worker_rows(node.granularity())
    for name, row in after.items():
        idle = row.classes["idle"] - before[name].classes["idle"]
        wall = sum(row.classes.values()) - sum(before[name].classes.values())
        assert idle >= 0.98 * wall


def test_a_worker_at_rest_does_not_wake_up() -> None:
    with Node(workers=1) as node:
        ref = node.spawn(Spinner)
        ref.ask(Spin(0))
        worker = psutil.Process(node.status().workers[0].pid)

        def rests() -> bool:
            before = worker.num_ctx_switches().voluntary
            assert not node.wait(1.5)
            return worker.num_ctx_switches().voluntary == before

        eventually(rests, "the worker rests for a second and a half", within=20)
        list(ref.ask_many([Spin(0)] * 100))
        assert spin_row(node.granularity()).messages == 101


def test_short_messages_are_sampled_and_all_of_them_counted() -> None:
    with Node(workers=1) as node:
        ref = node.spawn(Spinner)
        sent = 0
        while node.granularity().run.sample_n == 1:
            list(ref.ask_many([Spin(0)] * 5000))
            sent += 5000
            assert sent < 5_000_000, "short messages are not sampled"
        before = worker_rows(node.granularity())["w1"]
        list(ref.ask_many([Spin(0)] * 20_000))
        many: list[Request[Any]] = [Spin(0)] * 200
        list(ref.ask_many([*many, ProcessTimes(), *many]))
        report = node.granularity()
        after = worker_rows(report)["w1"]
    assert report.run.mode == "sampled"
    assert spin_row(report).messages == sent + 20_400
    (rare,) = [row for row in report.types if row.message == "ProcessTimes"]
    assert rare.messages == 1
    assert rare.compute_ns > 1_000  # what is rare is stamped, whatever goes by
    assert sum(after.classes.values()) == pytest.approx(after.wall_ns, rel=0.001)
    stamps = after.transitions - before.transitions
    assert stamps < 4 * 20_000  # every message takes five where each is stamped
