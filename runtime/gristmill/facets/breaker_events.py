"""What the node tells about its circuit breakers."""

from __future__ import annotations

from gristmill.messages import Event

BREAKERS = "breakers"
"""The channel on which every transition is published once, keyed by service and breaker."""


class BreakerMoved(Event):
    """A breaker that a service shares has changed its state."""

    service: str
    """The actor's name, or that of its pool or group."""
    breaker: str
    source: str
    """The state that it has left, as of ``CircuitState``."""
    target: str
    reason: str
    worker: str
    """Where it happened; the other workers follow."""
