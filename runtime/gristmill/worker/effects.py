"""``Effects``: what a handler has decided happens when it has finished, and not if it fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gristmill.transport.envelope import TELL
from gristmill.worker.cell import RECORD, REMINDER, Cell, Entry

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore


class Effects:
    """Lets the effects of handlers happen, on behalf of a worker's core."""

    def __init__(self, core: WorkerCore) -> None:
        self._core = core

    def release(self, cell: Cell, entry: Entry) -> None:
        """Let the effects of a finished handler happen, and have its message acknowledged."""
        effects = cell.effects
        if effects:
            cell.effects = []
        for act, *arguments in effects:
            act(cell, *arguments)
        if entry.kind == REMINDER:
            self._core.reminding.handled(cell, entry)
        if effects and cell.history is not None:
            cell.history.snapshot_if_due()
        if entry.kind == RECORD:
            self._core.records.handled(cell, entry)
        elif entry.kind == TELL and entry.number:
            self._core.delivery.handled(cell, entry)

    def journal(self, cell: Cell, kind: str, payload: bytes) -> None:
        """Append an event to the journal of an actor (an effect)."""
        assert cell.history is not None
        cell.history.append(kind, payload)

    def has_persisted(self, cell: Cell) -> bool:
        """Tell whether the handler in progress has persisted an event, which waits for its end."""
        return any(act == self.journal for act, *_ in cell.effects)
