"""Writing a journal: one slot's file, which has one writer."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path

from gristmill.durability.buffer import (
    Batch,
    Buffer,
    decode_messages,
    encode_events,
    encode_messages,
)
from gristmill.durability.checkpointer import Checkpointer
from gristmill.durability.reader import JournalReader
from gristmill.durability.sqlite import damaged, explained, open_for_writing
from gristmill.durability.store import Durability, JournalError, Record, hold

_KNOWN = 10_000
"""Names of which the last number is at hand, at most."""
_COMMITS = 1000
"""Commits after which a thread moves the WAL into the file."""
_LAST_SEQUENCE = """
SELECT max(last) FROM event WHERE actor = ?
UNION ALL SELECT seq FROM snapshot WHERE actor = ?
"""
_PENDING = """
SELECT target, acknowledged, first, last, batch FROM outbox JOIN outbox_last USING (target)
WHERE ? IS NULL OR target = ? ORDER BY target, last
"""


class SqliteStore(JournalReader):
    """One slot of the journal, open for writing. Made by ``open_store``.

    Keeps the contract of ``JournalStore``; use it on the thread that opened it.
    """

    def __init__(
        self, directory: Path, slot: str, durability: Durability, *, threaded: bool = False
    ) -> None:
        self.slot = slot
        self.path = directory / f"{slot}.db"
        self.commits = 0
        self.rows = 0
        self._buffer = Buffer()
        # The last numbers that are committed, or buffered in the case of stamps, by name.
        self._sequences: dict[str, int] = {}
        self._stamps: dict[str, int] = {}
        self._numbers: dict[str, int] = {}
        lock = hold(self.path)
        try:
            self._database = open_for_writing(self.path, durability, checkpointed=threaded)
        except BaseException:
            os.close(lock)
            raise
        self._lock: int | None = lock
        self._checkpointer = Checkpointer(self.path) if threaded else None
        super().__init__(directory)

    @property
    def dirty(self) -> bool:
        """Whether anything is buffered."""
        return bool(self._buffer)

    def declare(self, kind: str, schema_hash: str) -> None:
        """Record the schema of a kind of event at once; raise if the journal has another."""
        sql = "SELECT schema_hash FROM kind WHERE name = ?"
        for path in self._files():
            for (stored,) in self._rows(path, sql, (kind,)):
                if stored != schema_hash:
                    raise JournalError(
                        f"events of kind {kind!r} in {path} have schema {stored}, but the code has "
                        f"{schema_hash}: go back to the code that wrote them, or give the changed "
                        "type a new name"
                    )
        with self._transaction():
            self._database.execute("INSERT OR IGNORE INTO kind VALUES (?, ?)", (kind, schema_hash))

    def append(self, actor: str, kind: str, payload: bytes) -> int:
        """Buffer an event and return the actor's sequence number for it."""
        return self._events_of(actor).add((kind, payload))

    def append_all(self, actor: str, events: Sequence[tuple[str, bytes]]) -> int:
        """Buffer events, (kind, payload), and return the actor's sequence number for the first."""
        return self._events_of(actor).add_all(events)

    def _events_of(self, actor: str) -> Batch[tuple[str, bytes]]:
        batch = self._buffer.events.get(actor)
        if batch is None:
            first = self.last_sequence(actor) + 1
            batch = self._buffer.events[actor] = Batch(first)
        return batch

    def last_sequence(self, actor: str) -> int:
        """Give the actor's highest sequence number, buffered events included; 0 for none."""
        batch = self._buffer.events.get(actor)
        if batch is not None:
            return batch.last
        return self._last(self._sequences, actor, _LAST_SEQUENCE)

    def snapshot(self, actor: str, kind: str, state: bytes) -> int:
        """Buffer a state that stands for all of the actor's events so far."""
        last = self.last_sequence(actor)
        self._buffer.snapshots[actor] = Record(last, kind, state)
        return last

    def replay(self, actor: str) -> Iterator[Record]:
        """Give the actor's committed events in the order of their sequence numbers."""
        self._forget_numbers(actor)
        return super().replay(actor)

    def enqueue(self, target: str, payload: bytes) -> int:
        """Buffer an outgoing message and return its number, the next for (slot, target)."""
        return self._messages_to(target).add(payload)

    def enqueue_all(self, target: str, payloads: Sequence[bytes]) -> int:
        """Buffer outgoing messages and return the number of the first."""
        return self._messages_to(target).add_all(payloads)

    def _messages_to(self, target: str) -> Batch[bytes]:
        batch = self._buffer.outbox.get(target)
        if batch is None:
            first = self._last_number(target) + 1
            batch = self._buffer.outbox[target] = Batch(first)
        return batch

    def acknowledge(self, target: str, number: int) -> None:
        """Forget the messages enqueued so far to ``target``, up to and including ``number``."""
        number = min(number, self._last_number(target))  # what comes later is not meant
        if number > self._buffer.acknowledged.get(target, 0):
            self._buffer.acknowledged[target] = number

    def pending(self, target: str | None = None) -> Iterator[tuple[str, int, bytes]]:
        """Give this slot's unacknowledged messages, (target, number, payload), in order."""
        for name, acknowledged, *stored in self._rows(self.path, _PENDING, (target, target)):
            try:
                messages = decode_messages(*stored)
            except ValueError as error:
                raise damaged(self.path, error) from error
            for number, payload in messages:
                if number > acknowledged:
                    yield name, number, payload

    def mark(self, target_actor: str, sender: str, number: int) -> None:
        """Buffer that ``target_actor`` has handled ``sender``'s messages up to ``number``."""
        marks, key = self._buffer.marks, (target_actor, sender)
        if number > marks.get(key, 0):
            marks[key] = number

    def put(self, actor: str, key: str, value: bytes) -> None:
        """Buffer a value under (actor, key); the newest wins."""
        self._buffer.erased.discard((actor, key))
        self._buffer.values[actor, key] = (self._next_stamp(actor), value)

    def delete(self, actor: str, key: str) -> None:
        """Buffer the removal of a value. A key that isn't there is fine."""
        sql = "SELECT 1 FROM value WHERE actor = ? AND key = ?"
        others = [path for path in self._files() if path != self.path]
        if any(list(self._rows(path, sql, (actor, key))) for path in others):
            self._buffer.values[actor, key] = (self._next_stamp(actor), None)  # outdates theirs
        else:
            self._buffer.values.pop((actor, key), None)
            self._buffer.erased.add((actor, key))

    def get_all(self, actor: str) -> dict[str, bytes]:
        """Give all committed values of the actor."""
        self._forget_numbers(actor)
        return super().get_all(actor)

    def commit(self) -> None:
        """Write what is buffered as one transaction; nothing if nothing is buffered.

        Raises:
            JournalError: it could not be written. The buffer is kept, so commit can be retried.
        """
        buffer = self._buffer
        if not buffer:
            return
        with self._transaction():
            _write(buffer, self._database)
        self._sequences.update((actor, batch.last) for actor, batch in buffer.events.items())
        self._numbers.update((target, batch.last) for target, batch in buffer.outbox.items())
        self.commits += 1
        self.rows += len(buffer)
        self._buffer = Buffer()
        for known in (self._sequences, self._stamps, self._numbers):
            if len(known) > _KNOWN:
                known.clear()  # they are looked up again
        if self._checkpointer is not None and self.commits % _COMMITS == 0:
            self._checkpointer.ask()

    def rollback(self) -> None:
        """Drop what is buffered; its numbers are given out again."""
        self._buffer = Buffer()
        self._sequences.clear()
        self._numbers.clear()

    def close(self) -> None:
        """Move the WAL into the file and let go of the slot. Drops what has not been committed."""
        super().close()
        if self._lock is None:
            return
        if self._checkpointer is not None:
            self._checkpointer.close()
        try:
            with suppress(sqlite3.Error):  # on a full disk it stays in the WAL, and is read there
                self._database.execute("PRAGMA wal_checkpoint(PASSIVE)")
        finally:
            self._database.close()
            os.close(self._lock)
            self._lock = None

    def _last_number(self, target: str) -> int:
        batch = self._buffer.outbox.get(target)
        if batch is not None:
            return batch.last
        sql = "SELECT number FROM outbox_last WHERE target = ?"
        return self._last(self._numbers, target, sql, self.path)

    def _next_stamp(self, actor: str) -> int:
        sql = "SELECT max(stamp) FROM value WHERE actor = ?"
        stamp = self._stamps[actor] = self._last(self._stamps, actor, sql) + 1
        return stamp

    def _last(self, known: dict[str, int], name: str, sql: str, *paths: Path) -> int:
        """Give the last number of a name: what is known, else what the files hold, else 0."""
        last = known.get(name)
        if last is None:
            names = (name,) * sql.count("?")
            rows = (self._rows(path, sql, names) for path in paths or self._files())
            last = max((n for (n,) in chain.from_iterable(rows) if n is not None), default=0)
            known[name] = last
        return last

    def _forget_numbers(self, actor: str) -> None:
        """Look the actor's numbers up anew: it may have lived on another slot since."""
        if not self._buffer.has_numbers_of(actor):
            self._sequences.pop(actor, None)
            self._stamps.pop(actor, None)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with explained(self.path):
            try:
                self._database.execute("BEGIN IMMEDIATE")
                yield
                self._database.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # a failing disk may have rolled it back already
                    self._database.execute("ROLLBACK")
                raise


def _write(buffer: Buffer, database: sqlite3.Connection) -> None:
    """Execute everything that is buffered, within the caller's transaction."""
    if buffer.snapshots:
        sql = "REPLACE INTO snapshot VALUES (?, ?, ?, ?)"
        database.executemany(sql, [(name, *s) for name, s in buffer.snapshots.items()])
        sql = "DELETE FROM event WHERE actor = ? AND last <= ?"
        database.executemany(sql, [(name, s.seq) for name, s in buffer.snapshots.items()])
    if buffer.events:
        rows = [
            (name, b.first, b.last, encode_events(b.items))
            for name, b in _not_in_snapshots(buffer)
            if b.items
        ]
        database.executemany("INSERT INTO event VALUES (?, ?, ?, ?)", rows)
    if buffer.marks:
        database.executemany(
            "INSERT INTO mark VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET number = max(number, excluded.number)",
            [(*key, number) for key, number in buffer.marks.items()],
        )
    if buffer.outbox:
        _write_messages(buffer, database)
    if buffer.acknowledged:
        database.executemany(
            "UPDATE outbox_last SET acknowledged = max(acknowledged, ?) WHERE target = ?",
            [(number, target) for target, number in buffer.acknowledged.items()],
        )
        sql = "DELETE FROM outbox WHERE target = ? AND last <= ?"
        database.executemany(sql, buffer.acknowledged.items())
    if buffer.values:
        values = [(*key, *value) for key, value in buffer.values.items()]
        database.executemany("REPLACE INTO value VALUES (?, ?, ?, ?)", values)
    if buffer.erased:
        database.executemany("DELETE FROM value WHERE actor = ? AND key = ?", buffer.erased)


def _not_in_snapshots(buffer: Buffer) -> Iterator[tuple[str, Batch[tuple[str, bytes]]]]:
    """Give the events that no snapshot of the same commit replaces."""
    for name, batch in buffer.events.items():
        snapshot = buffer.snapshots.get(name)
        yield name, batch if snapshot is None else batch.beyond(snapshot.seq)


def _write_messages(buffer: Buffer, database: sqlite3.Connection) -> None:
    """Write the last number to each target, and the messages that are not acknowledged yet."""
    database.executemany(
        "INSERT INTO outbox_last VALUES (?, ?, 0) "
        "ON CONFLICT DO UPDATE SET number = excluded.number",
        [(target, batch.last) for target, batch in buffer.outbox.items()],
    )
    acknowledged = buffer.acknowledged
    kept = ((name, b.beyond(acknowledged.get(name, 0))) for name, b in buffer.outbox.items())
    rows = [(name, b.first, b.last, encode_messages(b.items)) for name, b in kept if b.items]
    database.executemany("INSERT INTO outbox VALUES (?, ?, ?, ?)", rows)
