"""Opening a journal: a slot of it for writing, or the whole for reading."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import get_args

from gristmill.durability.reader import JournalReader
from gristmill.durability.store import Durability, JournalError
from gristmill.durability.writer import SqliteStore
from gristmill.errors import UsageError

_TAKEN = "taken://"
"""How the names begin under which a slot marks what it has taken over from others."""
_SLOT_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")

_log = logging.getLogger("gristmill.journal")


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
    """Give the names of all slots that have a file in the journal, sorted."""
    return sorted(path.stem for path in Path(directory).glob("*.db"))


def take_over(store: SqliteStore, held: Collection[str]) -> None:
    """Make messages of this slot out of what is unacknowledged in slots that nobody has any more.

    They are committed here before they are acknowledged there, and here together with a mark that
    says so: whoever dies between the two, nothing is lost, and nothing is taken over twice.

    Args:
        store: the slot that gets them.
        held: the slots that somebody has or will have; theirs stay.

    Raises:
        JournalError: a file of the journal is damaged or can't be written.
    """
    directory = store.path.parent
    for slot in store.debtors():
        if slot == store.slot or slot in held:
            continue
        try:
            left = open_store(directory, slot)
        except JournalError as error:
            _log.warning("what slot %r has not sent yet stays there: %s", slot, error)
            continue
        with left:
            _move(left, store)
            _log.info("what slot %r had not sent yet is sent from %r now", slot, store.slot)


def _move(left: SqliteStore, store: SqliteStore) -> None:
    last: dict[str, int] = {}
    for target, messages in groupby(left.pending(), itemgetter(0)):
        taken = f"{_TAKEN}{target}"
        handled = store.marks(target).get(left.slot, 0)  # its acknowledgement was lost
        done = max(handled, store.marks(taken).get(left.slot, 0))
        numbers, payloads = zip(*(message[1:] for message in messages), strict=True)
        last[target] = numbers[-1]
        store.enqueue_all(target, [p for n, p in zip(numbers, payloads, strict=True) if n > done])
        store.mark(taken, left.slot, last[target])
    store.commit()
    for target, number in last.items():
        left.acknowledge(target, number)
    left.commit()
