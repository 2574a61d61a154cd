"""The states of a circuit breaker, and what it tells about itself, as data."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from gristmill.facets.breaker_window import Outcome
from gristmill.facets.transitions import TransitionTable


class CircuitState(StrEnum):
    """What a breaker does with calls."""

    CLOSED = "closed"
    """Calls pass, and their outcomes are judged."""
    OPEN = "open"
    """Calls are refused until the wait is over."""
    HALF_OPEN = "half_open"
    """A few calls pass as probes; their outcomes decide."""
    FORCED_OPEN = "forced_open"
    """Calls are refused until someone resets the breaker."""
    DISABLED = "disabled"
    """Calls pass, and their outcomes are not judged."""


_BY_HAND = {
    "force open": CircuitState.FORCED_OPEN,
    "disable": CircuitState.DISABLED,
    "reset": CircuitState.CLOSED,
}
CIRCUIT_TRANSITIONS = TransitionTable[CircuitState](
    {
        CircuitState.CLOSED: {"trip": CircuitState.OPEN, **_BY_HAND},
        CircuitState.OPEN: {"probe": CircuitState.HALF_OPEN, **_BY_HAND},
        CircuitState.HALF_OPEN: {
            "close": CircuitState.CLOSED,
            "trip": CircuitState.OPEN,
            **_BY_HAND,
        },
        CircuitState.FORCED_OPEN: _BY_HAND,
        CircuitState.DISABLED: _BY_HAND,
    },
    initial=CircuitState.CLOSED,
)
"""The states of every circuit breaker."""


class Permit(msgspec.Struct, frozen=True, array_like=True):
    """The breaker's leave to make one call; hand it back with the call's outcome."""

    number: int
    at: float
    """When the call was let through."""


class Transition(msgspec.Struct, frozen=True):
    """A change of a breaker's state."""

    name: str
    source: CircuitState
    target: CircuitState
    at: float
    reason: str


class SharedState(msgspec.Struct, frozen=True, array_like=True):
    """Where a breaker stands that a service shares, for those who share it."""

    service: str
    breaker: str
    state: CircuitState
    at: float
    """When it came into this state, in seconds of the node's clock."""
    open_until: float
    next_wait: float
    reason: str
    cause: str
    """The last failure; empty if the breaker is closed."""


class CircuitCounts(msgspec.Struct):
    """What has happened to the calls of a breaker since it was made."""

    succeeded: int = 0
    failed: int = 0
    slow: int = 0
    """Of the succeeded and failed: those beyond the call limit."""
    ignored: int = 0
    """Ended in an error that counts for nothing, or were cancelled."""
    late: int = 0
    """Ended after the state in which they were let through, or twice: not judged."""
    not_permitted: int = 0
    transitions: int = 0


class CircuitMetrics(msgspec.Struct, frozen=True):
    """A breaker at a glance; the window is what is judged now (probes, if half-open)."""

    name: str
    state: CircuitState
    window_calls: int
    failure_rate: float
    slow_rate: float
    in_flight: int
    counts: CircuitCounts


class CircuitSnapshot(msgspec.Struct, frozen=True):
    """A breaker's state as data, for the next incarnation of its owner."""

    name: str
    at: float
    state: CircuitState
    outcomes: tuple[Outcome, ...]
    consecutive: int
    open_until: float
    next_wait: float
    issued: int
    last_cause: str
    counts: CircuitCounts
