from __future__ import annotations

import math

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gristmill.errors import CircuitOpenError
from gristmill.facets import CircuitBreaker, CircuitBreakerSpec, CircuitState, Permit

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN

SPECS = st.sampled_from(
    [
        CircuitBreakerSpec(window_calls=6, window_seconds=8.0, minimum_calls=3, open_seconds=5.0),
        CircuitBreakerSpec(consecutive_failures=3, open_seconds=5.0, half_open_successes=None),
        CircuitBreakerSpec(
            window_calls=4,
            minimum_calls=4,
            window_seconds=math.inf,
            failure_rate=0.75,
            slow_call_seconds=2.0,
            slow_rate=0.5,
            open_seconds=3.0,
            backoff_factor=2.0,
            open_seconds_max=10.0,
            half_open_probes=3,
            half_open_successes=None,
            half_open_max_seconds=6.0,
        ),
        CircuitBreakerSpec(
            consecutive_failures=2,
            slow_call_seconds=1.0,
            open_seconds=2.0,
            half_open_probes=1,
            half_open_successes=1,
            half_open_max_seconds=4.0,
        ),
    ]
)


class NaiveBreaker:
    """Keeps everything that happened in the present state, and judges it anew each time."""

    def __init__(self, spec: CircuitBreakerSpec) -> None:
        self.spec = spec
        self.path = [CLOSED]
        self.outcomes: list[tuple[float, bool, bool]] = []
        self.permits: list[Permit] = []
        self.opened_at = 0.0
        self.openings = 0

    @property
    def state(self) -> CircuitState:
        return self.path[-1]

    @property
    def wait(self) -> float:
        grown = self.spec.open_seconds * self.spec.backoff_factor ** (self.openings - 1)
        return min(grown, self.spec.open_seconds_max or math.inf)

    def enter(self, state: CircuitState, at: float) -> None:
        self.path.append(state)
        self.permits = []
        self.outcomes = []
        if state is OPEN:
            self.opened_at = at
            self.openings += 1
        elif state is CLOSED:
            self.openings = 0

    def overdue(self, now: float) -> None:
        if self.state is HALF_OPEN and self.permits:
            deadline = min(p.at for p in self.permits) + self.spec.half_open_max_seconds
            if deadline <= now:
                self.enter(OPEN, deadline)

    def tick(self, now: float) -> None:
        self.overdue(now)
        if self.state is OPEN and self.opened_at + self.wait <= now:
            self.enter(HALF_OPEN, now)

    def admits(self, now: float) -> bool:
        self.tick(now)
        if self.state is HALF_OPEN:
            return len(self.permits) + len(self.outcomes) < self.spec.half_open_probes
        return self.state is CLOSED

    def finish(self, permit: Permit, now: float, failed: bool) -> None:
        self.overdue(now)
        if permit not in self.permits:
            return
        self.permits.remove(permit)
        slow = now - permit.at > self.spec.slow_call_seconds
        self.outcomes.append((now, failed or (slow and self.spec.slow_rate is None), slow))
        if self.state is CLOSED:
            if self.exceeds_limits(now):
                self.enter(OPEN, now)
        else:
            self.judge_probes(now)

    def exceeds_limits(self, now: float) -> bool:
        spec = self.spec
        most = spec.consecutive_failures
        last = self.outcomes[-most:] if most else []
        if last and len(last) == most and all(failed for _, failed, _ in last):
            return True
        window = [
            o for o in self.outcomes[-spec.window_calls :] if now - o[0] <= spec.window_seconds
        ]
        return len(window) >= spec.minimum_calls and self.rates_exceeded(window, most is None)

    def rates_exceeded(self, window: list[tuple[float, bool, bool]], failures: bool) -> bool:
        failed = sum(o[1] for o in window) / len(window)
        slow = sum(o[2] for o in window) / len(window)
        too_slow = self.spec.slow_rate is not None and slow >= self.spec.slow_rate
        return too_slow or (failures and failed >= self.spec.failure_rate)

    def judge_probes(self, now: float) -> None:
        wanted, probes = self.spec.half_open_successes, self.spec.half_open_probes
        if wanted is None:
            if len(self.outcomes) == probes:
                worse = self.rates_exceeded(self.outcomes, True)
                self.enter(OPEN if worse else CLOSED, now)
            return
        good = sum(not failed and not slow for _, failed, slow in self.outcomes)
        outstanding = probes - len(self.outcomes)
        if good >= wanted:
            self.enter(CLOSED, now)
        elif good + outstanding < wanted:
            self.enter(OPEN, now)


class BreakerMachine(RuleBasedStateMachine):
    """The breaker against the naive one, with every permit ever given still at hand."""

    @initialize(spec=SPECS)
    def begin(self, spec: CircuitBreakerSpec) -> None:
        self.now = 0.0
        self.spec = spec
        self.breaker = CircuitBreaker("b", spec)
        self.model = NaiveBreaker(spec)
        self.permits: list[Permit] = []
        self.path = [CLOSED]
        self.refused = 0

    @rule(seconds=st.sampled_from([0.0, 0.25, 1.0, 1.5, 3.0, 7.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(calls=st.integers(1, 4))
    def acquire(self, calls: int) -> None:
        for _ in range(calls):
            admitted = self.model.admits(self.now)
            try:
                permit = self.breaker.acquire(self.now)
            except CircuitOpenError:
                assert not admitted
                self.refused += 1
            else:
                assert admitted
                self.permits.append(permit)
                self.model.permits.append(permit)

    @precondition(lambda self: self.permits)
    @rule(which=st.integers(0, 3), failed=st.booleans(), times=st.sampled_from([1, 1, 1, 2]))
    def finish(self, which: int, failed: bool, times: int) -> None:
        permit = self.permits.pop(which % len(self.permits))
        for _ in range(times):
            self.model.finish(permit, self.now, failed)
            if failed:
                self.breaker.failure(permit, ValueError(), self.now)
            else:
                self.breaker.success(permit, self.now)

    @precondition(lambda self: self.permits)
    @rule(which=st.integers(0, 3))
    def release(self, which: int) -> None:
        permit = self.permits.pop(which % len(self.permits))
        self.model.overdue(self.now)
        if permit in self.model.permits:
            self.model.permits.remove(permit)
        self.breaker.release(permit, self.now)

    @rule()
    def tick(self) -> None:
        due = self.breaker.due
        before = len(self.path)
        self.model.tick(self.now)
        self.breaker.tick(self.now)
        self.collect()
        assert (len(self.path) > before) == (due is not None and due <= self.now)

    @rule()
    def reset(self) -> None:
        if self.model.state is not CLOSED:
            self.model.enter(CLOSED, self.now)
        self.model.outcomes, self.model.permits = [], []
        self.breaker.reset(self.now)

    @precondition(lambda self: self.model.state is not HALF_OPEN)
    @rule()
    def restart(self) -> None:
        self.collect()
        snapshot = self.breaker.snapshot(self.now)
        self.breaker = CircuitBreaker.restore(snapshot, self.spec, self.now)
        self.model.permits = []
        assert self.breaker.snapshot(self.now) == snapshot

    def collect(self) -> None:
        for transition in self.breaker.take_transitions():
            assert transition.source is self.path[-1]
            assert transition.at <= self.now
            self.path.append(transition.target)

    @invariant()
    def agrees_with_the_model(self) -> None:
        self.collect()
        assert self.breaker.state is self.model.state
        assert self.path == self.model.path
        metrics = self.breaker.metrics(self.now)
        assert metrics.in_flight == len(self.model.permits)
        assert metrics.counts.not_permitted == self.refused
        assert metrics.counts.transitions == len(self.path) - 1


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
