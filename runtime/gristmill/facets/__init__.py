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
from gristmill.facets.reminders import ReminderEnded, ReminderSet, ReminderTable
from gristmill.facets.transitions import TransitionTable
from gristmill.facets.versions import ABSENT, VersionConflict, Versioned, VersionedStore

FacetRecord = KeyCompleted | ReminderSet | ReminderEnded
"""What facets keep in the journal of their actor."""
FACET_RECORDS = (KeyCompleted, ReminderSet, ReminderEnded)

__all__ = [
    "ABSENT",
    "BREAKERS",
    "CIRCUIT_TRANSITIONS",
    "FACET_RECORDS",
    "BreakerMoved",
    "CircuitBreaker",
    "CircuitBreakerSpec",
    "CircuitCounts",
    "CircuitMetrics",
    "CircuitSnapshot",
    "CircuitState",
    "Claim",
    "FacetRecord",
    "Guard",
    "IdempotencyTable",
    "InProgress",
    "KeyCompleted",
    "Permit",
    "ReminderEnded",
    "ReminderSet",
    "ReminderTable",
    "Replay",
    "Run",
    "Transition",
    "TransitionTable",
    "VersionConflict",
    "Versioned",
    "VersionedStore",
    "fingerprint",
]
