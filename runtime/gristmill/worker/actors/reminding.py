"""``Reminding``: the reminders of a worker's actors, from their timers to their handling.

A reminder is ended in the commit of its handling, so it is handled at least once, and once by a
handler that does all it does in that commit. One that its actor crashes with is tried again by the
next incarnation, until it has been tried ``POISON_LIMIT`` times.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import partial
from typing import TYPE_CHECKING

from gristmill.death import POISON_LIMIT
from gristmill.facets.reminders import ReminderEnded, ReminderSet
from gristmill.importing import import_path
from gristmill.worker.actors.cell import REMINDER, Cell, Entry
from gristmill.worker.telemetry import counters

if TYPE_CHECKING:
    from gristmill.behaviours.actor_host import Timer
    from gristmill.behaviours.facet_set import RemindersFacet
    from gristmill.worker.core import WorkerCore


class Reminding:
    """Arms reminders, and decides what becomes of each that is due."""

    def __init__(self, core: WorkerCore) -> None:
        self._core = core
        self._armed: defaultdict[int, dict[int, _Armed]] = defaultdict(dict)
        """The timers of each actor, by reminder."""
        self._crashes: defaultdict[int, Counter[int]] = defaultdict(Counter)
        """How often each actor has crashed with each of its reminders."""

    def arm_all(self, cell: Cell) -> None:
        """Arm what a new incarnation has found in its journal."""
        for reminder in _facet(cell).table.records():
            self.arm(cell, reminder)

    def arm(self, cell: Cell, reminder: ReminderSet) -> None:
        """Put a reminder into its actor's mailbox when it is due (an effect)."""
        delay = max(0.0, reminder.due_at - self._core.shell.wall_time())
        armed = self._armed[cell.key][reminder.number] = _Armed()
        armed.timer = self._core.shell.call_later(delay, partial(self._due, cell, reminder, armed))
        cell.own("timers").add(armed)

    def disarm(self, cell: Cell, number: int) -> None:
        """Cancel the timer of a reminder that was cancelled or replaced (an effect)."""
        armed = self._armed[cell.key].pop(number, None)
        if armed is not None:
            armed.cancel()
            cell.timers.discard(armed)

    def _due(self, cell: Cell, reminder: ReminderSet, armed: _Armed) -> None:
        cell.timers.discard(armed)
        del self._armed[cell.key][reminder.number]
        now = self._core.meter.last
        entry = Entry(REMINDER, 0, cell.key, reminder.number, 0.0, reminder.body, None, now)
        self._core.counters[counters.SENT] += 1
        self._core.deliver(cell.key, [entry])

    def admit(self, cell: Cell, entry: Entry) -> bool:
        """Let a reminder be handled, unless it was replaced or cancelled meanwhile."""
        waits = _facet(cell).table.waits(entry.number)
        if not waits:
            self._core.counters[counters.ENDED] += 1
        return waits

    def handled(self, cell: Cell, entry: Entry) -> None:
        """End a reminder in the commit of its handling."""
        self._crashes[cell.key].pop(entry.number, None)
        self._end(cell, entry.number)

    def is_tried_again(self, cell: Cell, entry: Entry) -> bool:
        """Tell whether the reminder that an actor has crashed with is tried again; arm it then."""
        crashes = self._crashes[cell.key]
        crashes[entry.number] += 1
        if crashes[entry.number] < POISON_LIMIT:
            self._core.counters[counters.ENDED] += 1
            for reminder in _facet(cell).table.records():
                if reminder.number == entry.number:
                    self.arm(cell, reminder)
            return True
        del crashes[entry.number]
        self._end(cell, entry.number)
        return False

    def forget(self, key: int) -> None:
        """An actor has stopped for good."""
        self._armed.pop(key, None)
        self._crashes.pop(key, None)

    def _end(self, cell: Cell, number: int) -> None:
        record = _facet(cell).table.end(number)
        if record is not None:
            payload = self._core.codec.encode_in_band(record)
            assert cell.history is not None
            cell.history.append([(_ENDED, payload)])


_ENDED = import_path(ReminderEnded)


def _facet(cell: Cell) -> RemindersFacet:
    assert cell.context is not None
    return cell.context.facets.reminders


class _Armed:
    """A reminder's timer, as one of its cell."""

    timer: Timer

    def cancel(self) -> bool:
        """Stop it; its reminder stays in the journal."""
        return self.timer.cancel()
