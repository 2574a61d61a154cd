"""The time limit of calls to the outside: it holds where a call waits, and is idle elsewhere."""

from __future__ import annotations

import asyncio
import math

import pytest

from gristmill.facets import CircuitBreaker, CircuitBreakerSpec, Guard
from gristmill_orders.time_limit import within


async def answer(value: int, *, waits: int = 0) -> int:
    for _ in range(waits):
        await asyncio.sleep(0)
    return value


async def fail(*, waits: int) -> int:
    await answer(0, waits=waits)
    raise OSError("gone")


def test_a_call_that_does_not_wait_needs_no_event_loop() -> None:
    with pytest.raises(StopIteration) as done:
        within(1.0, answer, 3).send(None)
    assert done.value.value == 3


@pytest.mark.parametrize("waits", [0, 1, 3])
def test_results_and_errors_pass_through(waits: int) -> None:
    assert asyncio.run(within(math.inf, answer, 3, waits=waits)) == 3
    with pytest.raises(OSError, match="gone"):
        asyncio.run(within(math.inf, fail, waits=waits))


def test_what_is_awaited_answers_the_call() -> None:
    async def main() -> int:
        promise = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(promise.set_result, 7)

        async def wait() -> int:
            return int(await promise)

        return await within(5.0, wait)

    assert asyncio.run(main()) == 7


def test_a_call_that_waits_too_long_is_cancelled() -> None:
    ended: list[str] = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    with pytest.raises(TimeoutError):
        asyncio.run(within(0.01, wait))
    assert ended == ["cancelled"]


def test_a_call_may_clean_up_behind_its_cancellation() -> None:
    async def wait() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await answer(0, waits=2)
            raise
        return "never"

    with pytest.raises(TimeoutError):
        asyncio.run(within(0.01, wait))


def test_whoever_cancels_the_caller_cancels_the_call() -> None:
    async def main() -> bool:
        event = asyncio.Event()
        task = asyncio.ensure_future(within(60.0, event.wait))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return task.cancelled()

    assert asyncio.run(main())


def test_a_guarded_call_that_is_too_slow_is_a_failure_of_its_circuit() -> None:
    guard = Guard(CircuitBreaker("b", CircuitBreakerSpec(consecutive_failures=1)))
    with pytest.raises(TimeoutError):
        asyncio.run(guard.call_async(lambda: within(0.01, asyncio.Event().wait)))
    assert guard.operate(CircuitBreaker.metrics).counts.failed == 1
