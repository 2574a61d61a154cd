"""Cancelling: a request that its asker has given up is not handled, or not to its end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gristmill.transport.envelope import ASK
from gristmill.worker import counters
from gristmill.worker.cell import Cell, Entry

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore


class Cancelling:
    """Takes back the requests of askers that wait no more, on behalf of a worker's core."""

    def __init__(self, core: WorkerCore) -> None:
        self._core = core

    def cancel(self, source: int, target: int, number: int) -> None:
        """Take a request back, given by its asker's process, its callee and its number.

        One that waits is dropped. An async handler is cancelled where it awaits; one that has
        persisted events goes on, because its actor has applied them.
        """
        cell = self._core.cells.get(target)
        if cell is None:
            return
        current = cell.current
        if current is not None and _is_this(current, source, number):
            if cell.task is not None and not self._core.sending.has_persisted(cell):
                cell.given_up = current
                cell.task.cancel()
            return
        if cell.deferred.pop((source, number), None) is not None:
            return
        for place in (cell.queue, cell.postponed):
            for entry in place:
                if _is_this(entry, source, number):
                    place.remove(entry)
                    self._drop(cell, entry)
                    return

    def settles(self, cell: Cell, entry: Entry, error: BaseException) -> bool:
        """Tell whether a handler has ended because its message was taken back, and count it."""
        if cell.given_up is not entry or not isinstance(error, asyncio.CancelledError):
            return False
        cell.given_up = None
        self._core.counters[counters.CANCELLED] += 1
        return True

    def _drop(self, cell: Cell, entry: Entry) -> None:
        self._core.counters[counters.CANCELLED] += 1
        if entry.source and not entry.paid:
            self._core.free_place(cell, entry.source)


def _is_this(entry: Entry, source: int, number: int) -> bool:
    return entry.kind == ASK and entry.number == number and entry.source == source
