"""Cancelling: a request that its asker has given up is not handled, or not to its end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gristmill.transport.envelope import ASK
from gristmill.worker.actors.cell import Cell, Entry
from gristmill.worker.telemetry import counters

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore


class Cancelling:
    """Takes back the requests of askers that wait no more, on behalf of a worker's core."""

    def __init__(self, core: WorkerCore) -> None:
        self._core = core

    def cancel(self, source: int, target: int, numbers: list[int]) -> None:
        """Take requests back, given by their asker's process, their callee and their numbers.

        One that waits is dropped. An async handler is cancelled where it awaits; one that has
        persisted events goes on, because its actor has applied them.
        """
        cell = self._core.cells.get(target)
        if cell is None:
            return
        taken = set(numbers)

        def is_taken(entry: Entry) -> bool:
            return entry.kind == ASK and entry.source == source and entry.number in taken

        current = cell.current
        persisted = self._core.effects.has_persisted(cell)
        task = cell.task
        if current is not None and is_taken(current) and task is not None and not persisted:
            cell.given_up = current
            # behind the first step of a task that has just been made: one that has not begun ends
            # without a word to the handler
            task.get_loop().call_soon(task.cancel)
        for number in numbers:
            cell.deferred.pop((source, number), None)
        for place in (cell.queue, cell.postponed):
            for entry in [each for each in place if is_taken(each)]:
                place.remove(entry)
                self._drop(cell, entry)

    def settles(self, cell: Cell, entry: Entry, error: BaseException) -> bool:
        """Tell whether a handler has ended because its message was taken back, and count it."""
        if cell.given_up is not entry or not isinstance(error, asyncio.CancelledError):
            return False
        cell.given_up = None
        self._core.counters[counters.CANCELLED] += 1
        return True

    def _drop(self, cell: Cell, entry: Entry) -> None:
        self._core.counters[counters.CANCELLED] += 1
        if entry.holds_place:
            self._core.free_places(cell, entry.source, 1)
