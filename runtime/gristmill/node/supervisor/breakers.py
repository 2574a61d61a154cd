"""``Breakers``: where the circuit breakers of all services stand, for those who share them.

The supervisor process puts the transitions that workers report into one order. Everybody follows
that order, so all agree soon, and whoever starts later begins where the others are.
"""

from __future__ import annotations

from collections.abc import Callable

from gristmill.facets.breaker_state import CircuitState, SharedState
from gristmill.transport import control as c


class Breakers:
    """The breakers that have ever moved, by service and name.

    Args:
        broadcast: tells all workers something.
    """

    def __init__(self, broadcast: Callable[[c.ControlMessage], None]) -> None:
        self._broadcast = broadcast
        self._states: dict[tuple[str, str], SharedState] = {}

    def moved(self, address: int, incarnation: int, report: c.BreakerReport) -> None:
        """A worker's breaker has moved: tell all, also the worker itself."""
        new = report.now
        key = (new.service, new.breaker)
        known = self._states.get(key)
        before = known.state if known is not None else CircuitState.CLOSED
        if before is CircuitState.CLOSED and new.state is CircuitState.HALF_OPEN:
            new = known or new  # somebody else's probes have closed it already
        self._states[key] = new
        source = before if before is not new.state else None
        self._broadcast(c.BreakerNews(new, source, address, incarnation))

    def introduce(self, send: Callable[[c.ControlMessage], None]) -> None:
        """Tell a new worker where they stand."""
        for state in self.all():
            send(c.BreakerNews(state, None, 0, 0))

    def all(self) -> tuple[SharedState, ...]:
        """Give where each one stands, in order of service and name."""
        return tuple(self._states[key] for key in sorted(self._states))

    def forget(self, service: str) -> None:
        """An actor has stopped for good."""
        for key in [key for key in self._states if key[0] == service]:
            del self._states[key]
