"""Facets: what can be attached to an actor from outside, as pure logic.

A circuit breaker, idempotency keys, optimistic locking and declared state machines. Nothing here
has a clock, a socket or a thread of its own, except :class:`Guard`, which puts a clock and a lock
around a breaker.
"""

from gristmill.facets.breaker import CircuitBreaker
from gristmill.facets.breaker_events import BREAKERS, BreakerMoved
from gristmill.facets.breaker_spec import CircuitBreakerSpec
from gristmill.facets.breaker_state import (
    CIRCUIT_TRANSITIONS,
    CircuitCounts,
    CircuitMetrics,
    CircuitSnapshot,
    CircuitState,
    Permit,
    Transition,
)
from gristmill.facets.guard import Guard
from gristmill.facets.idempotency import (
    Claim,
    IdempotencyTable,
    InProgress,
    KeyCompleted,
    Replay,
    Run,
    fingerprint,
)
from gristmill.facets.transitions import TransitionTable
from gristmill.facets.versions import ABSENT, VersionConflict, Versioned, VersionedStore

__all__ = [
    "ABSENT",
    "BREAKERS",
    "CIRCUIT_TRANSITIONS",
    "BreakerMoved",
    "CircuitBreaker",
    "CircuitBreakerSpec",
    "CircuitCounts",
    "CircuitMetrics",
    "CircuitSnapshot",
    "CircuitState",
    "Claim",
    "Guard",
    "IdempotencyTable",
    "InProgress",
    "KeyCompleted",
    "Permit",
    "Replay",
    "Run",
    "Transition",
    "TransitionTable",
    "VersionConflict",
    "Versioned",
    "VersionedStore",
    "fingerprint",
]
