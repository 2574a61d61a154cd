from __future__ import annotations

import math

import msgspec
import pytest

from gristmill.errors import CircuitOpenError, ErrorData, UsageError
from gristmill.facets import (
    CircuitBreaker,
    CircuitBreakerSpec,
    CircuitSnapshot,
    CircuitState,
    Permit,
)
from gristmill.facets.breaker import KEPT_TRANSITIONS
from gristmill.facets.breaker_window import Outcome, OutcomeWindow


class GatewayError(ConnectionError):
    pass


def fail(breaker: CircuitBreaker, at: float, error: BaseException | ErrorData) -> None:
    breaker.failure(breaker.acquire(at), error, at)


def open_breaker(**limits: float) -> CircuitBreaker:
    spec = msgspec.convert({"consecutive_failures": 1, **limits}, CircuitBreakerSpec)
    breaker = CircuitBreaker("gateway", spec)
    fail(breaker, 0.0, GatewayError("down"))
    return breaker


def test_defaults_are_the_documented_ones() -> None:
    spec = CircuitBreakerSpec()
    assert (spec.failure_rate, spec.minimum_calls, spec.open_seconds) == (0.5, 10, 30.0)
    assert (spec.window_calls, spec.window_seconds, spec.slow_call_seconds) == (100, 60.0, 10.0)
    assert (spec.half_open_probes, spec.half_open_successes) == (5, 3)


def test_spec_crosses_the_wire_and_is_checked_there() -> None:
    spec = CircuitBreakerSpec(window_seconds=math.inf, ignore_errors=("KeyError",))
    wire = msgspec.msgpack.encode(spec)
    assert msgspec.msgpack.decode(wire, type=CircuitBreakerSpec) == spec
    with pytest.raises(msgspec.ValidationError, match="minimum_calls is 0"):
        msgspec.convert({"minimum_calls": 0}, CircuitBreakerSpec)
    with pytest.raises(msgspec.ValidationError, match="minimal_calls"):
        msgspec.convert({"minimal_calls": 5}, CircuitBreakerSpec)


def test_spec_error_names_field_value_and_range() -> None:
    with pytest.raises(UsageError, match=r"failure_rate is 50, but must be above 0 and at most 1"):
        CircuitBreakerSpec(failure_rate=50)


def test_own_error_types_go_by_qualified_name_and_base() -> None:
    name = f"{GatewayError.__module__}.GatewayError"
    spec = CircuitBreakerSpec(ignore_errors=(name,))
    assert spec.ignores(GatewayError())
    assert spec.ignores(ErrorData.of(GatewayError()))
    assert not spec.ignores(ConnectionError())
    assert CircuitBreakerSpec(ignore_errors=("OSError",)).ignores(GatewayError())


def test_call_beyond_its_limit_is_a_failure_unless_slow_calls_have_a_rate() -> None:
    breaker = CircuitBreaker("b", CircuitBreakerSpec(consecutive_failures=1, slow_call_seconds=2.0))
    breaker.success(breaker.acquire(0.0), 2.0)
    breaker.success(breaker.acquire(2.0), 4.5)
    assert breaker.metrics(4.5).counts.succeeded == 1
    assert breaker.state is CircuitState.OPEN
    with pytest.raises(CircuitOpenError, match=r"took 2\.5 s"):
        breaker.acquire(5.0)


def test_slow_probes_do_not_close() -> None:
    spec = CircuitBreakerSpec(
        consecutive_failures=1, slow_rate=1.0, half_open_probes=1, half_open_successes=1
    )
    breaker = CircuitBreaker("b", spec)
    fail(breaker, 0.0, GatewayError())
    breaker.success(breaker.acquire(30.0), 41.0)
    assert breaker.state is CircuitState.OPEN


def test_slow_traffic_closes_in_the_end() -> None:
    breaker = open_breaker(half_open_max_seconds=5.0)
    for minute in range(1, 4):
        breaker.success(breaker.acquire(minute * 60.0), minute * 60.0 + 1.0)
    assert breaker.state is CircuitState.CLOSED


def test_lost_probe_is_dated_when_it_was_due() -> None:
    breaker = open_breaker(open_seconds=30.0, half_open_max_seconds=20.0)
    breaker.acquire(30.0)
    breaker.take_transitions()
    breaker.acquire(1000.0)
    assert [(t.target, t.at) for t in breaker.take_transitions()] == [
        (CircuitState.OPEN, 50.0),
        (CircuitState.HALF_OPEN, 1000.0),
    ]


def test_released_probe_gives_its_place_back() -> None:
    breaker = open_breaker(half_open_probes=3)
    permits = [breaker.acquire(30.0) for _ in range(3)]
    with pytest.raises(CircuitOpenError):
        breaker.acquire(31.0)
    breaker.release(permits[1], 31.0)
    breaker.acquire(31.0)
    assert breaker.due == 60.0
    breaker.release(permits[0], 32.0)
    assert breaker.due == 60.0
    breaker.release(permits[2], 32.0)
    assert breaker.due == 61.0


def test_second_outcome_of_a_call_does_not_count() -> None:
    breaker = CircuitBreaker("b", CircuitBreakerSpec(consecutive_failures=2))
    permit = breaker.acquire(0.0)
    breaker.failure(permit, TimeoutError(), 1.0)
    breaker.failure(permit, TimeoutError(), 2.0)
    assert breaker.state is CircuitState.CLOSED
    assert breaker.metrics(2.0).counts.late == 1


def test_transition_says_why() -> None:
    breaker = CircuitBreaker("b", CircuitBreakerSpec(minimum_calls=4))
    for _ in range(2):
        breaker.success(breaker.acquire(0.0), 0.0)
    for _ in range(2):
        fail(breaker, 1.0, ErrorData("gateway.Down", "no route"))
    (transition,) = breaker.take_transitions()
    assert transition.reason == "2 of 4 calls failed"
    with pytest.raises(CircuitOpenError, match=r"gateway\.Down: no route"):
        breaker.acquire(2.0)


def test_half_open_by_hand() -> None:
    breaker = open_breaker()
    breaker.half_open(1.0)
    breaker.acquire(1.0)
    assert breaker.state is CircuitState.HALF_OPEN


def test_untaken_transitions_are_bounded_and_counted() -> None:
    breaker = CircuitBreaker("b")
    for _ in range(KEPT_TRANSITIONS):
        breaker.disable(0.0)
        breaker.reset(0.0)
    assert len(breaker.take_transitions()) == KEPT_TRANSITIONS
    assert breaker.metrics(0.0).counts.transitions == 2 * KEPT_TRANSITIONS


def test_snapshot_crosses_the_wire_and_opens_the_next_incarnation() -> None:
    breaker = open_breaker(backoff_factor=2.0, open_seconds_max=100.0)
    wire = msgspec.msgpack.encode(breaker.snapshot(10.0))
    snapshot = msgspec.msgpack.decode(wire, type=CircuitSnapshot)
    after = CircuitBreaker.restore(snapshot, breaker.spec, 12.0)
    with pytest.raises(CircuitOpenError, match="GatewayError: down") as caught:
        after.acquire(12.0)
    assert caught.value.retry_after == pytest.approx(18.0)
    for _ in range(3):
        fail(after, 30.0, GatewayError())
    assert after.due == 90.0


def test_snapshot_keeps_the_window() -> None:
    breaker = CircuitBreaker("b")
    for at in range(9):
        fail(breaker, float(at), GatewayError())
    after = CircuitBreaker.restore(breaker.snapshot(9.0), breaker.spec, 10.0)
    fail(after, 10.0, GatewayError())
    assert after.state is CircuitState.OPEN


def test_snapshot_survives_a_clock_that_started_over() -> None:
    breaker = CircuitBreaker("b", CircuitBreakerSpec(consecutive_failures=1))
    fail(breaker, 1e6, GatewayError())
    after = CircuitBreaker.restore(breaker.snapshot(1e6 + 10.0), breaker.spec, 5.0)
    assert after.due == pytest.approx(25.0)
    assert after.metrics(5.0).window_calls == 1
    assert after.metrics(60.0).window_calls == 0


def test_restored_half_open_begins_anew_and_ignores_old_permits() -> None:
    breaker = open_breaker(half_open_probes=3)
    old = breaker.acquire(30.0)
    breaker.success(breaker.acquire(30.0), 31.0)
    after = CircuitBreaker.restore(breaker.snapshot(31.0), breaker.spec, 32.0)
    probes = [after.acquire(32.0) for _ in range(3)]
    after.success(old, 33.0)
    assert after.metrics(33.0).in_flight == 3
    for probe in probes:
        after.success(probe, 33.0)
    assert after.state is CircuitState.CLOSED


def test_restored_with_another_spec_uses_its_waits() -> None:
    breaker = CircuitBreaker("b", CircuitBreakerSpec(open_seconds=10.0))
    longer = CircuitBreakerSpec(open_seconds=40.0, consecutive_failures=1)
    after = CircuitBreaker.restore(breaker.snapshot(0.0), longer, 0.0)
    fail(after, 0.0, GatewayError())
    assert after.due == 40.0


def test_permit_of_nobody_is_late() -> None:
    breaker = CircuitBreaker("b", CircuitBreakerSpec(consecutive_failures=1))
    breaker.failure(Permit(7, 0.0), GatewayError(), 1.0)
    assert breaker.state is CircuitState.CLOSED


def test_window_counts_what_is_in_it() -> None:
    window = OutcomeWindow(3, 10.0)
    for at, failed in ((0.0, True), (1.0, False), (2.0, True), (3.0, False)):
        window.record(Outcome(at, failed=failed, slow=failed))
    assert (window.calls, window.failures, window.slow) == (3, 1, 1)
    window.trim(12.5)
    assert (window.calls, window.failure_rate, window.slow_rate) == (1, 0.0, 0.0)
    window.trim(100.0)
    assert (window.calls, window.failure_rate, window.slow_rate) == (0, 0.0, 0.0)
