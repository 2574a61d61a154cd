"""``Collecting``: what a mailbox holds for a batch handler in a row, taken out and decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from gristmill.behaviours.protocol import Handler
from gristmill.errors import GristmillError
from gristmill.messages import Message
from gristmill.transport.envelope import TELL
from gristmill.worker.actors.cell import Cell, Entry
from gristmill.worker.turns.batch_plans import BatchPlan, is_suspect, plan_of

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore


class Call(NamedTuple):
    """One call of a batch handler."""

    cell: Cell
    plan: BatchPlan
    handler: Handler
    entries: list[Entry]
    messages: list[Message]


class Collecting:
    """Collects the messages of batches, on behalf of a worker's core."""

    def __init__(self, core: WorkerCore) -> None:
        self._core = core

    def collect(self, cell: Cell, plan: BatchPlan) -> tuple[int, list[Entry], dict[int, int]]:
        """Take what the mailbox holds for a handler in a row.

        A message that was in hand at a crash is handled alone, so that the poison of a batch is
        found.

        Returns:
            How many messages were taken, those that are to be handled, and how many places each
            sending process gets back.
        """
        queue, size, head, now = cell.queue, plan.size, plan.head, self._core.shell.now()
        suspects = bool(cell.attempts)
        entries: list[Entry] = []
        seen: dict[int, int] = {}
        places: dict[int, int] = {}
        taken = source = held = 0
        while queue and len(entries) < size:
            entry = queue[0]
            alone = entry.kind < 0 or (suspects and is_suspect(cell, entry))
            if taken and (
                alone
                or entry.message is not None
                or not (entry.body.startswith(head, 1) or plan_of(cell, entry) is plan)
            ):
                break
            queue.popleft()
            taken += 1
            ordinary = entry.holds_place
            if ordinary:
                if entry.source != source:
                    if held:
                        places[source] = places.get(source, 0) + held
                    source, held = entry.source, 0
                held += 1
                ordinary = not entry.deadline or entry.deadline > now
            if ordinary or self._is_due(cell, entry, seen):
                entries.append(entry)
            if alone:
                break
        if held:
            places[source] = places.get(source, 0) + held
        return taken, entries, places

    def _is_due(self, cell: Cell, entry: Entry, seen: dict[int, int]) -> bool:
        """Tell whether a message is to be handled.

        ``seen``: the highest at-least-once number of the batch, by sending process.
        """
        try:
            due = self._core.admit(cell, entry, seen.get(entry.source, 0))
        except (TypeError, ValueError) as error:  # a field of the envelope has a wrong type
            self._core.failures.malformed(cell, error)
            return False
        if due and cell.durable and entry.kind == TELL and entry.number:
            seen[entry.source] = entry.number
        return due

    def decode(self, cell: Cell, plan: BatchPlan, entries: list[Entry]) -> Call | None:
        """Decode a batch; refuse those alone that are malformed. None if none is left."""
        if not entries:
            return None
        handler = cell.handlers.get(plan.message)  # looking it up ends an idle timeout
        assert handler is not None
        decode = cell.decode
        try:
            return Call(cell, plan, handler, entries, [decode(entry.body) for entry in entries])
        except Exception:
            return self._decode_each(cell, plan, handler, entries)

    def _decode_each(
        self, cell: Cell, plan: BatchPlan, handler: Handler, entries: list[Entry]
    ) -> Call | None:
        failures = self._core.failures
        messages: list[Message] = []
        kept = []
        for entry in entries:
            try:
                message = cell.decode(entry.body) if entry.message is None else entry.message
            except (msgspec.MsgspecError, GristmillError, RecursionError) as error:
                failures.undecodable(cell, entry, error)
            except (TypeError, ValueError) as error:
                failures.malformed(cell, error)
            else:
                messages.append(message)
                kept.append(entry)
        return Call(cell, plan, handler, kept, messages) if messages else None
