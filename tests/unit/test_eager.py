"""The first step of an eager coroutine runs at once; a task only goes on with one that waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from gristmill.metrics import Meter
from gristmill.worker.turns.eager import Eager, Suspended
from gristmill.worker.turns.metered import metered

Work = Coroutine[Any, Any, Any]


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    for task in asyncio.all_tasks(loop):  # the stand-in that waits for work
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


@pytest.fixture
def eager(loop: asyncio.AbstractEventLoop) -> Eager:
    return Eager(loop.create_task, loop.create_future)


def in_one_round(loop: asyncio.AbstractEventLoop, call: Callable[[], Any]) -> Any:
    """Call in one round of the loop, as a worker's turn is, and stop behind that round."""
    results: list[Any] = []
    loop.call_soon(lambda: results.append(call()))
    loop.call_soon(loop.stop)
    loop.run_forever()
    return results[0]


def begin(loop: asyncio.AbstractEventLoop, eager: Eager, work: Work) -> asyncio.Task[None]:
    """Begin work that waits, and let it go on as a task."""

    async def rest(suspended: Suspended) -> None:
        await metered(suspended, Meter(), lambda: None, lambda: None)

    def call() -> asyncio.Task[None]:
        suspended = eager.begin(work)
        assert isinstance(suspended, Suspended)
        return suspended.go_on(rest(suspended))

    return in_one_round(loop, call)  # type: ignore[no-any-return]  # what call returns


def test_work_that_never_waits_is_done_at_once(
    loop: asyncio.AbstractEventLoop, eager: Eager
) -> None:
    async def work() -> bool:
        async with asyncio.timeout(5.0):  # needs a current task
            return asyncio.current_task() is not None

    assert in_one_round(loop, lambda: eager.begin(work())) is True


def test_an_error_of_the_first_step_is_raised_at_once(
    loop: asyncio.AbstractEventLoop, eager: Eager
) -> None:
    async def work() -> None:
        raise LookupError("no")

    def call() -> None:
        with pytest.raises(LookupError):
            eager.begin(work())

    in_one_round(loop, call)
    assert in_one_round(loop, lambda: eager.begin(asyncio.sleep(0, "next"))) is not None


def test_all_that_never_waits_shares_a_task(loop: asyncio.AbstractEventLoop, eager: Eager) -> None:
    async def work() -> object:
        return asyncio.current_task()

    first = in_one_round(loop, lambda: eager.begin(work()))
    assert in_one_round(loop, lambda: eager.begin(work())) is first


def test_work_that_waits_goes_on_in_the_task_that_began_it(
    loop: asyncio.AbstractEventLoop, eager: Eager
) -> None:
    steps: list[str] = []
    tasks: set[object] = set()
    gate = loop.create_future()

    async def work() -> None:
        for step in ("first", "second", "last"):
            steps.append(step)
            tasks.add(asyncio.current_task())
            await (gate if step == "second" else asyncio.sleep(0))

    task = begin(loop, eager, work())
    assert steps == ["first"]
    loop.call_soon(gate.set_result, None)
    loop.run_until_complete(task)
    assert steps == ["first", "second", "last"]
    assert tasks == {task}


def test_two_that_wait_have_a_task_each(loop: asyncio.AbstractEventLoop, eager: Eager) -> None:
    gates = [loop.create_future(), loop.create_future()]

    async def work(gate: asyncio.Future[None]) -> None:
        await gate

    first, second = (begin(loop, eager, work(gate)) for gate in gates)
    assert first is not second
    gates[1].set_result(None)
    loop.run_until_complete(second)
    assert not first.done()
    gates[0].set_result(None)
    loop.run_until_complete(first)


@pytest.mark.parametrize("shield", [False, True])
def test_a_cancellation_reaches_work_that_waits(
    loop: asyncio.AbstractEventLoop, eager: Eager, shield: bool
) -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            await loop.create_future()
        except asyncio.CancelledError:
            seen.append("cancelled")
            if not shield:
                raise
        await asyncio.sleep(0)
        seen.append("went on")

    in_one_round(loop, lambda: eager.begin(asyncio.sleep(0)))  # leaves no stand-in behind
    task = begin(loop, eager, work())
    loop.call_later(0.001, task.cancel)
    if shield:
        loop.run_until_complete(task)
    else:
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)
    assert seen == (["cancelled", "went on"] if shield else ["cancelled"])


def test_work_that_is_cancelled_at_once_is_closed(
    loop: asyncio.AbstractEventLoop, eager: Eager
) -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            await loop.create_future()
        finally:
            seen.append("closed")

    task = begin(loop, eager, work())
    task.cancel()  # before the loop has run it once
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.run_until_complete(asyncio.sleep(0))
    assert seen == ["closed"]


def test_a_time_limit_ends_work_that_waits(loop: asyncio.AbstractEventLoop, eager: Eager) -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            async with asyncio.timeout(0.001):
                await loop.create_future()
        except TimeoutError:
            seen.append("late")

    loop.run_until_complete(begin(loop, eager, work()))
    assert seen == ["late"]


def test_inside_another_task_it_begins_in_the_loop(
    loop: asyncio.AbstractEventLoop, eager: Eager
) -> None:
    steps: list[str] = []

    async def work() -> None:
        steps.append("work")

    async def rest(suspended: Suspended) -> None:
        await metered(suspended, Meter(), lambda: None, lambda: None)

    async def outer() -> None:
        suspended = eager.begin(work())
        assert isinstance(suspended, Suspended)
        assert steps == []
        await suspended.go_on(rest(suspended))

    loop.run_until_complete(outer())
    assert steps == ["work"]
