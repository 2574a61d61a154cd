"""A journal's file in SQLite: its tables, opening it, and what SQLite's errors mean.

One file a worker slot, ``<directory>/<slot>.db``, in WAL mode. The format version stands in every
file (``PRAGMA user_version``).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gristmill.durability.store import Durability, JournalError

FORMAT_VERSION = 3
_BUSY_TIMEOUT = 10.0  # seconds; a file is only ever locked for a moment, while its WAL is recovered

# Events have a rowid: long rows are cheapest at the end of a table. A snapshot replaces its actor's
# events up to its number, of whatever file.
# A primary key can't see that two ranges of numbers overlap, so a trigger does.
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE event (
    actor TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, batch BLOB NOT NULL,
    PRIMARY KEY (actor, last)
);
CREATE TABLE snapshot (
    actor TEXT PRIMARY KEY, seq INTEGER NOT NULL, kind TEXT NOT NULL, state BLOB NOT NULL
);
CREATE TRIGGER event_taken BEFORE INSERT ON event
WHEN EXISTS (SELECT 1 FROM event WHERE actor = NEW.actor AND last >= NEW.first)
    OR EXISTS (SELECT 1 FROM snapshot WHERE actor = NEW.actor AND seq >= NEW.first)
BEGIN SELECT RAISE(ABORT, 'an event with this number exists'); END;
CREATE TABLE outbox (
    target TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, batch BLOB NOT NULL,
    PRIMARY KEY (target, last)
) WITHOUT ROWID;
CREATE TABLE outbox_last (
    target TEXT PRIMARY KEY, number INTEGER NOT NULL, acknowledged INTEGER NOT NULL
) WITHOUT ROWID;
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

_DAMAGED = "the file is damaged: restore it from a backup, or move it and its -wal file away"
_NOT_WRITABLE = "check that its directory exists and that this user may write there"
_WAL_PAGES = 8000
"""Pages (4 KiB) after which the WAL is moved into the file within a commit."""
_MOST_WAL_PAGES = 64_000
"""The same where a thread does it sooner, unless the disk is too slow."""
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


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open a file as it is.

    Args:
        path: the file.
        mode: SQLite's: ``ro``, ``rw`` to write, or ``rwc`` to create it too.

    Raises:
        JournalError: it can't be opened.
    """
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    with explained(path):
        return sqlite3.connect(
            uri, uri=True, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
        )


def open_for_writing(
    path: Path, durability: Durability, *, checkpointed: bool
) -> sqlite3.Connection:
    """Open a file, with its tables, to write.

    Args:
        path: the file.
        durability: what a commit is to survive.
        checkpointed: whether somebody else moves the WAL into the file.

    Raises:
        JournalError: it is damaged, was written in another format, or can't be written.
    """
    database = connect(path, "rwc")
    try:
        version = format_version(path, database)
        with explained(path):
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(f"PRAGMA synchronous = {_SYNCHRONOUS[durability]}")
            pages = _MOST_WAL_PAGES if checkpointed else _WAL_PAGES
            database.execute(f"PRAGMA wal_autocheckpoint = {pages}")
            # Some builds of SQLite overwrite what is deleted, which writes a page for each.
            database.execute("PRAGMA secure_delete = OFF")
            if version == 0:
                database.executescript(_SCHEMA)
    except BaseException:
        database.close()
        raise
    return database


def format_version(path: Path, connection: sqlite3.Connection) -> int:
    """Give the format version of an open file, 0 for one without tables; close what is no good.

    Raises:
        JournalError: it is damaged, or was written in another format.
    """
    try:
        with explained(path):
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version not in (0, FORMAT_VERSION):
            newer = version > FORMAT_VERSION
            raise JournalError(
                f"{path} was written by {'a newer' if newer else 'an older'} gristmill (journal "
                f"format {version}, this one knows {FORMAT_VERSION}): "
                f"{'upgrade gristmill' if newer else 'move it away'}, or use another directory"
            )
    except BaseException:
        connection.close()
        raise
    return version


def damaged(path: Path, what: object) -> JournalError:
    """Make the error for a row of a file that can't be read."""
    return JournalError(f"journal {path}: {what}; {_DAMAGED}")


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours: which file, what is wrong, what to do."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte of an extended code
        remedy = _REMEDIES.get(code, "this is not expected, please report it")
        raise JournalError(f"journal {path}: {error}; {remedy}") from error
