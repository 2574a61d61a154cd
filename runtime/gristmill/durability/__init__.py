"""Durability: the journal of events, outboxes, inbox marks and values that outlives its workers.

What opens one is in :mod:`gristmill.durability.journal`, so that only who has one loads SQLite.
"""

from gristmill.durability.store import Durability, JournalError, JournalStore, Record

__all__ = ["Durability", "JournalError", "JournalStore", "Record"]
