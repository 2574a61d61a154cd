"""Opening a journal: a slot of it for writing, or the whole for reading."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from gristmill.durability.reader import JournalReader
from gristmill.durability.store import Durability, JournalError
from gristmill.durability.writer import SqliteStore
from gristmill.errors import UsageError

_SLOT_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


def open_store(
    directory: str | Path,
    slot: str,
    *,
    durability: Durability = "process",
    threaded: bool = False,
) -> SqliteStore:
    """Open a slot of the journal for writing, and create directory (mode 0700) and file if needed.

    Args:
        directory: the journal, a directory on a local disk, shared by all slots.
        slot: the worker slot; one process at a time may hold it.
        durability: ``"process"`` survives the death of any process; ``"power"`` adds an fsync to
            every commit and survives a power failure.
        threaded: have a thread move the WAL into the file, so that no commit waits for the disk.

    Raises:
        UsageError: the slot's name is no file name, or the durability is unknown.
        JournalError: the slot is held by another process, a file of the journal is damaged or was
            written by a newer version, or the directory can't be written.
    """
    if not _SLOT_NAME.fullmatch(slot):
        raise UsageError(f"slot {slot!r} can't name a file; use letters, digits, '.', '_' and '-'")
    if durability not in get_args(Durability):
        raise UsageError(f"durability {durability!r} is unknown; write 'process' or 'power'")
    return SqliteStore(Path(directory).absolute(), slot, durability, threaded=threaded)


def read_journal(directory: str | Path) -> JournalReader:
    """Open a whole journal for reading, whatever became of the processes that wrote it.

    Raises:
        JournalError: there is no such directory, or a file of it is damaged or of a newer version.
    """
    if not Path(directory).is_dir():
        raise JournalError(f"there is no journal at {directory}: it is no directory")
    return JournalReader(Path(directory).absolute())


def slots(directory: str | Path) -> list[str]:
    """Give the names of all slots that have a file in the journal, sorted.

    A slot that the next run doesn't have may still hold unacknowledged messages.
    """
    return sorted(path.stem for path in Path(directory).glob("*.db"))
