"""The facets of one actor, as its handlers reach them: pure logic with the worker's clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from gristmill.errors import UsageError
from gristmill.facets import (
    Claim,
    FacetRecord,
    Guard,
    IdempotencyTable,
    KeyCompleted,
    ReminderSet,
    ReminderTable,
    Run,
    fingerprint,
)
from gristmill.facets.specs import Breaker, Durable, FacetSpec, Idempotency, Reminders
from gristmill.messages import Command, Event


class IdempotencyFacet:
    """Idempotency keys of one actor; journaled with its state when it is durable."""

    def __init__(
        self,
        spec: Idempotency,
        wall_time: Callable[[], float],
        persist: Callable[[Any], None] | None,
    ) -> None:
        self._table = IdempotencyTable(spec.ttl, spec.lease)
        self._wall_time = wall_time
        self._persist = persist

    def claim(self, key: str, message: msgspec.Struct) -> Claim:
        """Say whether to run a request, replay its outcome, or leave it: see ``IdempotencyTable``.

        Raises:
            IdempotencyConflictError: the key was used with another payload.
        """
        return self._table.claim(key, fingerprint(message), self._wall_time())

    def complete(self, key: str, outcome: bytes, claim: Run | None = None) -> None:
        """Keep the outcome of a claimed request; it commits with the handler's events.

        Raises:
            ClaimLapsedError: ``claim`` is given, and its lease was over before somebody else's
                claim.
        """
        record = self._table.complete(key, outcome, self._wall_time(), claim)
        if self._persist is not None:
            self._persist(record)

    def release(self, key: str, claim: Run | None = None) -> None:
        """Give up a claim: the request failed and may run again. Raises as :meth:`complete`."""
        self._table.release(key, claim)

    def apply(self, record: KeyCompleted) -> None:
        """Take in a journaled completion."""
        self._table.apply(record)

    def records(self) -> tuple[KeyCompleted, ...]:
        """Give the completions that are still remembered."""
        self._table.expire(self._wall_time())
        return self._table.records()


class RemindersFacet:
    """Messages to the actor itself that are due at a time, and survive restarts until then.

    Args:
        wall_time: gives the seconds since 1970.
        encode: checks and encodes a message.
        persist: journals a record with the handler's events.
        later: has a reminder armed, or its timer cancelled by number, when the handler is done.
    """

    def __init__(
        self,
        wall_time: Callable[[], float],
        encode: Callable[[Command | Event], bytes],
        persist: Callable[[Any], None],
        later: Callable[[ReminderSet | int], None],
    ) -> None:
        self.table = ReminderTable()
        """What is still to be handled; the worker ends what has been."""
        self._wall_time = wall_time
        self._encode = encode
        self._persist = persist
        self._later = later

    def set(self, name: str, delay: float, message: Command | Event) -> None:
        """Handle ``message`` in ``delay`` seconds, by whatever incarnation there is then.

        It takes the place of an earlier one with this name. It is journaled together with the
        handler's events, and is handled at least once: late, if nobody runs when it is due.

        Raises:
            UsageError: the delay is no number of seconds from 0 on, the name is empty, or the
                actor does not handle the message.
        """
        body = self._encode(message)
        before = self.table.find(name)
        record = self.table.set(name, delay, body, self._wall_time())
        self._persist(record)
        if before is not None:
            self._later(before.number)
        self._later(record)

    def cancel(self, name: str) -> bool:
        """Forget the reminder of this name; give whether there was one that is not yet handled."""
        known = self.table.find(name)
        ended = self.table.end(known.number) if known is not None else None
        if ended is None:
            return False
        self._persist(ended)
        self._later(ended.number)
        return True

    def due_in(self, name: str) -> float | None:
        """Give the seconds until the reminder of this name is due; None if there is none."""
        known = self.table.find(name)
        return None if known is None else max(0.0, known.due_at - self._wall_time())


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
        encode: Callable[[Command | Event], bytes],
        later: Callable[[ReminderSet | int], None],
    ) -> None:
        self._reminders: RemindersFacet | None = None
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
                self._idempotency = IdempotencyFacet(spec, wall_time, journal)
            elif isinstance(spec, Reminders):
                self._reminders = RemindersFacet(wall_time, encode, persist, later)

    def journaled(self) -> tuple[FacetRecord, ...]:
        """Give what of the facets' state is in the journal, for a snapshot."""
        keys = self._idempotency.records() if self._idempotency is not None else ()
        reminders = self._reminders.table.records() if self._reminders is not None else ()
        return (*keys, *reminders)

    def apply(self, record: FacetRecord) -> None:
        """Take in what a facet has journaled."""
        if isinstance(record, KeyCompleted):
            self.idempotency.apply(record)
        else:
            self.reminders.table.apply(record)

    @property
    def reminders(self) -> RemindersFacet:
        """The actor's reminders.

        Raises:
            UsageError: the actor was started without them.
        """
        if self._reminders is None:
            raise UsageError(
                f"{self._owner} has no reminders; start it with facets=[Durable(), Reminders()]"
            )
        return self._reminders

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
