"""The event loop of a simulated worker: rounds, virtual time, and what it refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

import pytest

from gristmill.testing import NondeterminismError
from gristmill.testing.schedule import Schedule
from gristmill.testing.virtual_loop import VirtualLoop, new_loop


class Bench:
    """A loop on a schedule of its own."""

    def __init__(self) -> None:
        self.schedule = Schedule(Random(0), 100.0)
        self.woken = 0
        self.loop: VirtualLoop = new_loop(
            lambda: self.schedule.now, self.schedule.after, self._wake
        )

    def _wake(self) -> None:
        self.woken += 1

    def pass_time(self, until: float) -> None:
        while self.schedule.next_due <= until:
            self.schedule.take_next()()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_round_runs_what_was_ready_in_order(bench: Bench) -> None:
    ran: list[int] = []

    def first() -> None:
        ran.append(1)
        bench.loop.call_soon(ran.append, 3)

    bench.loop.call_soon(first)
    bench.loop.call_soon(ran.append, 2)
    assert bench.woken == 1
    bench.loop.run_round()
    assert ran == [1, 2]
    assert bench.woken == 2
    bench.loop.run_round()
    assert ran == [1, 2, 3]


def test_a_timer_that_is_cancelled_by_its_own_round_does_not_run(bench: Bench) -> None:
    ran: list[str] = []
    late = bench.loop.call_later(5.0, ran.append, "late")
    bench.loop.call_later(4.0, late.cancel)
    bench.pass_time(104.0)
    bench.schedule.after(2.0, lambda: None)
    bench.pass_time(106.0)
    bench.loop.run_round()
    assert bench.loop.time() == 106.0
    assert ran == []


def test_what_is_cancelled_before_its_round_does_not_run(bench: Bench) -> None:
    ran: list[str] = []
    bench.loop.call_soon(ran.append, "never").cancel()
    bench.loop.call_soon(ran.append, "once")
    bench.loop.run_round()
    assert ran == ["once"]


def test_tasks_left_at_the_end_are_cancelled(bench: Bench) -> None:
    ended: list[str] = []

    async def wait() -> None:
        try:
            await bench.loop.create_future()
        finally:
            ended.append("cleaned up")

    task = bench.loop.create_task(wait())
    bench.loop.run_round()
    bench.loop.finish()
    assert task.cancelled()
    assert ended == ["cleaned up"]
    assert bench.loop.is_closed()


@pytest.mark.parametrize("name", ["run_in_executor", "create_connection", "subprocess_exec"])
def test_what_reaches_outside_is_refused(bench: Bench, name: str) -> None:
    reach: Callable[..., object] = getattr(bench.loop, name)
    with pytest.raises(NondeterminismError, match=rf"loop\.{name}\(\)"):
        reach(None, print)


def test_what_nobody_takes_care_of_is_logged(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.loop.call_exception_handler({"message": "lost", "exception": ValueError("why")})
    assert "lost" in caplog.text
    assert "why" in caplog.text


def test_it_is_an_event_loop(bench: Bench) -> None:
    assert isinstance(bench.loop, asyncio.AbstractEventLoop)
    assert bench.loop.is_running()
    assert not bench.loop.get_debug()
