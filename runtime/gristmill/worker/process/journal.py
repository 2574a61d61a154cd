"""Opening a worker's slot of the journal."""

from __future__ import annotations

from gristmill.durability import JournalStore
from gristmill.durability.journal import open_store, take_over
from gristmill.worker.config import WorkerConfig


def open_slot(config: WorkerConfig, *, threaded: bool) -> JournalStore:
    """Open a worker's slot of the journal, and take over what it is to.

    Raises:
        JournalError: it can't be opened or written.
    """
    store = open_store(config.journal, config.name, durability=config.durability, threaded=threaded)
    if config.journal_slots:
        take_over(store, config.journal_slots)
    return store
