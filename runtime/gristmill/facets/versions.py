"""Optimistic locking: read a value with its version, and write only if nobody else did since."""

from __future__ import annotations

from collections.abc import Callable, Hashable, ItemsView, Mapping
from typing import Generic, TypeVar

import msgspec

from gristmill.errors import GristmillError, UsageError

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

ABSENT = 0
"""The version of a key that is not in the store; the first write makes it 1."""

_NAMED_CONFLICTS = 5


class VersionConflict(GristmillError):  # noqa: N818 - the name says what happened
    """A value was written by somebody else since it was read. Nothing was written.

    Attributes:
        conflicts: for each such key, the version that was expected and the one that is stored.
    """

    def __init__(self, conflicts: Mapping[Hashable, tuple[int, int]]) -> None:
        named = [
            f"{key!r} (expected version {expected}, stored {stored})"
            for key, (expected, stored) in list(conflicts.items())[:_NAMED_CONFLICTS]
        ]
        if more := len(conflicts) - len(named):
            named.append(f"and {more} more")
        super().__init__(f"version conflict on {', '.join(named)}; read again and retry")
        self.conflicts = dict(conflicts)


class Versioned(msgspec.Struct, Generic[V], frozen=True):
    """A value and how often its key has been written."""

    value: V
    version: int


class VersionedStore(Generic[K, V]):
    """Values by key, each with a version that every write counts up.

    There is no way around the check: a write names the version that it is based on. Treat the
    values as immutable, for a change in place would go unnoticed. Not safe from several threads.

    Args:
        content: what the store starts with, such as a snapshot of another one's ``items()``.
    """

    def __init__(self, content: Mapping[K, Versioned[V]] | None = None) -> None:
        self._content: dict[K, Versioned[V]] = dict(content or {})

    def __contains__(self, key: K) -> bool:
        return key in self._content

    def __len__(self) -> int:
        return len(self._content)

    def items(self) -> ItemsView[K, Versioned[V]]:
        """Give every key with its value and version."""
        return self._content.items()

    def version(self, key: K) -> int:
        """Give the stored version of ``key``; :data:`ABSENT` if there is none."""
        found = self._content.get(key)
        return ABSENT if found is None else found.version

    def get(self, key: K) -> Versioned[V]:
        """Read a value with its version.

        Raises:
            KeyError: the store does not have the key.
        """
        return self._content[key]

    def put(self, key: K, value: V, expected_version: int) -> int:
        """Write a value, if its key still has ``expected_version``, and give the new version.

        Raises:
            VersionConflict: it has another one.
        """
        return self.put_all({key: (value, expected_version)})[key]

    def put_all(self, writes: Mapping[K, tuple[V, int]]) -> dict[K, int]:
        """Write several values, all or none; give the new versions.

        Args:
            writes: for each key, the value and the version that it is expected to have.

        Raises:
            VersionConflict: some keys have other versions. Nothing was written.
        """
        conflicts: dict[Hashable, tuple[int, int]] = {
            key: (expected, self.version(key))
            for key, (_, expected) in writes.items()
            if self.version(key) != expected
        }
        if conflicts:
            raise VersionConflict(conflicts)
        for key, (value, expected) in writes.items():
            self._content[key] = Versioned(value, expected + 1)
        return {key: self.version(key) for key in writes}

    def update(self, key: K, fn: Callable[[V], V], retries: int = 3) -> Versioned[V]:
        """Replace a value by ``fn(value)``, reading again when somebody else was faster.

        Args:
            key: which value; it must exist.
            fn: makes the new value from the current one; it may be called several times.
            retries: how often to try again after a conflict.

        Raises:
            KeyError: the store does not have the key.
            VersionConflict: there was a conflict each time.
            UsageError: ``retries`` is negative.
        """
        if retries < 0:
            raise UsageError(f"update: retries is {retries}, but must be 0 or more")
        for attempt in range(retries + 1):
            current = self.get(key)
            try:
                self.put(key, fn(current.value), current.version)
                break
            except VersionConflict:
                if attempt == retries:
                    raise
        return self.get(key)
