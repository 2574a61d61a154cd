"""``Showing``: lets the activity say whose code runs in this worker now, and on which message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gristmill.behaviours.protocol import Handler
from gristmill.metrics import Meter
from gristmill.transport.envelope import ASK, TELL
from gristmill.worker.actors.cell import Cell, Entry
from gristmill.worker.telemetry.activity import (
    ACTOR,
    ASKED,
    MESSAGE,
    NUMBER,
    RETRIED,
    SINCE,
    SOURCE,
    START,
    TOLD,
    Activity,
)

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore

LOOK_AGAIN = object()
"""What is no handler, so that the activity is shown anew with the next message: one of
at-least-once delivery, of which it says which it is, or one behind such a message."""


class Showing:
    """Writes the activity of a worker, on behalf of its core."""

    def __init__(self, core: WorkerCore, meter: Meter, activity: Activity) -> None:
        self._core = core
        self._meter = meter
        self.activity = activity
        self.cells = activity.cells
        self.cells[MESSAGE] = START
        self.in_hand: object = None
        """The handler that the activity shows; None for the start of an actor."""

    def enter(self, cell: Cell, handler: Handler | None) -> None:
        """From now on an actor's code runs, and sends as it: a handler, or its start (None)."""
        self._core.sending.origin = cell
        entry = cell.in_hand[-1] if cell.plans and cell.in_hand else cell.current
        journaled = entry is not None and entry.kind == TELL and entry.number
        if journaled or handler is not self.in_hand:
            self.show(handler, entry)
        self.cells[SINCE] = self._meter.last
        self.cells[ACTOR] = cell.key

    def leave(self) -> None:
        """From now on no actor's code runs."""
        self._core.sending.origin = None
        self.cells[ACTOR] = 0

    def show(self, handler: Handler | None, entry: Entry | None) -> None:
        """Let the activity say what kind of message is in hand from now on.

        Which one it is too, if it is one that is tried again when this worker dies.
        """
        self.in_hand = handler
        cells = self.cells
        cells[RETRIED] = 0
        if handler is None:
            cells[MESSAGE] = START
            return
        cells[MESSAGE] = self.activity.number(handler.message.__qualname__)
        if entry is None:
            return
        if entry.kind == ASK and handler.retried:
            kind = ASKED
        elif entry.kind == TELL and entry.number:
            kind = TOLD
        else:
            return
        cells[SOURCE], cells[NUMBER], cells[RETRIED] = entry.source, entry.number, kind
        self.in_hand = LOOK_AGAIN

    def journaled_is_done(self) -> None:
        """A message of at-least-once delivery has been dealt with: what may kill now is not it."""
        self.cells[RETRIED] = 0
