"""Reminders: messages to oneself that are due at a time, and that a journal keeps until then."""

from __future__ import annotations

import math

import msgspec

from gristmill.errors import UsageError


class ReminderSet(msgspec.Struct, frozen=True, array_like=True, tag="gristmill:ReminderSet"):
    """The record of a reminder, for a journal."""

    name: str
    number: int
    """Tells it from earlier ones of the same name."""
    due_at: float
    """Seconds since 1970."""
    body: bytes
    """The message, encoded."""


class ReminderEnded(msgspec.Struct, frozen=True, array_like=True, tag="gristmill:ReminderEnded"):
    """The record of a reminder that was handled, replaced or cancelled."""

    number: int


ReminderRecord = ReminderSet | ReminderEnded


class ReminderTable:
    """The reminders of one owner that are not yet handled, one for each name.

    Its methods give records; a durable owner journals them in the transaction of what they belong
    to, and hands them to :meth:`apply` when it is replayed.
    """

    def __init__(self) -> None:
        self._by_name: dict[str, ReminderSet] = {}
        self._by_number: dict[int, ReminderSet] = {}
        self._next = 1

    def set(self, name: str, delay: float, body: bytes, now: float) -> ReminderSet:
        """Have a reminder due in ``delay`` seconds, in place of one with this name.

        Raises:
            UsageError: the name is empty, or the delay is no number of seconds from 0 on.
        """
        if not name:
            raise UsageError("a reminder needs a name, by which it can be replaced and cancelled")
        if not isinstance(delay, int | float) or not 0 <= delay < math.inf:
            raise UsageError(f"reminder {name!r}: the delay is {delay!r}; write seconds from 0 on")
        record = ReminderSet(name, self._next, now + delay, body)
        self.apply(record)
        return record

    def end(self, number: int) -> ReminderEnded | None:
        """End the reminder with this number; None if it has ended before."""
        if number not in self._by_number:
            return None
        record = ReminderEnded(number)
        self.apply(record)
        return record

    def find(self, name: str) -> ReminderSet | None:
        """Give the reminder of this name."""
        return self._by_name.get(name)

    def waits(self, number: int) -> bool:
        """Tell whether the reminder with this number has not ended."""
        return number in self._by_number

    def apply(self, record: ReminderRecord) -> None:
        """Take in a record, live or from a journal."""
        if isinstance(record, ReminderEnded):
            ended = self._by_number.pop(record.number, None)
            if ended is not None and self._by_name.get(ended.name) == ended:
                del self._by_name[ended.name]
            return
        before = self._by_name.get(record.name)
        if before is not None:
            del self._by_number[before.number]
        self._by_name[record.name] = self._by_number[record.number] = record
        self._next = max(self._next, record.number + 1)

    def records(self) -> tuple[ReminderSet, ...]:
        """Give all reminders that have not ended, the earliest first."""
        return tuple(sorted(self._by_name.values(), key=lambda each: each.due_at))
