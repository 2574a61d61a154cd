# ruff: noqa: N802 - named by the conformance row's id
from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from gristmill.errors import (
    CircuitOpenError,
    ErrorData,
)
from gristmill.facets import (
    CircuitBreaker,
    CircuitBreakerSpec,
    CircuitState,
    Guard,
)

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN
ERROR = ConnectionError("refused")
SINGLE_PROBE = {"half_open_probes": 1, "half_open_successes": 1}


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def breaker_of(**limits: Any) -> CircuitBreaker:
    return CircuitBreaker("gateway", CircuitBreakerSpec(**limits))


def succeed(breaker: CircuitBreaker, at: float, took: float = 0.0) -> None:
    breaker.success(breaker.acquire(at), at + took)


def fail(breaker: CircuitBreaker, at: float, error: BaseException = ERROR) -> None:
    breaker.failure(breaker.acquire(at), error, at)


def raise_error() -> None:
    raise ERROR


def tripped(**limits: Any) -> CircuitBreaker:
    """Open since t = 0."""
    breaker = breaker_of(consecutive_failures=1, **limits)
    fail(breaker, 0.0)
    assert breaker.state is OPEN
    return breaker


def test_CB01_results_and_exceptions_pass_through() -> None:
    guard = Guard(breaker_of(), Clock())
    result = object()
    assert guard.call(lambda: result) is result
    with pytest.raises(ConnectionError) as caught:
        guard.call(raise_error)
    assert caught.value is ERROR


def test_CB02_nth_consecutive_failure_opens_and_a_success_zeroes() -> None:
    breaker = breaker_of(consecutive_failures=3)
    fail(breaker, 0.0)
    fail(breaker, 1.0)
    succeed(breaker, 2.0)
    fail(breaker, 3.0)
    fail(breaker, 4.0)
    assert breaker.state is CLOSED
    fail(breaker, 5.0)
    assert breaker.state is OPEN


def test_CB03_rate_equal_to_the_threshold_opens_from_the_minimum_on() -> None:
    breaker = breaker_of(failure_rate=0.3, minimum_calls=10)
    for _ in range(7):
        succeed(breaker, 0.0)
    fail(breaker, 0.0)
    fail(breaker, 0.0)
    assert breaker.state is CLOSED
    fail(breaker, 0.0)
    assert breaker.state is OPEN

    few = breaker_of(failure_rate=0.3, minimum_calls=10)
    for _ in range(9):
        fail(few, 0.0)
    assert few.state is CLOSED


def test_CB05_only_the_last_n_outcomes_matter() -> None:
    breaker = breaker_of(window_calls=10, minimum_calls=10)
    for _ in range(4):
        fail(breaker, 0.0)
    for _ in range(6):
        succeed(breaker, 0.0)
    assert breaker.metrics(0.0).failure_rate == pytest.approx(0.4)
    for _ in range(4):
        succeed(breaker, 0.0)
    assert breaker.metrics(0.0).failure_rate == 0.0
    for _ in range(4):
        fail(breaker, 0.0)
    assert breaker.state is CLOSED
    fail(breaker, 0.0)
    assert breaker.state is OPEN


def test_CB06_outcomes_older_than_the_window_no_longer_count() -> None:
    breaker = breaker_of(window_seconds=60.0, minimum_calls=10)
    for _ in range(9):
        fail(breaker, 0.0)
    assert breaker.metrics(60.0).window_calls == 9
    assert breaker.metrics(60.001).window_calls == 0
    fail(breaker, 60.001)
    assert breaker.state is CLOSED
    for _ in range(9):
        fail(breaker, 61.0)
    assert breaker.state is OPEN


def test_CB07_the_tripping_call_sees_its_own_exception() -> None:
    guard = Guard(breaker_of(consecutive_failures=1), Clock())
    with pytest.raises(ConnectionError) as caught:
        guard.call(raise_error)
    assert caught.value is ERROR
    with pytest.raises(CircuitOpenError):
        guard.call(raise_error)


def test_CB08_open_does_not_call_and_says_when_and_why() -> None:
    clock = Clock()
    guard = Guard(breaker_of(consecutive_failures=1, open_seconds=30.0), clock)
    with pytest.raises(ConnectionError):
        guard.call(raise_error)
    clock.now = 10.0
    calls: list[int] = []
    with pytest.raises(CircuitOpenError, match="gateway") as caught:
        guard.call(calls.append, 1)
    assert calls == []
    assert caught.value.retry_after == pytest.approx(20.0)
    assert caught.value.last_cause == "ConnectionError: refused"


def test_CB09_rejected_calls_count_as_not_permitted_only() -> None:
    breaker = tripped()
    before = breaker.metrics(0.0)
    for _ in range(5):
        with pytest.raises(CircuitOpenError):
            breaker.acquire(1.0)
    after = breaker.metrics(1.0)
    assert after.counts.not_permitted == 5
    assert after.counts.failed == before.counts.failed == 1
    assert after.window_calls == before.window_calls


def test_CB10_first_call_after_the_wait_moves_to_half_open_or_a_timer_does() -> None:
    by_call = tripped(open_seconds=30.0)
    with pytest.raises(CircuitOpenError):
        by_call.acquire(29.999)
    assert by_call.state is OPEN
    by_call.acquire(30.0)
    assert by_call.state is HALF_OPEN

    by_timer = tripped(open_seconds=30.0)
    assert by_timer.due == 30.0
    by_timer.tick(29.999)
    assert by_timer.state is OPEN
    by_timer.tick(30.0)
    assert by_timer.state is HALF_OPEN


def test_CB12_single_probe_closes_with_zeroed_stats_or_opens_for_a_full_wait() -> None:
    good = tripped(open_seconds=30.0, **SINGLE_PROBE)
    succeed(good, 30.0)
    assert good.state is CLOSED
    assert good.metrics(30.0).window_calls == 0

    bad = tripped(open_seconds=30.0, **SINGLE_PROBE)
    probe = bad.acquire(31.0)
    with pytest.raises(CircuitOpenError):
        bad.acquire(31.0)
    bad.failure(probe, ERROR, 35.0)
    assert bad.state is OPEN
    assert bad.due == 65.0


def test_CB12_a_failed_probe_does_not_count_after_closing() -> None:
    breaker = breaker_of(consecutive_failures=2, half_open_probes=3, half_open_successes=None)
    for _ in range(2):
        fail(breaker, 0.0)
    for outcome in (succeed, succeed, fail):
        outcome(breaker, 30.0)
    assert breaker.state is CLOSED
    fail(breaker, 31.0)
    assert breaker.state is CLOSED


@pytest.mark.parametrize(("failures", "then"), [(4, CLOSED), (5, OPEN), (10, OPEN), (0, CLOSED)])
def test_CB13_k_probes_are_all_awaited_and_judged_by_the_same_thresholds(
    failures: int, then: CircuitState
) -> None:
    breaker = tripped(half_open_probes=10, half_open_successes=None, failure_rate=0.5)
    permits = [breaker.acquire(30.0) for _ in range(10)]
    with pytest.raises(CircuitOpenError):
        breaker.acquire(30.0)
    for number, permit in enumerate(permits):
        assert breaker.state is HALF_OPEN
        if number < failures:
            breaker.failure(permit, ERROR, 31.0)
        else:
            breaker.success(permit, 31.0)
    assert breaker.state is then


def test_CB13_defaults_need_three_of_five_probes() -> None:
    good = tripped()
    for outcome in (succeed, fail, succeed, fail):
        outcome(good, 30.0)
    assert good.state is HALF_OPEN
    succeed(good, 30.0)
    assert good.state is CLOSED

    bad = tripped()
    for outcome in (fail, succeed, fail):
        outcome(bad, 30.0)
    assert bad.state is HALF_OPEN
    fail(bad, 30.0)
    assert bad.state is OPEN


def test_CB15_ignored_errors_are_neither_success_nor_failure() -> None:
    breaker = breaker_of(consecutive_failures=2, ignore_errors=("LookupError",))
    fail(breaker, 0.0)
    fail(breaker, 0.0, KeyError("no such order"))
    metrics = breaker.metrics(0.0)
    assert (metrics.window_calls, metrics.in_flight, metrics.counts.ignored) == (1, 0, 1)
    fail(breaker, 0.0)
    assert breaker.state is OPEN


def test_CB16_errors_outside_the_record_list_count_as_success() -> None:
    breaker = breaker_of(consecutive_failures=2, record_errors=("OSError",))
    fail(breaker, 0.0)
    fail(breaker, 0.0, ValueError("bad card"))
    fail(breaker, 0.0)
    assert breaker.state is CLOSED
    assert breaker.metrics(0.0).counts.succeeded == 1
    remote = ErrorData("OSError", "unreachable")
    breaker.failure(breaker.acquire(0.0), remote, 0.0)
    assert breaker.state is OPEN


def test_CB17_result_that_counts_as_failure_is_still_returned() -> None:
    breaker = breaker_of(consecutive_failures=2)
    guard = Guard(breaker, Clock(), is_failure=lambda status: status >= 500)
    assert guard.call(lambda: 503) == 503
    assert breaker.metrics(0.0).counts.failed == 1
    assert guard.call(lambda: 500) == 500
    assert breaker.state is OPEN


def test_CB18_slow_successes_open_at_the_slow_rate() -> None:
    limits = {"slow_rate": 0.5, "slow_call_seconds": 2.0, "minimum_calls": 4}
    breaker = breaker_of(**limits)
    for took in (0.1, 2.0, 2.1):  # the limit itself is not slow
        succeed(breaker, 0.0, took)
    assert breaker.state is CLOSED
    succeed(breaker, 0.0, 3.0)
    assert breaker.state is OPEN
    counts = breaker.metrics(3.0).counts
    assert (counts.succeeded, counts.failed, counts.slow) == (4, 0, 2)


def test_CB21_a_probe_that_never_returns_opens_again() -> None:
    breaker = tripped(open_seconds=30.0, half_open_max_seconds=20.0)
    lost = [breaker.acquire(30.0 + number) for number in range(5)]
    assert breaker.due == 50.0
    with pytest.raises(CircuitOpenError):
        breaker.acquire(49.9)
    assert breaker.state is HALF_OPEN
    with pytest.raises(CircuitOpenError, match="did not return"):
        breaker.acquire(50.0)
    assert breaker.state is OPEN
    breaker.success(lost[0], 51.0)
    assert breaker.state is OPEN
    breaker.acquire(80.0)
    assert breaker.state is HALF_OPEN


@pytest.mark.parametrize("good", [True, False])
def test_CB22_late_completion_changes_nothing_but_metrics(good: bool) -> None:
    breaker = breaker_of(consecutive_failures=1)
    late = [breaker.acquire(0.0) for _ in range(3)]
    fail(breaker, 1.0)
    breaker.take_transitions()
    before = breaker.snapshot(2.0)
    for permit in late:
        if good:
            breaker.success(permit, 40.0)  # after the wait, too
        else:
            breaker.failure(permit, ERROR, 40.0)
    after = breaker.snapshot(2.0)
    assert breaker.take_transitions() == []
    assert after.counts.late == 3
    counts = msgspec.structs.replace(after.counts, late=0)
    assert msgspec.structs.replace(after, counts=counts) == before


def test_CB24_wait_grows_to_its_cap_and_resets_on_close() -> None:
    breaker = tripped(open_seconds=10.0, backoff_factor=2.0, open_seconds_max=35.0, **SINGLE_PROBE)
    now, waits = 0.0, []
    for _ in range(5):
        assert breaker.due is not None
        waits.append(breaker.due - now)
        now = breaker.due
        fail(breaker, now)
    assert waits == [10.0, 20.0, 35.0, 35.0, 35.0]
    succeed(breaker, now + 35.0)
    assert breaker.state is CLOSED
    fail(breaker, now + 36.0)
    assert breaker.due == now + 46.0


def test_CB25_force_open_disable_reset() -> None:
    breaker = breaker_of(consecutive_failures=1)
    breaker.force_open(0.0, "maintenance")
    with pytest.raises(CircuitOpenError, match="maintenance") as caught:
        breaker.acquire(1e9)
    assert caught.value.retry_after == math.inf

    breaker.disable(2.0)
    for _ in range(20):
        fail(breaker, 3.0)
    assert breaker.state is CircuitState.DISABLED

    breaker.reset(4.0)
    assert breaker.state is CLOSED
    assert breaker.metrics(4.0).window_calls == 0
    fail(breaker, 5.0)
    assert breaker.state is OPEN


def test_CB25_reset_of_a_closed_breaker_empties_its_stats() -> None:
    breaker = breaker_of(consecutive_failures=2)
    fail(breaker, 0.0)
    breaker.reset(1.0)
    fail(breaker, 2.0)
    assert breaker.state is CLOSED
    assert breaker.take_transitions() == []
