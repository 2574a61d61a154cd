"""Facets as data: what an actor is given at its start, and takes with it across processes."""

from __future__ import annotations

import msgspec

from gristmill.errors import UsageError
from gristmill.facets.breaker_spec import CircuitBreakerSpec


class Durable(msgspec.Struct, frozen=True, tag="durable"):
    """The actor's events are journaled, and replayed when it starts again.

    Raises:
        UsageError: ``snapshot_every`` is below 0.
    """

    snapshot_every: int = 0
    """Events after which the actor's ``snapshot()`` takes their place in the journal, so that a
    start replays few of them; 0 for never. The actor defines ``snapshot`` and ``restore``."""

    def __post_init__(self) -> None:
        """Check the number."""
        if self.snapshot_every < 0:
            raise UsageError(
                f"Durable: snapshot_every is {self.snapshot_every}; write a number of events, or 0 "
                "for never"
            )


class Breaker(msgspec.Struct, frozen=True, tag="breaker"):
    """A circuit breaker, reached as ``ctx.facets.breaker(name)``."""

    name: str
    spec: CircuitBreakerSpec = CircuitBreakerSpec()


class Idempotency(msgspec.Struct, frozen=True, tag="idempotency"):
    """A table of idempotency keys, reached as ``ctx.facets.idempotency``.

    With :class:`Durable` the keys are journaled together with the state.
    """

    ttl: float = 86_400.0
    """Seconds for which a completed key is remembered."""
    lease: float | None = None
    """Seconds after which a claim that was neither completed nor released is open to others; None:
    it holds for as long as the incarnation lives."""


class Reminders(msgspec.Struct, frozen=True, tag="reminders"):
    """Messages to itself that survive restarts, reached as ``ctx.facets.reminders``.

    They are in the actor's journal, so it also needs :class:`Durable`.
    """


FacetSpec = Durable | Breaker | Idempotency | Reminders
