# ruff: noqa: N802 - named by the conformance row's id
from __future__ import annotations

import math
import threading
from itertools import product
from typing import Any

import pytest

from gristmill.errors import (
    CircuitOpenError,
    IdempotencyConflictError,
    InvalidStateTransition,
    UsageError,
)
from gristmill.facets import (
    CIRCUIT_TRANSITIONS,
    CircuitBreaker,
    CircuitBreakerSpec,
    CircuitState,
    Guard,
    IdempotencyTable,
    InProgress,
    Replay,
    Run,
    Transition,
    VersionConflict,
    VersionedStore,
)

CLOSED, OPEN = CircuitState.CLOSED, CircuitState.OPEN
ERROR = ConnectionError("refused")


def breaker_of(**limits: Any) -> CircuitBreaker:
    return CircuitBreaker("gateway", CircuitBreakerSpec(**limits))


def fail(breaker: CircuitBreaker, at: float, error: BaseException = ERROR) -> None:
    breaker.failure(breaker.acquire(at), error, at)


def raise_error() -> None:
    raise ERROR


def test_CB26_each_transition_is_told_once_and_listener_errors_stop_there(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[Transition] = []
    barrier = threading.Barrier(8)

    def listener(transition: Transition) -> None:
        told.append(transition)
        raise RuntimeError("the listener's own problem")

    guard = Guard(breaker_of(consecutive_failures=5), lambda: 0.0, listener=listener)
    seen: list[type[BaseException]] = []

    def hammer() -> None:
        barrier.wait()
        for _ in range(50):
            try:
                guard.call(raise_error)
            except (ConnectionError, CircuitOpenError) as error:
                seen.append(type(error))

    threads = [threading.Thread(target=hammer) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 400
    assert [(t.source, t.target) for t in told] == [(CLOSED, OPEN)]
    assert "the listener of circuit 'gateway' raised" in caplog.text
    metrics = guard.operate(CircuitBreaker.metrics)
    counts = metrics.counts
    assert counts.failed + counts.late + counts.not_permitted == 400
    assert metrics.in_flight == 0


@pytest.mark.parametrize(
    "limits",
    [
        {"failure_rate": 0.0},
        {"failure_rate": 1.01},
        {"failure_rate": math.nan},
        {"slow_rate": 0.0},
        {"slow_rate": 2.0},
        {"window_calls": 0},
        {"window_seconds": 0.0},
        {"minimum_calls": 0},
        {"minimum_calls": 101},
        {"minimum_calls": 2.5},
        {"consecutive_failures": 0},
        {"slow_call_seconds": 0.0},
        {"open_seconds": 0.0},
        {"open_seconds": math.inf},
        {"backoff_factor": 0.5},
        {"backoff_factor": 2.0},
        {"open_seconds_max": 60.0},
        {"backoff_factor": 2.0, "open_seconds_max": 5.0},
        {"half_open_probes": 0},
        {"half_open_probes": 2},
        {"half_open_successes": 0},
        {"half_open_max_seconds": 0.0},
        {"record_errors": "OSError"},
        {"record_errors": ("OSError",), "ignore_errors": ("OSError",)},
    ],
)
def test_CB27_invalid_limits_are_rejected(limits: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="circuit breaker: "):
        CircuitBreakerSpec(**limits)


def test_CB27_closed_to_half_open_is_rejected() -> None:
    with pytest.raises(InvalidStateTransition):
        breaker_of().half_open(0.0)


def test_ID01_repeat_after_completion_replays_the_outcome() -> None:
    table = IdempotencyTable(ttl=60.0)
    assert table.claim("k", "f", 0.0) == Run()
    table.complete("k", b"charged", 1.0)
    assert table.claim("k", "f", 2.0) == Replay(b"charged")
    assert table.claim("k", "f", 3.0) == Replay(b"charged")


def test_ID02_repeat_in_flight_never_runs_again() -> None:
    table = IdempotencyTable(ttl=60.0)
    table.claim("k", "f", 0.0)
    assert table.claim("k", "f", 1.0) == InProgress()
    assert table.claim("k", "f", 1e9) == InProgress()


def test_ID03_same_key_with_another_payload_is_an_error() -> None:
    table = IdempotencyTable(ttl=60.0)
    table.claim("k", "f", 0.0)
    with pytest.raises(IdempotencyConflictError, match="'k'"):
        table.claim("k", "g", 1.0)
    table.complete("k", b"charged", 2.0)
    with pytest.raises(IdempotencyConflictError, match="'k'"):
        table.claim("k", "g", 3.0)
    assert table.claim("k", "f", 4.0) == Replay(b"charged")


def test_ID06_runs_again_after_its_time_to_live_only() -> None:
    table = IdempotencyTable(ttl=60.0)
    table.claim("k", "f", 0.0)
    table.complete("k", b"charged", 1.0)
    assert table.claim("k", "f", 60.999) == Replay(b"charged")
    assert table.claim("k", "g", 61.0) == Run()


def test_OL01_write_with_the_stored_version_succeeds_else_no_effect() -> None:
    store: VersionedStore[str, int] = VersionedStore()
    assert store.put("a", 10, 0) == 1
    assert store.put("a", 11, 1) == 2
    store.put("b", 20, 0)
    before = dict(store.items())
    with pytest.raises(VersionConflict) as caught:
        store.put_all({"b": (21, 1), "a": (12, 1), "c": (30, 0)})
    assert caught.value.conflicts == {"a": (1, 2)}
    assert dict(store.items()) == before


def test_OL02_of_n_writers_one_wins_and_the_others_after_reading_again() -> None:
    store: VersionedStore[str, int] = VersionedStore()
    version = store.put("stock", 100, 0)
    losers = list(range(8))
    rounds = 0
    while losers:
        rounds += 1
        reads = [(writer, store.get("stock")) for writer in losers]
        losers = []
        for writer, read in reads:
            try:
                store.put("stock", read.value - 1, read.version)
            except VersionConflict:
                losers.append(writer)
    assert rounds == 8
    assert store.get("stock").value == 92
    assert store.get("stock").version == version + 8


@pytest.mark.parametrize(
    ("source", "target"),
    [
        pair
        for pair in product(CIRCUIT_TRANSITIONS.states, repeat=2)
        if not CIRCUIT_TRANSITIONS.allows(*pair)
    ],
)
def test_SM20_undeclared_transition_names_both_states(
    source: CircuitState, target: CircuitState
) -> None:
    with pytest.raises(InvalidStateTransition) as caught:
        CIRCUIT_TRANSITIONS.check(source, target)
    assert (caught.value.source, caught.value.target) == (source.value, target.value)


@pytest.mark.parametrize("operation", ["reset", "disable", "force_open"])
def test_SM20_refused_transition_changes_nothing(operation: str) -> None:
    breaker = breaker_of()
    fail(breaker, 0.0)
    getattr(breaker, operation)(1.0)
    in_flight = breaker.metrics(1.0).in_flight
    breaker.take_transitions()
    before = breaker.snapshot(2.0)
    with pytest.raises(InvalidStateTransition):
        breaker.half_open(2.0)
    assert breaker.snapshot(2.0) == before
    assert breaker.take_transitions() == []
    assert breaker.metrics(2.0).in_flight == in_flight


def test_OL04_a_write_of_many_checks_and_counts_every_version() -> None:
    store = VersionedStore[str, int]()
    assert store.put_all({"a": (1, 0), "b": (2, 0)}) == {"a": 1, "b": 1}
    store.put("b", 3, 1)
    with pytest.raises(VersionConflict):
        store.put_all({"a": (9, 1), "b": (9, 1)})  # one of them is stale, so none is written
    assert {key: (held.value, held.version) for key, held in store.items()} == {
        "a": (1, 1),
        "b": (3, 2),
    }
    assert store.put_all({"a": (9, 1), "b": (9, 2)}) == {"a": 2, "b": 3}


def test_OL04_there_is_no_way_around_the_versions() -> None:
    store: Any = VersionedStore[str, int]()
    store.put("a", 1, 0)
    with pytest.raises(TypeError):
        store["a"] = 2
    with pytest.raises(AttributeError):
        store.get("a").value = 2
    with pytest.raises(AttributeError):
        store.items().clear()
    assert store.version("a") == 1
