"""``Checkpointer``: moves the WAL of a journal into its file on a thread of its own.

SQLite would do that within a commit, which then waits for the disk, and everything with it.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing, suppress
from pathlib import Path

from gristmill.durability.sqlite import connect
from gristmill.durability.store import JournalError


class Checkpointer:
    """Does so when it is asked to; its thread starts with the first time.

    Args:
        path: the journal's file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._asked = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None

    def ask(self) -> None:
        """Have the WAL moved soon."""
        if self._thread is None:
            name = f"gristmill-checkpoint-{self._path.stem}"
            self._thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._thread.start()
        self._asked.set()

    def close(self) -> None:
        """Wait until it has ended."""
        self._closing = True
        self._asked.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        with suppress(JournalError), closing(connect(self._path, "rw")) as database:
            while True:
                self._asked.wait()
                self._asked.clear()
                if self._closing:
                    return
                with suppress(sqlite3.Error):  # what is left is moved the next time
                    database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
