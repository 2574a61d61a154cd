from __future__ import annotations

import asyncio

import pytest

from gristmill.errors import CircuitOpenError
from gristmill.facets import CircuitBreaker, CircuitBreakerSpec, CircuitMetrics, CircuitState, Guard


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guard(clock: Clock) -> Guard:
    return Guard(CircuitBreaker("b", CircuitBreakerSpec(consecutive_failures=1)), clock)


def metrics(guard: Guard) -> CircuitMetrics:
    return guard.operate(CircuitBreaker.metrics)


async def answer(value: int, *, error: BaseException | None = None) -> int:
    if error is not None:
        raise error
    return value


def test_async_call_passes_results_and_errors_through(guard: Guard) -> None:
    assert asyncio.run(guard.call_async(answer, 3)) == 3
    error = OSError("gone")
    with pytest.raises(OSError, match="gone") as caught:
        asyncio.run(guard.call_async(answer, 3, error=error))
    assert caught.value is error
    with pytest.raises(CircuitOpenError):
        asyncio.run(guard.call_async(answer, 3))


def test_block_is_guarded(guard: Guard) -> None:
    with guard():
        pass
    assert metrics(guard).counts.succeeded == 1
    with pytest.raises(OSError, match="gone"), guard():
        raise OSError("gone")
    entered = False
    with pytest.raises(CircuitOpenError), guard():
        entered = True
    assert not entered


def test_duration_is_measured_by_the_clock(guard: Guard, clock: Clock) -> None:
    with guard():
        clock.now = 11.0
    assert metrics(guard).state is CircuitState.OPEN


def test_cancelled_call_counts_for_nothing(guard: Guard) -> None:
    async def cancel_one() -> None:
        task = asyncio.ensure_future(guard.call_async(asyncio.Event().wait))
        await asyncio.sleep(0)
        assert metrics(guard).in_flight == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel_one())
    seen = metrics(guard)
    assert (seen.state, seen.in_flight, seen.counts.ignored) == (CircuitState.CLOSED, 0, 1)


def test_interrupt_counts_for_nothing(guard: Guard) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        guard.call(interrupted)
    assert metrics(guard).state is CircuitState.CLOSED


def test_result_predicate_applies_to_async_calls(clock: Clock) -> None:
    breaker = CircuitBreaker("b", CircuitBreakerSpec(consecutive_failures=1))
    guard = Guard(breaker, clock, is_failure=lambda status: status >= 500)
    assert asyncio.run(guard.call_async(answer, 503)) == 503
    assert breaker.state is CircuitState.OPEN


def test_failing_predicate_gives_the_permit_back(clock: Clock) -> None:
    breaker = CircuitBreaker("b")
    guard = Guard(breaker, clock, is_failure=lambda status: status.missing)
    with pytest.raises(AttributeError):
        guard.call(lambda: 200)
    assert breaker.metrics(0.0).in_flight == 0


def test_listener_hears_of_every_transition_in_order(clock: Clock) -> None:
    told: list[CircuitState] = []
    breaker = CircuitBreaker("b", CircuitBreakerSpec(consecutive_failures=1))
    guard = Guard(breaker, clock, listener=lambda transition: told.append(transition.target))
    with pytest.raises(OSError, match="gone"), guard():
        raise OSError("gone")
    clock.now = 30.0
    for _ in range(3):
        guard.call(int)
    guard.operate(CircuitBreaker.force_open)
    assert told == ["open", "half_open", "closed", "forced_open"]
