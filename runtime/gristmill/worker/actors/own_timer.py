"""``OwnTimer``: a message that an actor sends to itself, due later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gristmill.behaviours.actor_host import Timer
from gristmill.messages import Command, Event
from gristmill.worker.actors.cell import TIMER, Cell, Entry
from gristmill.worker.telemetry import counters

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore


class OwnTimer:
    """A message to oneself that is due later."""

    __slots__ = ("_cell", "_core", "_entry", "_message", "_timer")

    def __init__(self, core: WorkerCore, cell: Cell, message: Command | Event) -> None:
        self._core = core
        self._cell = cell
        self._message = message
        self._timer: Timer | None = None
        self._entry: Entry | None = None

    def arm(self, delay: float) -> None:
        """Let it be due in ``delay`` seconds; at once for 0."""
        if delay == 0:
            self._fire()
            return
        self._timer = self._core.shell.call_later(delay, self._fire)
        self._cell.own("timers").add(self)

    def _fire(self) -> None:
        self._cell.timers.discard(self)
        now = self._core.meter.last
        self._entry = Entry(TIMER, 0, self._cell.key, 0, 0.0, b"", self._message, now)
        self._core.counters[counters.SENT] += 1
        self._core.deliver(self._cell.key, [self._entry])

    def cancel(self) -> bool:
        """Stop it, even if its message waits in the mailbox; give whether that came in time."""
        if self in self._cell.timers:
            self._cell.timers.discard(self)
            if self._timer is not None:
                self._timer.cancel()
            return True
        for place, entry in enumerate(self._cell.queue):
            if entry is self._entry:
                del self._cell.queue[place]
                self._core.counters[counters.ENDED] += 1
                return True
        return False
