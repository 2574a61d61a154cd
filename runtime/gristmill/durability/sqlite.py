"""The journal in SQLite: one file a worker slot, ``<directory>/<slot>.db``, in WAL mode.

Each file has one writer. An actor may live on another slot in the next run, so its history is read
from all files of the directory: events by the actor's sequence number, values by the actor's stamp.
The format version stands in every file (``PRAGMA user_version``).
"""

from __future__ import annotations

import heapq
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any, Self

from gristmill.durability.store import Buffer, Durability, JournalError, Record, hold, in_sequence

Row = tuple[Any, ...]
FORMAT_VERSION = 1
_BUSY_TIMEOUT = 10.0  # seconds; a file is only ever locked for a moment, while its WAL is recovered

_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE event (
    actor TEXT NOT NULL, seq INTEGER NOT NULL, kind TEXT NOT NULL, payload BLOB NOT NULL,
    PRIMARY KEY (actor, seq)
) WITHOUT ROWID;
CREATE TABLE outbox (
    target TEXT NOT NULL, number INTEGER NOT NULL, payload BLOB NOT NULL,
    PRIMARY KEY (target, number)
) WITHOUT ROWID;
CREATE TABLE outbox_last (target TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE mark (
    actor TEXT NOT NULL, sender TEXT NOT NULL, number INTEGER NOT NULL,
    PRIMARY KEY (actor, sender)
) WITHOUT ROWID;
CREATE TABLE value (
    actor TEXT NOT NULL, key TEXT NOT NULL, stamp INTEGER NOT NULL, value BLOB,
    PRIMARY KEY (actor, key)
) WITHOUT ROWID;
CREATE TABLE kind (name TEXT PRIMARY KEY, schema_hash TEXT NOT NULL) WITHOUT ROWID;
PRAGMA user_version = {FORMAT_VERSION};
COMMIT;
"""

# DISTINCT would read every event; this reads one index entry an actor.
_ACTORS = """
WITH RECURSIVE name(actor) AS (
    SELECT min(actor) FROM event
    UNION ALL
    SELECT (SELECT min(actor) FROM event WHERE actor > name.actor) FROM name
    WHERE name.actor IS NOT NULL
)
SELECT actor FROM name WHERE actor IS NOT NULL
"""

_DAMAGED = "the file is damaged: restore it from a backup, or move it and its -wal file away"
_NOT_WRITABLE = "check that its directory exists and that this user may write there"
_WAL_PAGES = 8000
"""Pages (4 KiB) after which the WAL is moved into the file, which waits for the disk."""
_SYNCHRONOUS = {"process": "NORMAL", "power": "FULL"}
_REMEDIES = {
    0: "use the store on the thread that opened it, and not after close",
    sqlite3.SQLITE_FULL: "free some space on its disk and try again; what is buffered is kept",
    sqlite3.SQLITE_READONLY: _NOT_WRITABLE,
    sqlite3.SQLITE_CANTOPEN: _NOT_WRITABLE,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_BUSY: "another process holds it; end that one and try again",
    sqlite3.SQLITE_IOERR: "check its disk and try again; what is buffered is kept",
    sqlite3.SQLITE_CONSTRAINT: "a sequence number is taken, so another incarnation of the actor "
    "has written here: roll back and replay the actor",
}


class JournalReader:
    """The committed state of all slots of a journal. Made by ``read_journal``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._readers: dict[Path, sqlite3.Connection] = {}
        try:
            self._files()
        except BaseException:
            self.close()
            raise

    def actors(self) -> list[str]:
        """Give the names of all actors that have events, sorted."""
        return sorted({actor for (actor,) in self._select(_ACTORS)})

    def replay(self, actor: str) -> Iterator[Record]:
        """Give the actor's events in the order of their sequence numbers.

        Raises:
            JournalError: the history has a gap or a number twice, or a file can't be read.
        """
        sql = "SELECT seq, kind, payload FROM event WHERE actor = ? ORDER BY seq"
        histories = [self._rows(path, sql, (actor,)) for path in self._files()]
        rows = heapq.merge(*histories, key=itemgetter(0))
        return in_sequence((Record(*row) for row in rows), f"{actor!r} in {self.directory}")

    def all_records(self) -> Iterator[tuple[str, Record]]:
        """Give all events, actor by actor."""
        for actor in self.actors():
            for record in self.replay(actor):
                yield actor, record

    def marks(self, target_actor: str) -> dict[str, int]:
        """Give the highest handled number of each sender to ``target_actor``."""
        highest: dict[str, int] = {}
        sql = "SELECT sender, number FROM mark WHERE actor = ?"
        for sender, number in self._select(sql, target_actor):
            highest[sender] = max(number, highest.get(sender, 0))
        return highest

    def get_all(self, actor: str) -> dict[str, bytes]:
        """Give all values of the actor, the newest of each key."""
        sql = "SELECT key, stamp, value FROM value WHERE actor = ?"
        rows = sorted(self._select(sql, actor), key=itemgetter(1))
        newest: dict[str, bytes | None] = {key: value for key, _, value in rows}
        return {key: value for key, value in newest.items() if value is not None}

    def close(self) -> None:
        """Close all files."""
        for connection in self._readers.values():
            connection.close()
        self._readers.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _files(self) -> list[Path]:
        """Give the files of all slots, each open for reading; slots may have come since."""
        for path in self.directory.glob("*.db"):
            if path not in self._readers:
                connection = _connect(path, "ro")
                if _version(path, connection) == 0:  # its worker is about to create the tables
                    connection.close()
                else:
                    self._readers[path] = connection
        return sorted(self._readers)

    def _select(self, sql: str, *parameters: str) -> Iterator[Row]:
        for path in self._files():
            yield from self._rows(path, sql, parameters)

    def _rows(self, path: Path, sql: str, parameters: tuple[str | None, ...]) -> Iterator[Row]:
        with _explained(path):
            yield from self._readers[path].execute(sql, parameters)


def _write(buffer: Buffer, database: sqlite3.Connection) -> None:
    """Execute everything that is buffered, within the caller's transaction."""
    if buffer.events:
        database.executemany("INSERT INTO event VALUES (?, ?, ?, ?)", buffer.events)
    if buffer.marks:
        database.executemany(
            "INSERT INTO mark VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET number = max(number, excluded.number)",
            [(*key, number) for key, number in buffer.marks.items()],
        )
    if buffer.outbox:
        handled = buffer.acknowledged
        still_open = [row for row in buffer.outbox if row[1] > handled.get(row[0], 0)]
        database.executemany("INSERT INTO outbox VALUES (?, ?, ?)", still_open)
        last = {target: number for target, number, _ in buffer.outbox}
        database.executemany("REPLACE INTO outbox_last VALUES (?, ?)", last.items())
    if buffer.acknowledged:
        sql = "DELETE FROM outbox WHERE target = ? AND number <= ?"
        database.executemany(sql, buffer.acknowledged.items())
    if buffer.values:
        rows = [(*key, *value) for key, value in buffer.values.items()]
        database.executemany("REPLACE INTO value VALUES (?, ?, ?, ?)", rows)
    if buffer.erased:
        database.executemany("DELETE FROM value WHERE actor = ? AND key = ?", buffer.erased)


class SqliteStore(JournalReader):
    """One slot of the journal, open for writing. Made by ``open_store``.

    Keeps the contract of ``JournalStore``; use it on the thread that opened it.
    """

    def __init__(self, directory: Path, slot: str, durability: Durability) -> None:
        self.slot = slot
        self.path = directory / f"{slot}.db"
        self.commits = 0
        self.rows = 0
        self._buffer = Buffer()
        self._sequences: dict[str, int] = {}
        self._stamps: dict[str, int] = {}
        self._numbers: dict[str, int] = {}
        lock = hold(self.path)
        try:
            self._database = _open_database(self.path, durability)
        except BaseException:
            os.close(lock)
            raise
        self._lock: int | None = lock
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
        last = self._sequences.get(actor)
        seq = self._sequences[actor] = (self.last_sequence(actor) if last is None else last) + 1
        self._buffer.events.append((actor, seq, kind, payload))
        return seq

    def last_sequence(self, actor: str) -> int:
        """Give the actor's highest sequence number, buffered events included; 0 for none."""
        sql = "SELECT max(seq) FROM event WHERE actor = ?"
        return self._last(self._sequences, actor, sql)

    def replay(self, actor: str) -> Iterator[Record]:
        """Give the actor's committed events in the order of their sequence numbers."""
        self._forget_numbers(actor)
        return super().replay(actor)

    def enqueue(self, target: str, payload: bytes) -> int:
        """Buffer an outgoing message and return its number, the next for (slot, target)."""
        last = self._numbers.get(target)
        number = self._numbers[target] = (self._last_number(target) if last is None else last) + 1
        self._buffer.outbox.append((target, number, payload))
        return number

    def acknowledge(self, target: str, number: int) -> None:
        """Forget the messages enqueued so far to ``target``, up to and including ``number``."""
        acknowledged = self._buffer.acknowledged
        number = min(number, self._last_number(target))  # what comes later is not meant
        acknowledged[target] = max(number, acknowledged.get(target, 0))

    def pending(self, target: str | None = None) -> Iterator[tuple[str, int, bytes]]:
        """Give this slot's unacknowledged messages, (target, number, payload), in order."""
        sql = "SELECT * FROM outbox WHERE ?1 IS NULL OR target = ?1 ORDER BY target, number"
        yield from self._rows(self.path, sql, (target,))

    def mark(self, target_actor: str, sender: str, number: int) -> None:
        """Buffer that ``target_actor`` has handled ``sender``'s messages up to ``number``."""
        marks, key = self._buffer.marks, (target_actor, sender)
        marks[key] = max(number, marks.get(key, 0))

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
        if not self._buffer:
            return
        with self._transaction():
            _write(self._buffer, self._database)
        self.commits += 1
        self.rows += len(self._buffer)
        self._buffer = Buffer()

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
        try:
            with _explained(self.path):
                self._database.execute("PRAGMA wal_checkpoint(PASSIVE)")
        finally:
            self._database.close()
            os.close(self._lock)
            self._lock = None

    def _last_number(self, target: str) -> int:
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
            rows = (self._rows(path, sql, (name,)) for path in paths or self._files())
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
        with _explained(self.path):
            try:
                self._database.execute("BEGIN IMMEDIATE")
                yield
                self._database.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # a failing disk may have rolled it back already
                    self._database.execute("ROLLBACK")
                raise


def _open_database(path: Path, durability: Durability) -> sqlite3.Connection:
    database = _connect(path, "rwc")
    try:
        version = _version(path, database)
        with _explained(path):
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(f"PRAGMA synchronous = {_SYNCHRONOUS[durability]}")
            database.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
            if version == 0:
                database.executescript(_SCHEMA)
    except BaseException:
        database.close()
        raise
    return database


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    with _explained(path):
        return sqlite3.connect(
            uri, uri=True, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
        )


def _version(path: Path, connection: sqlite3.Connection) -> int:
    """Give the format version of an open file, 0 for one without tables; close what is no good."""
    try:
        with _explained(path):
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > FORMAT_VERSION:
            raise JournalError(
                f"{path} was written by a newer gristmill (journal format {version}, this one "
                f"knows {FORMAT_VERSION}): upgrade gristmill, or use another directory"
            )
    except BaseException:
        connection.close()
        raise
    return version


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours: which file, what is wrong, what to do."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte of an extended code
        remedy = _REMEDIES.get(code, "this is not expected, please report it")
        raise JournalError(f"journal {path}: {error}; {remedy}") from error
