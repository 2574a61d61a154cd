"""A worker that records its single messages: the parts of its core that do, in place of the others.

Every message is stamped here, and each call of a handler becomes a slice, which begins and ends
with a stretch of the meter, so that it encloses those between whole. Without a trace none of this
is there: what is recorded costs nothing where nothing is.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple, Self

import msgspec

from gristmill.behaviours.protocol import Handler
from gristmill.config import ChannelConfig
from gristmill.durability import JournalStore
from gristmill.messages import Message
from gristmill.metrics import Meter
from gristmill.metrics.tracing import Backlog, MessageId, ProcessTrace, Recorder, Slice, TracedMeter
from gristmill.transport import control as c
from gristmill.transport.envelope import ASK, EVENT, MARK, TELL, Envelope
from gristmill.transport.marked import MarkedOutbound
from gristmill.transport.outbound import NewOutbound, Outbound
from gristmill.worker.actors.cell import Cell, Entry
from gristmill.worker.config import WorkerConfig
from gristmill.worker.core import IN_MEMORY, WorkerCore
from gristmill.worker.messaging.intake import Intake
from gristmill.worker.shell import Shell
from gristmill.worker.telemetry.activity import Activity
from gristmill.worker.telemetry.showing import Showing
from gristmill.worker.telemetry.stamp import Spent
from gristmill.worker.telemetry.stamping import Stamping
from gristmill.worker.turns.batch_plans import BatchPlan
from gristmill.worker.turns.batching import Batching
from gristmill.worker.turns.collecting import Call
from gristmill.worker.turns.handling import Handling
from gristmill.worker.turns.waiting import Waiting

_COUNT_EVERY_NS: Final = 1_000_000
"""Between two countings of what waits, within a turn."""


class MarkedEntry(Entry, frozen=True, eq=False, gc=False):
    """A message in a mailbox that has no number of its own, with that in the trace."""

    origin: int = 0
    """The process that has sent it; a channel's event has no source."""
    mark: int = 0


def _marked(entry: Entry, origin: int, mark: int) -> MarkedEntry:
    return MarkedEntry(**msgspec.structs.asdict(entry), origin=origin, mark=mark)


def _ids(entries: Sequence[Entry]) -> tuple[MessageId, ...]:
    return tuple(
        (entry.origin, entry.mark)
        if isinstance(entry, MarkedEntry)
        else (entry.source, entry.number)
        for entry in entries
        if entry.kind == ASK or isinstance(entry, MarkedEntry)
    )


class TracedCore(WorkerCore):
    """The core of a worker that records its messages, on the recorder of its meter."""

    def __init__(
        self,
        shell: Shell,
        meter: TracedMeter,
        store: JournalStore | None = None,
        channels: ChannelConfig = IN_MEMORY,
        activity: Activity | None = None,
        *,
        governs: bool = True,
    ) -> None:
        super().__init__(shell, meter, store, channels, activity, governs=governs)
        self._meter = meter
        self._recorder = meter.recorder
        self._counted_at = 0
        self._counted = 0
        self._marked_intake = _MarkedIntake(self)
        self.inlet = self.intake = self._marked_intake
        self.stamping = _AlwaysStamping(self, meter)
        self.showing = _TracedShowing(self, meter, self.showing.activity)
        self.waiting = Waiting(self, meter)
        self.handling = _TracedHandling(self, meter)
        self.batching = _TracedBatching(self, meter)

    # --- mailboxes ---

    def deliver(self, target: int, entries: list[Entry]) -> None:
        """Put messages into a mailbox; those of an actor of this worker are sent by that."""
        first = entries[0]
        if first.source == self.shell.address:
            if first.kind == ASK:
                self._recorder.sent(first.number, len(entries))
            else:
                entries = [self._sent_here(entry) for entry in entries]
        elif first.kind == TELL:
            mark = self._marked_intake.marks.pop(first.source, 0)
            if mark:
                entries[0] = _marked(first, first.source, mark)
        super().deliver(target, entries)

    def deliver_event(self, target: int, entry: Entry) -> None:
        """Give a channel's event to a subscriber."""
        event = self._marked_intake.event
        if event is None:
            entry = self._sent_here(entry)
        elif event[1]:
            entry = _marked(entry, *event)
        super().deliver_event(target, entry)

    def _sent_here(self, entry: Entry) -> MarkedEntry:
        mark = self._recorder.number()
        self._recorder.sent(mark)
        return _marked(entry, self.shell.address, mark)

    # --- the turn ---

    def turn(self) -> None:
        """Handle what the mailboxes hold, and send what comes of it."""
        self._count()
        super().turn()
        self._count()

    def _burst(self, cell: Cell) -> None:
        if self._meter.last - self._counted_at > _COUNT_EVERY_NS:
            self._count()
        super()._burst(cell)

    def _count(self) -> None:
        """Record how many messages wait for actors that can take them."""
        waiting = sum(len(cell.queue) for cell in self.ready)
        self._counted_at = self._meter.last
        if waiting != self._counted:
            self._counted = waiting
            self._recorder.add(Backlog(self._recorder.clock(), waiting))

    # --- the trace ---

    def report_trace(self, number: int, begin: int) -> None:
        """Give what was recorded since ``begin`` to the supervisor process."""
        self._meter.mark()
        shell = self.shell
        records, dropped = self._recorder.since(begin)
        trace = ProcessTrace(shell.name, "worker", shell.pid, shell.address, records, dropped)
        shell.control(c.Trace(number, msgspec.msgpack.encode(trace)))


class Parts(NamedTuple):
    """What a worker process is made of, that is another one if it records its messages."""

    meter: Meter
    outbound: NewOutbound
    core: type[WorkerCore]

    @classmethod
    def of(cls, config: WorkerConfig, probe_ns: int) -> Self:
        """Make the meter, and choose the others; ``probe_ns``: what a switch costs."""
        if not config.trace:
            return cls(Meter(start_ns=config.asked_ns, probe_ns=probe_ns), Outbound, WorkerCore)
        recorder = Recorder(config.incarnation)
        meter = TracedMeter(recorder, start_ns=config.asked_ns, probe_ns=probe_ns)
        return cls(meter, partial(MarkedOutbound, recorder), TracedCore)


class _MarkedIntake(Intake):
    """Takes in the marks by which messages are known in the records of who sent them."""

    def __init__(self, core: WorkerCore) -> None:
        super().__init__(core)
        self.marks: dict[int, int] = {}
        """The marks of messages that are still to come, by sending process."""
        self.event: MessageId | None = None
        """Which event is being taken in."""

    def _on_other(self, envelope: Envelope, header: Envelope, arrived: int) -> None:
        if envelope[0] == MARK:
            self.marks[header[1]] = envelope[1]
            return
        if envelope[0] == EVENT:
            self.event = header[1], self.marks.pop(header[1], 0)
        try:
            super()._on_other(envelope, header, arrived)
        finally:
            self.event = None


class _AlwaysStamping(Stamping):
    """Stamps every message, whatever that costs."""

    def adapt(self) -> None:
        """Begin to count anew."""
        super().adapt()
        self.sampling.n = 1


class _TracedShowing(Showing):
    """Makes a slice of each start of an actor, and of each step of a handler that has waited."""

    def __init__(self, core: WorkerCore, meter: TracedMeter, activity: Activity) -> None:
        super().__init__(core, meter, activity)
        self._traced = meter
        self._what = ""
        self._begun = 0

    def enter(self, cell: Cell, handler: Handler | None) -> None:
        """From now on an actor's code runs."""
        super().enter(cell, handler)
        name = handler.message.__qualname__ if handler is not None else "start"
        self._what = f"{cell.type_name}.{name}"
        self._begun = self._traced.mark()

    def leave(self) -> None:
        """From now on no actor's code runs."""
        super().leave()
        if self._what:
            self._traced.recorder.add(Slice(self._begun, self._traced.mark(), self._what))
            self._what = ""


class _TracedHandling(Handling):
    """Makes a slice of each message."""

    def __init__(self, core: WorkerCore, meter: TracedMeter) -> None:
        super().__init__(core, meter)
        self._traced = meter
        self._name = ""

    def _handler_of(self, cell: Cell, entry: Entry, message: Message) -> Handler | None:
        self._name = type(message).__qualname__
        return super()._handler_of(cell, entry, message)

    def handle_some(self, cell: Cell, most: int, due: int) -> int:  # noqa: ARG002 - one by one
        """Handle the next message."""
        meter, entry = self._traced, cell.queue[0]
        self._name = ""
        begun = meter.mark()
        taken = super().handle_some(cell, 1, due)
        if self._name:
            what = f"{cell.type_name}.{self._name}"
            waited = begun - entry.arrived
            meter.recorder.add(Slice(begun, meter.mark(), what, of=_ids((entry,)), waited=waited))
        return taken


class _TracedBatching(Batching):
    """Makes a slice of each call of a batch handler."""

    def __init__(self, core: WorkerCore, meter: TracedMeter) -> None:
        super().__init__(core, meter)
        self._traced = meter
        self._called: list[Entry] = []

    def _call(self, call: Call, spent: Spent, stamped: bool) -> None:
        self._called = call.entries
        super()._call(call, spent, stamped)

    def _take(self, cell: Cell, plan: BatchPlan) -> int:
        meter = self._traced
        self._called = []
        begun = meter.mark()
        taken = super()._take(cell, plan)
        end = meter.mark()
        if self._called:
            what = f"{cell.type_name}.{plan.message.__qualname__}"
            waited = begun - self._called[0].arrived
            meter.recorder.add(Slice(begun, end, what, of=_ids(self._called), waited=waited))
        return taken
