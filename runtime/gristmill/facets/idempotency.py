"""Idempotency keys: a request that comes twice is run once, and answered twice."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Collection
from typing import Any

import msgspec

from gristmill.errors import IdempotencyConflictError, UsageError
from gristmill.messages import tag_of


class Run(msgspec.Struct, frozen=True, tag=True):
    """The key is yours: run the request, then ``complete`` the key, or ``release`` it."""


class Replay(msgspec.Struct, frozen=True, tag=True):
    """The request has been run within the time to live: answer with its outcome."""

    outcome: bytes


class InProgress(msgspec.Struct, frozen=True, tag=True):
    """The same request is running; don't run it again."""


Claim = Run | Replay | InProgress

_encoder = msgspec.msgpack.Encoder(order="deterministic")


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

    Raises:
        UsageError: ``ttl`` is not above 0.
    """

    def __init__(self, ttl: float) -> None:
        if not ttl > 0:
            raise UsageError(f"idempotency: ttl is {ttl!r}, but must be above 0 seconds")
        self._ttl = ttl
        self._running: dict[str, str] = {}
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
        known = done.fingerprint if done is not None else self._running.get(key)
        if known is None:
            self._running[key] = fingerprint
            return Run()
        if known != fingerprint:
            raise IdempotencyConflictError(
                f"idempotency key {key!r} was used for another request; "
                "send this one with a key of its own"
            )
        return InProgress() if done is None else Replay(done.outcome)

    def complete(self, key: str, outcome: bytes, now: float) -> KeyCompleted:
        """Keep the outcome of a request that has run, and give the record to be journaled.

        Raises:
            UsageError: the key has not been claimed.
        """
        fingerprint = self._take_running(key, "complete")
        record = KeyCompleted(key, fingerprint, outcome, now + self._ttl)
        self.apply(record)
        return record

    def release(self, key: str) -> None:
        """Give up a claim: the request failed and may run again.

        Raises:
            UsageError: the key has not been claimed, or has been completed.
        """
        self._take_running(key, "release")

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

    def _take_running(self, key: str, verb: str) -> str:
        if key not in self._running:
            raise UsageError(
                f"can't {verb} idempotency key {key!r}: it is not claimed, "
                "or its claim has been ended already"
            )
        return self._running.pop(key)


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
