"""Idempotency keys: a request that comes twice is run once, and answered twice."""

from __future__ import annotations

import hashlib
import heapq
import math
from collections.abc import Collection
from typing import Any, NamedTuple

import msgspec

from gristmill.errors import ClaimLapsedError, IdempotencyConflictError, UsageError
from gristmill.messages import tag_of


class Run(msgspec.Struct, frozen=True, tag=True):
    """The key is yours: run the request, then ``complete`` the key, or ``release`` it."""

    number: int = 0
    """Tells the claim from others of the same key, where claims have leases."""


class Replay(msgspec.Struct, frozen=True, tag=True):
    """The request has been run within the time to live: answer with its outcome."""

    outcome: bytes


class InProgress(msgspec.Struct, frozen=True, tag=True):
    """The same request is running; don't run it again."""


Claim = Run | Replay | InProgress

_encoder = msgspec.msgpack.Encoder(order="deterministic")


class _Running(NamedTuple):
    fingerprint: str
    until: float
    number: int


class KeyCompleted(msgspec.Struct, frozen=True, array_like=True, tag="gristmill:KeyCompleted"):
    """The record of a key's completion, for a journal."""

    key: str
    fingerprint: str
    outcome: bytes
    expires_at: float


class IdempotencyTable:
    """Which requests are running, and how those ended that ran, by idempotency key.

    Claims of running requests are in memory only: after a restart their requests may run again.
    Completions are records. A durable actor journals what :meth:`complete` gives in the same
    transaction as the request's effects, and hands it to :meth:`apply` when it is replayed.

    Times (``now``) are seconds of any one clock; if records outlive the machine's uptime, it must
    be one that does so too, such as wall time.

    Args:
        ttl: for how many seconds a completed key is remembered.
        lease: for how many seconds a claim holds that is not completed; None for ever. A request
            that takes longer may be run a second time, by whoever claims its key then.

    Raises:
        UsageError: ``ttl`` or ``lease`` is not above 0.
    """

    def __init__(self, ttl: float, lease: float | None = None) -> None:
        if not ttl > 0:
            raise UsageError(f"idempotency: ttl is {ttl!r}, but must be above 0 seconds")
        if lease is not None and not lease > 0:
            raise UsageError(f"idempotency: lease is {lease!r}, but must be above 0 seconds")
        self._ttl = ttl
        self._lease = lease
        self._claims = 0
        self._running: dict[str, _Running] = {}
        self._completed: dict[str, KeyCompleted] = {}
        self._expiries: list[tuple[float, str]] = []

    def __len__(self) -> int:
        """How many keys are known, running or completed."""
        return len(self._running) + len(self._completed)

    def claim(self, key: str, fingerprint: str, now: float) -> Claim:
        """Say what to do with a request that came with ``key``.

        Args:
            key: the idempotency key, chosen by whoever sent the request.
            fingerprint: of the request's payload; see :func:`fingerprint`.
            now: the time.

        Raises:
            IdempotencyConflictError: the key is in use for another payload.
        """
        self.expire(now)
        done = self._completed.get(key)
        running = self._running.get(key)
        if running is not None and running.until <= now:
            running = None
        known = done or running
        if known is None:
            return self._run(key, fingerprint, now)
        if known.fingerprint != fingerprint:
            raise IdempotencyConflictError(
                f"idempotency key {key!r} was used for another request; "
                "send this one with a key of its own"
            )
        return InProgress() if done is None else Replay(done.outcome)

    def _run(self, key: str, fingerprint: str, now: float) -> Run:
        until = math.inf
        if self._lease is not None:
            self._claims += 1
            until = now + self._lease
        self._running[key] = _Running(fingerprint, until, self._claims)
        return Run(self._claims)

    def complete(
        self, key: str, outcome: bytes, now: float, claim: Run | None = None
    ) -> KeyCompleted:
        """Keep the outcome of a request that has run, and give the record to be journaled.

        A claim whose lease is over can still be completed if nobody has claimed its key since.

        Args:
            key: the key.
            outcome: what a repetition is answered with.
            now: the time.
            claim: what :meth:`claim` gave, so that it can be told from a later one.

        Raises:
            ClaimLapsedError: somebody else has claimed the key since.
            UsageError: the key has not been claimed.
        """
        fingerprint = self._take_running(key, "complete", claim)
        record = KeyCompleted(key, fingerprint, outcome, now + self._ttl)
        self.apply(record)
        return record

    def release(self, key: str, claim: Run | None = None) -> None:
        """Give up a claim: the request failed and may run again.

        Raises:
            ClaimLapsedError: ``claim`` is given, and somebody else has claimed the key since.
            UsageError: the key has not been claimed, or has been completed.
        """
        self._take_running(key, "release", claim)

    def apply(self, record: KeyCompleted) -> None:
        """Take in a record from a journal; the last one of a key counts."""
        self._running.pop(record.key, None)
        self._completed[record.key] = record
        heapq.heappush(self._expiries, (record.expires_at, record.key))

    def expire(self, now: float) -> int:
        """Forget the keys whose time is over, and tell how many; :meth:`claim` does it too."""
        forgotten = 0
        while self._expiries and self._expiries[0][0] <= now:
            expires_at, key = heapq.heappop(self._expiries)
            record = self._completed.get(key)
            if record is not None and record.expires_at == expires_at:
                del self._completed[key]
                forgotten += 1
        return forgotten

    def records(self) -> tuple[KeyCompleted, ...]:
        """Give all completions, for a snapshot that replaces the journal."""
        return tuple(self._completed.values())

    def _take_running(self, key: str, verb: str, claim: Run | None) -> str:
        running = self._running.get(key)
        ours = claim is None or (running is not None and running.number == claim.number)
        if not ours and self._lease is not None:
            raise ClaimLapsedError(
                f"can't {verb} idempotency key {key!r}: its lease of {self._lease:g} s was over, "
                "and somebody else has claimed it since"
            )
        if running is None:
            raise UsageError(
                f"can't {verb} idempotency key {key!r}: it is not claimed, "
                "or its claim has been ended already"
            )
        del self._running[key]
        return running.fingerprint


def fingerprint(message: msgspec.Struct, *, exclude: Collection[str] = ()) -> str:
    """Hash a message's type and content, so that a changed payload can be told from a repeat.

    Args:
        message: any struct; the same in every process.
        exclude: fields that may differ between repeats, such as an attempt number.

    Raises:
        UsageError: ``exclude`` names a field that the message does not have.
    """
    content = _encoder.encode(_without(message, exclude) if exclude else message)
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _without(message: msgspec.Struct, exclude: Collection[str]) -> tuple[str, dict[str, Any]]:
    """Give the type and the other fields of a message."""
    kind = type(message)
    if unknown := set(exclude) - set(kind.__struct_fields__):
        raise UsageError(f"{kind.__qualname__} has no field {', '.join(sorted(unknown))}")
    fields = {f: getattr(message, f) for f in kind.__struct_fields__ if f not in exclude}
    return tag_of(kind), fields
