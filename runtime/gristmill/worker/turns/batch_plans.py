"""Which messages are handled in batches, and how: found by what their bodies begin with."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gristmill.behaviours.protocol import Handler
from gristmill.messages import Message, Request, tag_of
from gristmill.metrics import Governor
from gristmill.transport.codec import message_head
from gristmill.transport.envelope import TELL
from gristmill.worker.actors.cell import RECORD, Cell, Entry


class BatchPlan:
    """How one handler of an actor class gets its batches, in one worker."""

    def __init__(self, handler: Handler, head: bytes, *, governs: bool) -> None:
        batch = handler.batch
        assert batch is not None
        self.message = handler.message
        self.head = head
        """What the body of such a message begins with, behind its length: the tag."""
        self.is_asked = issubclass(handler.message, Request)
        free = batch.size == "auto"
        self.wait_ns = int(batch.wait * 1e9)
        self.governor = Governor(self.wait_ns, batch.target) if free and governs else None
        self._size = 1 if batch.size == "auto" else batch.size
        self.since = 0
        """When the governor's window began, perf_counter ns."""
        self.shared = 0
        self.handled = 0
        """What the worker had spent on no message in particular by then, and handled."""

    @property
    def size(self) -> int:
        """The most messages of one call."""
        return self._size if self.governor is None else self.governor.size

    @property
    def hold_ns(self) -> int:
        """For how long the first message waits for others."""
        return self.wait_ns if self.governor is None else self.governor.hold_ns


Plans = Mapping[bytes, BatchPlan]
"""The plans of an actor class by the head of a message's body: its tag."""


def plans_of(handlers: Mapping[type[Message], Handler], *, governs: bool) -> Plans:
    """Give the plans of an actor class; none if none of its handlers takes batches."""
    heads = {kind: msgspec.msgpack.encode(tag_of(kind)) for kind in handlers}
    return {
        heads[kind]: BatchPlan(handler, heads[kind], governs=governs)
        for kind, handler in handlers.items()
        if handler.batch is not None
    }


def plan_of(cell: Cell, entry: Entry) -> BatchPlan | None:
    """Give the plan that a message belongs to; None if its handler takes no batches."""
    if entry.message is not None:
        return cell.plans.get(msgspec.msgpack.encode(tag_of(type(entry.message))))
    is_sent = entry.kind >= 0 or entry.kind == RECORD
    return cell.plans.get(message_head(entry.body)) if is_sent else None


def is_suspect(cell: Cell, entry: Entry) -> bool:
    """Tell whether a message may have ended its actor: then it is handled alone.

    Of a batch that ended its worker only the last message is known.
    """
    if not cell.attempts or entry.kind != TELL or not entry.number:
        return False
    return any(
        source == entry.source and number >= entry.number for source, number in cell.attempts
    )
