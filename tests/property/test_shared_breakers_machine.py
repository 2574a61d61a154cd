"""Breakers of three workers and the supervisor process: whatever overtakes what, all agree."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from gristmill.errors import CircuitOpenError
from gristmill.facets import CircuitBreaker, CircuitBreakerSpec, CircuitState
from gristmill.facets.breaker_events import BreakerMoved
from gristmill.facets.specs import Breaker
from gristmill.node.supervisor.breakers import Breakers
from gristmill.transport import control as c
from gristmill.worker.actors.breakers import SharedBreakers

SPEC = CircuitBreakerSpec(
    consecutive_failures=2, open_seconds=5.0, half_open_probes=1, half_open_successes=1
)
WORKERS = 3


class FailError(Exception):
    pass


class SharedMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.now = 0.0
        self.up: list[deque[c.BreakerReport]] = [deque() for _ in range(WORKERS)]
        self.down: list[deque[Any]] = [deque() for _ in range(WORKERS)]
        self.incarnations = [1] * WORKERS
        self.events: list[BreakerMoved] = []
        self.supervisor = Breakers(self.broadcast)
        self.workers = [self.worker(number) for number in range(WORKERS)]

    def broadcast(self, message: c.ControlMessage) -> None:
        for queue in self.down:
            queue.append(message)

    def worker(self, number: int) -> SharedBreakers:
        shell = SimpleNamespace(
            address=number,
            incarnation=self.incarnations[number],
            name=f"w{number}",
            now=lambda: self.now,
            control=self.up[number].append,
            request_turn=lambda: None,
        )
        channels = SimpleNamespace(publish=lambda _, event, key: self.events.append(event))
        core: Any = SimpleNamespace(
            shell=shell, channels=channels, sending=SimpleNamespace(origin=None)
        )
        return SharedBreakers(core)

    def guard(self, number: int) -> Any:
        return self.workers[number].guard("bank", Breaker("it", SPEC))

    def call(self, number: int, *, works: bool) -> bool:
        def fn() -> None:
            if not works:
                raise FailError

        try:
            self.guard(number).call(fn)
        except FailError:
            pass
        except CircuitOpenError:
            return False
        return True

    @rule(number=st.integers(0, WORKERS - 1), works=st.booleans())
    def make_a_call(self, number: int, works: bool) -> None:
        self.call(number, works=works)

    @rule(seconds=st.sampled_from([0.1, 3.0, 6.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(number=st.integers(0, WORKERS - 1), upwards=st.booleans())
    def deliver(self, number: int, upwards: bool) -> None:
        if upwards and self.up[number]:
            self.supervisor.moved(number, self.incarnations[number], self.up[number].popleft())
        elif not upwards and self.down[number]:
            self.workers[number].on_news(self.down[number].popleft())

    @rule(number=st.integers(0, WORKERS - 1))
    def die(self, number: int) -> None:
        self.up[number].clear()
        self.down[number].clear()
        self.incarnations[number] += 1
        self.workers[number] = self.worker(number)
        self.supervisor.introduce(self.down[number].append)

    @precondition(lambda self: any(self.up) or any(self.down))
    @rule()
    def settle(self) -> None:
        while any(self.up) or any(self.down):
            for number in range(WORKERS):
                self.deliver(number, upwards=True)
                self.deliver(number, upwards=False)
        states = {self.guard(number).operate(_state) for number in range(WORKERS)}
        told = {each.state for each in self.supervisor.all()}
        waits = {CircuitState.OPEN, CircuitState.HALF_OPEN}
        assert states | told <= waits or states | told == {CircuitState.CLOSED}

    def teardown(self) -> None:
        if not hasattr(self, "workers"):
            return
        self.now += 6.0
        for _ in range(3):  # whoever waits probes, and closes it for all
            for number in range(WORKERS):
                self.call(number, works=True)
            self.settle()
        assert all(self.call(number, works=True) for number in range(WORKERS))
        for before, after in zip(self.events, self.events[1:], strict=False):
            assert before.source != before.target
            assert after.source != after.target


def _state(breaker: CircuitBreaker, now: float) -> CircuitState:
    return breaker.state


SharedMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestSharedMachine = SharedMachine.TestCase
