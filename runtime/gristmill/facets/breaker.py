"""The circuit breaker: stop calling what keeps failing, and find out when it works again.

:class:`CircuitBreaker` is a pure state machine. Whoever owns it passes the time in and serialises
the calls; it can be embedded in an actor, and its state outlives the actor as a snapshot.
:class:`gristmill.facets.guard.Guard` puts a clock and a lock around it.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Self

import msgspec

from gristmill.errors import CircuitOpenError, ErrorData
from gristmill.facets.breaker_spec import CircuitBreakerSpec, type_name
from gristmill.facets.breaker_state import (
    CIRCUIT_TRANSITIONS,
    CircuitCounts,
    CircuitMetrics,
    CircuitSnapshot,
    CircuitState,
    Permit,
    SharedState,
    Transition,
)
from gristmill.facets.breaker_window import Outcome, OutcomeWindow

# Looked up once: in Python 3.11, each look-up of an Enum's member costs 0.1 us.
_CLOSED, _OPEN, _HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN
_FORCED_OPEN, _DISABLED = CircuitState.FORCED_OPEN, CircuitState.DISABLED
_PASSING = frozenset({_CLOSED, _DISABLED})

KEPT_TRANSITIONS = 1000
"""So many of the newest transitions wait for :meth:`CircuitBreaker.take_transitions`."""


class CircuitBreaker:
    """Decides for each call whether it may be made, from how earlier calls ended.

    Times (``now``) are seconds of one clock that does not run backwards. Every permit must come
    back through :meth:`success`, :meth:`failure` or :meth:`release`.

    Args:
        name: what errors, transitions and metrics call it.
        spec: its limits.
    """

    def __init__(self, name: str, spec: CircuitBreakerSpec | None = None) -> None:
        self.name = name
        self.spec = spec or CircuitBreakerSpec()
        self._state = _CLOSED
        self._window = self._new_window()
        self._consecutive = 0
        self._open_until = 0.0
        self._next_wait = self.spec.open_seconds
        self._issued = 0
        self._in_flight: dict[int, Permit] = {}  # by number, the oldest first
        self._last_cause = ""
        self._counts = CircuitCounts()
        self._transitions: deque[Transition] = deque(maxlen=KEPT_TRANSITIONS)

    @property
    def state(self) -> CircuitState:
        """The state as of the last call that told the time."""
        return self._state

    def acquire(self, now: float) -> Permit:
        """Ask to make a call.

        Raises:
            CircuitOpenError: the call must not be made. Says when to try again: at the latest, if
                the breaker is waiting for its probes.
        """
        self.tick(now)
        if not self._admits():
            self._counts.not_permitted += 1
            raise CircuitOpenError(self.name, self._retry_after(now), self._last_cause)
        permit = Permit(self._issued, now)
        self._issued += 1
        self._in_flight[permit.number] = permit
        return permit

    def success(self, permit: Permit, now: float, *, result_is_failure: bool = False) -> None:
        """Report that the call returned; ``result_is_failure``: a result that counts as one."""
        self._finish(permit, now, "the result counts as a failure" if result_is_failure else "")

    def failure(self, permit: Permit, error: BaseException | ErrorData, now: float) -> None:
        """Report that the call raised; the spec says whether ``error`` is a failure."""
        if self.spec.ignores(error):
            self.release(permit, now)
        else:
            self._finish(permit, now, _describe(error) if self.spec.records(error) else "")

    def release(self, permit: Permit, now: float) -> None:
        """Hand a permit back without an outcome: the call was cancelled, or never made."""
        if self._take_back(permit, now):
            self._counts.ignored += 1

    def tick(self, now: float) -> None:
        """Do what the time alone brings about: end the wait, give up probes that don't return.

        :meth:`acquire` does it too. Call it by a timer, at :attr:`due`, to have it done without.
        """
        if self._state is _HALF_OPEN:
            self._give_up_probes(now)
        if self._state is _OPEN and now >= self._open_until:
            self._move("probe", now, "the wait is over")

    @property
    def due(self) -> float | None:
        """When :meth:`tick` has something to do next, or None."""
        if self._state is _OPEN:
            return self._open_until
        if self._state is _HALF_OPEN and self._in_flight:
            oldest = next(iter(self._in_flight.values()))
            return oldest.at + self.spec.half_open_max_seconds
        return None

    def half_open(self, now: float) -> None:
        """Let probes through now, without waiting any longer.

        Raises:
            InvalidStateTransition: the breaker is not open.
        """
        self._move("probe", now, "by hand")

    def force_open(self, now: float, reason: str = "forced open") -> None:
        """Refuse every call, until :meth:`reset` or :meth:`disable`."""
        self._last_cause = reason
        self._move("force open", now, reason)

    def disable(self, now: float) -> None:
        """Let every call through and judge none, until :meth:`reset` or :meth:`force_open`."""
        self._move("disable", now, "by hand")

    def reset(self, now: float) -> None:
        """Close the breaker and forget all outcomes and waits; the counts go on."""
        self._move("reset", now, "by hand")

    def take_transitions(self) -> list[Transition]:
        """Give the transitions since the last call of this, oldest first; each is given once.

        If nobody takes them, the oldest beyond :data:`KEPT_TRANSITIONS` are dropped.
        """
        if not self._transitions:
            return []
        taken = list(self._transitions)
        self._transitions.clear()
        return taken

    def metrics(self, now: float) -> CircuitMetrics:
        """Give the rates at ``now`` and all counts."""
        self._window.trim(now)
        return CircuitMetrics(
            name=self.name,
            state=self._state,
            window_calls=self._window.calls,
            failure_rate=self._window.failure_rate,
            slow_rate=self._window.slow_rate,
            in_flight=len(self._in_flight),
            counts=msgspec.structs.replace(self._counts),
        )

    def snapshot(self, now: float) -> CircuitSnapshot:
        """Give the state as data. Calls in flight are not part of it."""
        return CircuitSnapshot(
            name=self.name,
            at=now,
            state=self._state,
            outcomes=self._window.outcomes(),
            consecutive=self._consecutive,
            open_until=self._open_until,
            next_wait=self._next_wait,
            issued=self._issued,
            last_cause=self._last_cause,
            counts=msgspec.structs.replace(self._counts),
        )

    @classmethod
    def restore(cls, snapshot: CircuitSnapshot, spec: CircuitBreakerSpec, now: float) -> Self:
        """Make a breaker that goes on where the snapshot was taken; half-open begins anew.

        The spec may have changed since. So may the clock have started over (a monotonic one does,
        with its machine): a snapshot from the future is taken to be of this moment.
        """
        breaker = cls(snapshot.name, spec)
        shift = min(0.0, now - snapshot.at)
        breaker._state = snapshot.state
        breaker._window = breaker._new_window()
        if snapshot.state is not _HALF_OPEN:
            for old in snapshot.outcomes:
                breaker._window.record(msgspec.structs.replace(old, at=old.at + shift))
            breaker._consecutive = snapshot.consecutive
        breaker._open_until = snapshot.open_until + shift
        longest = spec.open_seconds_max or spec.open_seconds
        breaker._next_wait = max(spec.open_seconds, min(snapshot.next_wait, longest))
        breaker._issued = snapshot.issued
        breaker._last_cause = snapshot.last_cause
        breaker._counts = msgspec.structs.replace(snapshot.counts)
        return breaker

    def shared(self, service: str, transition: Transition) -> SharedState:
        """Describe where a transition has led to, for others that share this breaker."""
        return SharedState(
            service,
            self.name,
            transition.target,
            transition.at,
            self._open_until,
            self._next_wait,
            transition.reason,
            self._last_cause,
        )

    def adopt(self, shared: SharedState) -> None:
        """Go where another breaker of the same service is; that is no transition of this one.

        While another one probes, this one waits for its own time to probe.
        """
        state = shared.state
        if state is _HALF_OPEN:
            if self._state is not _CLOSED:
                return
            state = _OPEN
        if state is _OPEN:
            self._open_until = shared.open_until
            self._next_wait = shared.next_wait
        if state is not self._state:
            self._last_cause = shared.cause
            self._enter(state)

    def _admits(self) -> bool:
        if self._state is _HALF_OPEN:
            return len(self._in_flight) + self._window.calls < self.spec.half_open_probes
        return self._state in _PASSING

    def _retry_after(self, now: float) -> float:
        due = self.due
        return math.inf if due is None else max(0.0, due - now)

    def _take_back(self, permit: Permit, now: float) -> bool:
        if self._state is _HALF_OPEN:
            self._give_up_probes(now)
        if self._in_flight.get(permit.number) == permit:
            del self._in_flight[permit.number]
            return True
        self._counts.late += 1
        return False

    def _finish(self, permit: Permit, now: float, cause: str) -> None:
        if not self._take_back(permit, now):
            return
        took, limit = now - permit.at, self.spec.slow_call_seconds
        slow = took > limit
        if slow and not cause and self.spec.slow_rate is None:
            cause = f"the call took {took:.3g} s, its limit is {limit:.3g} s"
        if slow:
            self._counts.slow += 1
        if cause:
            self._counts.failed += 1
        else:
            self._counts.succeeded += 1
        if self._state is not _DISABLED:
            self._last_cause = cause or self._last_cause
            self._consecutive = self._consecutive + 1 if cause else 0
            self._window.record(Outcome(now, failed=bool(cause), slow=slow))
            self._judge(now)

    def _judge(self, now: float) -> None:
        if self._state is _CLOSED:
            if reason := self._excess():
                self._trip(now, reason)
        elif self.spec.half_open_successes is None:
            self._judge_all_probes(now)
        else:
            self._judge_probes(now, self.spec.half_open_successes)

    def _excess(self) -> str:
        """Say which limit the calls in the window exceed, if any."""
        most = self.spec.consecutive_failures
        if most is not None and self._consecutive >= most:
            return f"{self._consecutive} failures in a row"
        if self._window.calls < self.spec.minimum_calls:
            return ""
        return self._excessive_rate(judge_failures=most is None)

    def _excessive_rate(self, *, judge_failures: bool = True) -> str:
        spec, window = self.spec, self._window
        if judge_failures and window.failure_rate >= spec.failure_rate:
            return f"{window.failures} of {window.calls} calls failed"
        if spec.slow_rate is not None and window.slow_rate >= spec.slow_rate:
            return f"{window.slow} of {window.calls} calls took over {spec.slow_call_seconds:g} s"
        return ""

    def _judge_all_probes(self, now: float) -> None:
        if self._window.calls < self.spec.half_open_probes:
            return
        if reason := self._excessive_rate():
            self._trip(now, f"probes: {reason}")
        else:
            self._move("close", now, f"{self._window.calls} probes were good enough")

    def _judge_probes(self, now: float, wanted: int) -> None:
        bad = sum(probe.failed or probe.slow for probe in self._window.outcomes())
        good = self._window.calls - bad
        if good >= wanted:
            self._move("close", now, f"{good} probes succeeded")
        elif bad > self.spec.half_open_probes - wanted:
            self._trip(now, f"{bad} probes failed or were slow")

    def _give_up_probes(self, now: float) -> None:
        due = self.due
        if due is not None and now >= due:
            limit = self.spec.half_open_max_seconds
            self._last_cause = f"a probe did not return within {limit:.3g} s"
            self._trip(due, self._last_cause)  # when it was due, however late it was noticed

    def _trip(self, at: float, reason: str) -> None:
        self._open_until = at + self._next_wait
        longest = self.spec.open_seconds_max or self.spec.open_seconds
        self._next_wait = min(self._next_wait * self.spec.backoff_factor, longest)
        self._last_cause = self._last_cause or reason
        self._move("trip", at, reason)

    def _move(self, trigger: str, at: float, reason: str) -> None:
        source = self._state
        self._enter(CIRCUIT_TRANSITIONS.next(source, trigger))
        if self._state is not source:
            self._counts.transitions += 1
            self._transitions.append(Transition(self.name, source, self._state, at, reason))

    def _enter(self, state: CircuitState) -> None:
        self._state = state
        self._in_flight.clear()  # their outcomes come too late to count
        if self._state in _PASSING:
            self._next_wait = self.spec.open_seconds
            self._last_cause = ""
        if self._state not in (_OPEN, _FORCED_OPEN):
            self._window = self._new_window()
            self._consecutive = 0

    def _new_window(self) -> OutcomeWindow:
        if self._state is _HALF_OPEN:
            return OutcomeWindow(self.spec.half_open_probes, math.inf)
        return OutcomeWindow(self.spec.window_calls, self.spec.window_seconds)


def _describe(error: BaseException | ErrorData) -> str:
    if isinstance(error, ErrorData):
        return str(error)
    name, text = type_name(type(error)), str(error)
    return f"{name}: {text}" if text else name
