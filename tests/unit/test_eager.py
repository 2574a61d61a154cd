"""The first step of an eager coroutine runs at once, as its own task; the rest as in any task."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from gristmill.worker.eager import Eager


@pytest.fixture
def loop() -> Any:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def begin(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Begin in one round of the loop, as a worker's turn does, and stop behind that round."""
    tasks: list[asyncio.Task[None]] = []
    loop.call_soon(lambda: tasks.append(begin_here(loop, work)))
    loop.call_soon(loop.stop)
    loop.run_forever()
    return tasks[0]


def begin_here(
    loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]
) -> asyncio.Task[None]:
    eager = Eager(work)
    task = loop.create_task(eager.rest())
    eager.begin(task)
    return task


def test_work_that_never_waits_is_done_at_once(loop: asyncio.AbstractEventLoop) -> None:
    done: list[object] = []

    async def work() -> None:
        async with asyncio.timeout(5.0):  # needs a current task
            done.append(asyncio.current_task())

    task = begin(loop, work())
    assert done == [task]
    loop.run_until_complete(task)
    assert done == [task]


def test_work_that_waits_goes_on_in_the_loop(loop: asyncio.AbstractEventLoop) -> None:
    steps: list[str] = []
    gate = loop.create_future()

    async def work() -> None:
        steps.append("first")
        await asyncio.sleep(0)
        steps.append(await gate)
        steps.append("last")

    task = begin(loop, work())
    assert steps == ["first"]
    loop.call_soon(gate.set_result, "second")
    loop.run_until_complete(task)
    assert steps == ["first", "second", "last"]


@pytest.mark.parametrize("shield", [False, True])
def test_a_cancellation_reaches_work_that_waits(
    loop: asyncio.AbstractEventLoop, shield: bool
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

    task = begin(loop, work())
    loop.call_soon(task.cancel)
    if shield:
        loop.run_until_complete(task)
    else:
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)
    assert seen == (["cancelled", "went on"] if shield else ["cancelled"])


def test_a_time_limit_ends_work_that_waits(loop: asyncio.AbstractEventLoop) -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            async with asyncio.timeout(0.001):
                await loop.create_future()
        except TimeoutError:
            seen.append("late")

    loop.run_until_complete(begin(loop, work()))
    assert seen == ["late"]


def test_inside_another_task_it_begins_in_the_loop(loop: asyncio.AbstractEventLoop) -> None:
    steps: list[str] = []

    async def work() -> None:
        steps.append("work")

    async def outer() -> None:
        task = begin_here(loop, work())
        assert steps == []
        await task

    loop.run_until_complete(outer())
    assert steps == ["work"]
