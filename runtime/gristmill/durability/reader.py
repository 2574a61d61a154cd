"""Reading a journal: the files of all slots as one.

An actor may live on another slot in the next run, so its history is read from all files of the
directory: events by the actor's sequence number, values by the actor's stamp.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterator
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any, Self

from gristmill.durability.buffer import decode_events
from gristmill.durability.sqlite import connect, damaged, explained, format_version
from gristmill.durability.store import Record, in_sequence

Row = tuple[Any, ...]

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
        """Give the names of all actors that have events or a snapshot, sorted."""
        names = chain(self._select(_ACTORS), self._select("SELECT actor FROM snapshot"))
        return sorted({actor for (actor,) in names})

    def replay(self, actor: str) -> Iterator[Record]:
        """Give the actor's events since its last snapshot, in the order of their numbers.

        Raises:
            JournalError: the history has a gap or a number twice, or a file can't be read.
        """
        snapshot = self.last_snapshot(actor)
        after = snapshot.seq if snapshot is not None else 0
        histories = [self._events(path, actor, after) for path in self._files()]
        merged = heapq.merge(*histories, key=itemgetter(0))
        return in_sequence(merged, f"{actor!r} in {self.directory}", after)

    def last_snapshot(self, actor: str) -> Record | None:
        """Give the actor's last snapshot, with the number of the last event in it."""
        rows = self._select("SELECT seq, kind, state FROM snapshot WHERE actor = ?", actor)
        return max((Record(*row) for row in rows), key=itemgetter(0), default=None)

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

    def debtors(self) -> list[str]:
        """Give the slots that have unacknowledged messages, sorted."""
        sql = "SELECT 1 FROM outbox LIMIT 1"
        return [path.stem for path in self._files() if any(self._rows(path, sql, ()))]

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
                connection = connect(path, "ro")
                if format_version(path, connection) == 0:  # its worker is about to make the tables
                    connection.close()
                else:
                    self._readers[path] = connection
        return sorted(self._readers)

    def _events(self, path: Path, actor: str, after: int) -> Iterator[Record]:
        """Give the actor's events in one file, from about a number on."""
        sql = "SELECT first, last, batch FROM event WHERE actor = ? AND last > ? ORDER BY last"
        for row in self._rows(path, sql, (actor, after)):
            try:
                records = decode_events(*row)
            except ValueError as error:
                raise damaged(path, error) from error
            yield from records

    def _select(self, sql: str, *parameters: str) -> Iterator[Row]:
        for path in self._files():
            yield from self._rows(path, sql, parameters)

    def _rows(
        self, path: Path, sql: str, parameters: tuple[str | int | None, ...]
    ) -> Iterator[Row]:
        with explained(path):
            yield from self._readers[path].execute(sql, parameters)
