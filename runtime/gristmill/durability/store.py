"""The storage contract of the journal, and what every storage needs, free of any database.

A worker buffers what a turn of its loop has to remember and commits it as one transaction before
any reply or publish of that turn leaves. So what others have seen of a turn is always on record.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, Self

from gristmill.errors import GristmillError

Durability = Literal["process", "power"]
"""What a commit survives: the death of any process, or a power failure too (one fsync each)."""


class JournalError(GristmillError):
    """The journal can't be read or written. Names the file and the remedy."""


class Record(NamedTuple):
    """One event of an actor's history."""

    seq: int
    """The actor's own sequence number, contiguous from 1."""
    kind: str
    """The type tag of the event."""
    payload: bytes


def hold(path: Path) -> int:
    """Take a slot for this process; the process's death, however violent, gives it back.

    Args:
        path: the slot's file. Its directory is made (mode 0700), and a ``.lock`` file beside it.

    Returns:
        The descriptor of the lock; closing it gives the slot back.

    Raises:
        JournalError: another process holds the slot, or the directory can't be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise JournalError(
            f"journal {path}: {error}; check that its directory exists and that this user may "
            "write there"
        ) from error
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise JournalError(
            f"journal {path}: another process is writing it; end that one, or use another slot"
        ) from error
    return lock


def in_sequence(history: Iterable[Record], owner: str, after: int = 0) -> Iterator[Record]:
    """Pass a sorted history on while its sequence numbers have no gap.

    Args:
        history: records in the order of their sequence numbers.
        owner: whose history it is and where it lies, for the error.
        after: the number of the snapshot that replaces what is up to it; 0 for none.

    Raises:
        JournalError: there is a gap, or a number comes twice.
    """
    rest = (record for record in history if record.seq > after)
    for expected, record in enumerate(rest, start=after + 1):
        if record.seq < expected:
            raise JournalError(
                f"the history of {owner} has event {record.seq} twice: two incarnations wrote at "
                "the same time, from two slots; move one of the two files away"
            )
        if record.seq > expected:
            raise JournalError(
                f"the history of {owner} has event {record.seq} but not {expected}: a file of the "
                "journal is missing or lost its end in a power failure; restore it from a backup"
            )
        yield record


class JournalStore(Protocol):
    """A journal with one writer: the worker that holds the slot.

    Writes are buffered and reach the disk with ``commit``. Reads see what has been committed, by
    any slot. An actor lives on one slot at a time; ``replay`` and ``get_all`` are how it arrives.
    """

    @property
    def dirty(self) -> bool:
        """Whether anything is buffered."""
        ...

    @property
    def commits(self) -> int:
        """How many transactions this store has committed."""
        ...

    @property
    def rows(self) -> int:
        """How many buffered writes those transactions held."""
        ...

    def declare(self, kind: str, schema_hash: str) -> None:
        """Record the schema of a kind of event on its first use. Takes effect at once.

        Raises:
            JournalError: the journal holds events of this kind with another schema.
        """
        ...

    def append(self, actor: str, kind: str, payload: bytes) -> int:
        """Buffer an event and return the actor's sequence number for it."""
        ...

    def append_all(self, actor: str, events: Sequence[tuple[str, bytes]]) -> int:
        """Buffer events, (kind, payload), and return the actor's sequence number for the first."""
        ...

    def last_sequence(self, actor: str) -> int:
        """Give the actor's highest sequence number, buffered events included; 0 for none."""
        ...

    def replay(self, actor: str) -> Iterator[Record]:
        """Give the actor's committed events since its last snapshot, in the order of their numbers.

        Raises:
            JournalError: the history has a gap or a number twice, or a file can't be read.
        """
        ...

    def snapshot(self, actor: str, kind: str, state: bytes) -> int:
        """Buffer a state that stands for all of the actor's events so far; give the last's number.

        The commit that writes it removes the events that it replaces.
        """
        ...

    def last_snapshot(self, actor: str) -> Record | None:
        """Give the actor's last committed snapshot, with the number of the last event in it."""
        ...

    def actors(self) -> list[str]:
        """Give the names of all actors that have committed events, sorted."""
        ...

    def all_records(self) -> Iterator[tuple[str, Record]]:
        """Give all committed events, actor by actor."""
        ...

    def enqueue(self, target: str, payload: bytes) -> int:
        """Buffer an outgoing message and return its number.

        Numbers are contiguous from 1 for each (slot, target) and never start again.
        """
        ...

    def enqueue_all(self, target: str, payloads: Sequence[bytes]) -> int:
        """Buffer outgoing messages and return the number of the first."""
        ...

    def acknowledge(self, target: str, number: int) -> None:
        """Forget the messages to ``target`` up to and including ``number``."""
        ...

    def pending(self, target: str | None = None) -> Iterator[tuple[str, int, bytes]]:
        """Give this slot's unacknowledged messages, (target, number, payload), in order."""
        ...

    def mark(self, target_actor: str, sender: str, number: int) -> None:
        """Buffer that ``target_actor`` has handled ``sender``'s messages up to ``number``."""
        ...

    def marks(self, target_actor: str) -> dict[str, int]:
        """Give the highest handled number of each sender to ``target_actor``."""
        ...

    def put(self, actor: str, key: str, value: bytes) -> None:
        """Buffer a value under (actor, key); the newest wins."""
        ...

    def delete(self, actor: str, key: str) -> None:
        """Buffer the removal of a value. A key that isn't there is fine."""
        ...

    def get_all(self, actor: str) -> dict[str, bytes]:
        """Give all committed values of the actor."""
        ...

    def commit(self) -> None:
        """Write what is buffered as one transaction; nothing if nothing is buffered.

        Raises:
            JournalError: it could not be written. The buffer is kept, so commit can be retried.
        """
        ...

    def rollback(self) -> None:
        """Drop what is buffered; its numbers are given out again."""
        ...

    def close(self) -> None:
        """Let go of the journal. What has not been committed is dropped."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...
