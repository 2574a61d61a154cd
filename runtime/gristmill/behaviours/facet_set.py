"""The facets of one actor, as its handlers reach them: pure logic with the worker's clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from gristmill.errors import UsageError
from gristmill.facets import (
    Claim,
    Guard,
    IdempotencyTable,
    KeyCompleted,
    fingerprint,
)
from gristmill.facets.specs import Breaker, Durable, FacetSpec, Idempotency


class IdempotencyFacet:
    """Idempotency keys of one actor; journaled with its state when it is durable."""

    def __init__(
        self, ttl: float, wall_time: Callable[[], float], persist: Callable[[Any], None] | None
    ) -> None:
        self._table = IdempotencyTable(ttl)
        self._wall_time = wall_time
        self._persist = persist

    def claim(self, key: str, message: msgspec.Struct) -> Claim:
        """Say whether to run a request, replay its outcome, or leave it: see ``IdempotencyTable``.

        Raises:
            IdempotencyConflictError: the key was used with another payload.
        """
        return self._table.claim(key, fingerprint(message), self._wall_time())

    def complete(self, key: str, outcome: bytes) -> None:
        """Keep the outcome of a claimed request; it commits with the handler's events."""
        record = self._table.complete(key, outcome, self._wall_time())
        if self._persist is not None:
            self._persist(record)

    def release(self, key: str) -> None:
        """Give up a claim: the request failed and may run again."""
        self._table.release(key)

    def apply(self, record: KeyCompleted) -> None:
        """Take in a journaled completion."""
        self._table.apply(record)

    def records(self) -> tuple[KeyCompleted, ...]:
        """Give the completions that are still remembered."""
        self._table.expire(self._wall_time())
        return self._table.records()


class FacetSet:
    """What the actor was started with; asking for a facet that it has not is an error."""

    def __init__(
        self,
        specs: Iterable[FacetSpec],
        *,
        owner: str,
        wall_time: Callable[[], float],
        persist: Callable[[Any], None],
        guard: Callable[[Breaker], Guard],
    ) -> None:
        self._owner = owner
        self._breakers: dict[str, Guard] = {}
        self._idempotency: IdempotencyFacet | None = None
        specs = tuple(specs)
        self.durable = any(isinstance(spec, Durable) for spec in specs)
        """Whether the actor's events are journaled."""
        for spec in specs:
            if isinstance(spec, Breaker):
                self._breakers[spec.name] = guard(spec)
            elif isinstance(spec, Idempotency):
                journal = persist if self.durable else None
                self._idempotency = IdempotencyFacet(spec.ttl, wall_time, journal)

    def journaled(self) -> tuple[KeyCompleted, ...]:
        """Give what of the facets' state is in the journal, for a snapshot."""
        return self._idempotency.records() if self._idempotency is not None else ()

    def breaker(self, name: str) -> Guard:
        """Give a circuit breaker by its name.

        Raises:
            UsageError: the actor was started without it.
        """
        guard = self._breakers.get(name)
        if guard is None:
            raise UsageError(
                f"{self._owner} has no circuit breaker {name!r}; start it with "
                f"facets=[Breaker({name!r})]"
            )
        return guard

    @property
    def breakers(self) -> tuple[str, ...]:
        """The names of the actor's circuit breakers."""
        return tuple(self._breakers)

    @property
    def idempotency(self) -> IdempotencyFacet:
        """The actor's idempotency keys.

        Raises:
            UsageError: the actor was started without them.
        """
        if self._idempotency is None:
            raise UsageError(
                f"{self._owner} keeps no idempotency keys; start it with facets=[Idempotency()]"
            )
        return self._idempotency
