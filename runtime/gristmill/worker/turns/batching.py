"""Batches: what a mailbox holds of one type in a row goes to its handler in one call.

``@handles(batch=...)`` makes a handler take a list. Its actor's bursts come here instead of to the
core's: messages for batch handlers are collected, up to the size that the handler or its governor
says, decoded, handed over together, and answered in order. All other messages of such an actor are
handled one by one, as everywhere, and keep their places among them.

Where a governor finds that it pays, an actor waits for more before its turn: see ``parking``.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from gristmill.behaviours.protocol import Handler, check_reply
from gristmill.errors import GristmillError, Reject, ReplyTypeError
from gristmill.metrics import Governor, Meter, TimeClass, split
from gristmill.transport.envelope import ASK, TELL
from gristmill.worker.actors.cell import RECORD, Cell, State
from gristmill.worker.telemetry import counters
from gristmill.worker.telemetry.stamp import Spent
from gristmill.worker.turns.batch_plans import BatchPlan, plan_of
from gristmill.worker.turns.collecting import Call
from gristmill.worker.turns.eager import Suspended
from gristmill.worker.turns.failures import EXITS
from gristmill.worker.turns.metered import metered
from gristmill.worker.turns.replying import REPLY_HEAD

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore

_DESER = int(TimeClass.DESER)
_DISPATCH = int(TimeClass.DISPATCH)
_COMPUTE = int(TimeClass.COMPUTE)
_GC_USER = int(TimeClass.GC_USER)
_PROBE = int(TimeClass.PROBE)
_SER = int(TimeClass.SER)
_SHARED = tuple(map(int, (TimeClass.POLL, TimeClass.RECV, TimeClass.SEND, TimeClass.GC_COORD)))
"""What a worker spends on no message in particular."""
_RUNNING = State.RUNNING
_BURST = 64
"""Messages, at the least, that an actor handles before another gets its turn."""


class Batching:
    """Handles the messages of actors that take batches, on behalf of a worker's core."""

    def __init__(self, core: WorkerCore, meter: Meter) -> None:
        self._core = core
        self._meter = meter
        self._replied = 0
        """Bytes of the last replies."""

    # --- bursts ---

    def burst(self, cell: Cell) -> None:
        """Let an actor handle messages until it is time for another one."""
        core, handling = self._core, self._core.handling
        budget = _BURST
        handling.begin_burst(cell)
        while cell.queue and budget > 0 and not cell.busy and cell.state >= _RUNNING:
            queue = cell.queue
            plan = plan_of(cell, queue[0])
            if plan is None:
                budget -= self._handle_another(cell)
            elif plan.hold_ns and core.parking.hold(cell, plan):
                break
            else:
                budget -= self._take(cell, plan)
            if core.flush_if_due():
                break
        if cell.acknowledged:
            core.delivery.acknowledge(cell)
        handling.end_burst()

    def _handle_another(self, cell: Cell) -> int:
        """Handle what is for no batch handler; give how many messages have left the mailbox."""
        try:
            return self._core.handling.handle_some(cell, 1, 0)
        except (TypeError, ValueError) as error:  # a field of the envelope has a wrong type
            self._core.failures.malformed(cell, error)
            return 1

    def _take(self, cell: Cell, plan: BatchPlan) -> int:
        """Handle a batch; give how many messages have left the mailbox."""
        meter, core = self._meter, self._core
        stamped = not core.stamping.unstamped or not core.stamping.knows(cell, plan.message)
        if stamped and meter.paused:
            meter.resume(_DISPATCH)
        if stamped:
            core.stamping.begin_call()
        began, classes = meter.last, meter.classes
        encoded, collected = classes[_SER], classes[_GC_USER]
        taken, entries, places = core.collecting.collect(cell, plan)
        meter.switch(_DESER)
        decoded = meter.last
        call = core.collecting.decode(cell, plan, entries)
        if call is not None:
            spent = Spent(began, classes[_COMPUTE], 0, decoded - began, encoded, collected)
            self._call(call, spent, stamped)
        if meter.current != _DISPATCH:
            meter.switch(_DISPATCH)
        for source, count in places.items():  # what is in hand has its place still
            core.free_places(cell, source, count)
        if stamped:
            core.stamping.end_call(taken)
        else:
            core.stamping.pass_by(taken)
        return taken

    # --- the call ---

    def _call(self, call: Call, spent: Spent, stamped: bool) -> None:
        """Call the handler, and end the call unless it waits."""
        cell, handler, meter = call.cell, call.handler, self._meter
        cell.in_hand = call.entries
        cell.inserted = 0
        meter.switch(_COMPUTE)
        called = meter.last
        try:
            value = self._core.handling.start(cell, handler, call.messages, call.entries[-1])
        except EXITS:
            raise
        except BaseException as error:  # its actor crashes, not its worker
            self._failed(call, error)
            return
        meter.switch(_SER)
        spent = spent._replace(
            compute=meter.classes[_COMPUTE] - spent.compute,
            deser=called - spent.begun - spent.dispatch,
        )
        if type(value) is Suspended:
            self._go_on(call, value, spent, stamped)
        else:
            self._end(call, value, spent, stamped, meter.last - spent.begun)

    def _end(
        self, call: Call, value: object, spent: Spent, stamped: bool, elapsed: int | None
    ) -> None:
        """Answer a batch and let what its handler wants happen.

        ``elapsed``: ns since the call began; None if it has waited meanwhile.
        """
        cell, plan, meter = call.cell, call.plan, self._meter
        encoded = meter.last
        refused = self._answer(call, value)
        if refused is None:
            return
        meter.switch(_DISPATCH)
        finished = meter.last
        count = len(call.entries)
        self._finish(call, refused)
        stats = self._core.stamping.stats_of(cell, plan.message)
        stats.batches += 1
        stats.governor = plan.governor
        if not stamped:
            stats.messages += count
            return
        meter.switch(_DISPATCH)
        ser, after = finished - encoded, meter.last - finished
        begun = spent.begun
        meter.switch(_PROBE)
        waits = [begun - entry.arrived for entry in call.entries]
        size = sum([len(entry.body) for entry in call.entries])
        dispatch = spent.dispatch + after
        stats.record_batch(spent.compute, spent.deser, dispatch, ser, size, waits)
        stats.bytes_out += self._replied
        if elapsed is not None:
            collected = meter.classes[_GC_USER] - spent.collected
            stats.gc_ns += collected
            told = meter.classes[_SER] - spent.encoded
            self._core.stamping.share(spent.compute, spent.deser, dispatch, told, collected)
        meter.switch(_DISPATCH)
        if plan.governor is not None:
            other = spent.deser + dispatch + ser
            if elapsed is not None:  # what the handler encoded, sent and journaled itself
                other = max(other, elapsed - spent.compute - collected + ser + after)
            self._govern(call, plan.governor, spent, other, ser)

    def _answer(self, call: Call, value: object) -> int | None:
        """Reply to the asks of a batch; give how many are refused, None if replies were wrong."""
        self._replied = 0
        if not call.plan.is_asked:
            return 0
        cell, entries = call.cell, call.entries
        core, encode, refused = self._core, self._core.codec.encode, 0
        try:
            replies = _checked(cell, call.handler, value, len(entries))
            bodies = [None if isinstance(reply, Reject) else encode(reply) for reply in replies]
        except GristmillError as error:
            self._failed(call, error)
            return None
        self._replied = sum([len(body) for body in bodies if body is not None])
        source, way = -1, None
        for entry, reply, body in zip(entries, replies, bodies, strict=True):
            if entry.source != source:
                source = entry.source
                way = core.replying.way_for_replies(source)
            if body is None:
                refused += 1
                core.failures.answer(entry, reply)
            elif way is not None and type(body) is bytes:
                way(REPLY_HEAD, entry.number, body)
            else:
                core.replying.reply(source, entry.number, body)
        return refused

    def _finish(self, call: Call, refused: int) -> None:
        cell, core = call.cell, self._core
        self._release(call)
        core.effects.end_burst(cell)
        core.counters[counters.REJECTED] += refused
        core.counters[counters.HANDLED] += len(call.entries) - refused
        cell.in_hand = []
        if cell.stop_reason is not None and cell.state is _RUNNING:
            core.lifecycle.end(cell, cell.stop_reason)

    def _release(self, call: Call) -> None:
        """Let the handler's effects happen, and have what is numbered acknowledged."""
        effects, cell = self._core.effects, call.cell
        if not call.plan.is_asked:
            numbered = {e.source: e for e in call.entries if e.kind == TELL and e.number}
            records = [e for e in call.entries if e.kind == RECORD]
            # the last one of a sender speaks for those before it
            for entry in (*records, *numbered.values()):
                effects.hold(cell, entry)
        effects.release_all(cell)

    def _failed(self, call: Call, error: BaseException) -> None:
        """The handler has raised: a refusal is one of all messages, else the incarnation ends."""
        core, cell = self._core, call.cell
        self._meter.switch(_DISPATCH)
        persisted = core.effects.has_persisted(cell)
        cell.effects = []
        cell.in_hand = []
        name = call.plan.message.__qualname__
        if isinstance(error, Reject):
            core.counters[counters.REJECTED] += len(call.entries)
            for entry in call.entries:
                if entry.kind == ASK:
                    core.failures.answer(entry, error)
            self._release(call)
            if persisted:
                core.failures.undo(cell, name, error)
            return
        core.failures.crashed(cell, call.entries, name, error, persisted=persisted)

    # --- handlers that wait ---

    def _go_on(self, call: Call, suspended: Suspended, spent: Spent, stamped: bool) -> None:
        waiting = self._core.waiting
        count = len(call.entries)
        work = waiting.suspend(call.cell, call.handler, suspended, count)
        waiting.go_on(call.cell, suspended, self._rest(call, work, spent, stamped), count)

    async def _rest(self, call: Call, work: metered, spent: Spent, stamped: bool) -> None:
        """Await the rest of a handler; its actor takes no other message meanwhile."""
        cell, task = call.cell, asyncio.current_task()
        try:
            value = await work
        except (*EXITS, GeneratorExit):  # or its coroutine is closed
            raise
        except BaseException as error:
            if cell.task is not task:  # its incarnation has ended
                raise
            self._failed(call, error)
        else:
            self._meter.switch(_SER)
            if cell.task is task:
                spent = spent._replace(compute=spent.compute + work.compute_ns)
                self._end(call, value, spent, stamped, None)
                stats = self._core.stamping.stats_of(cell, call.plan.message)
                stats.ask_wait_ns += cell.asked_ns
                self._meter.switch(_DISPATCH)
        finally:
            self._core.waiting.resumed(cell, task)

    # --- the governor ---

    def _govern(
        self, call: Call, governor: Governor, spent: Spent, coordination: int, ser: int
    ) -> None:
        """Tell the governor of a call, and let it decide when it has seen enough."""
        cell, plan = call.cell, call.plan
        if governor.called(
            len(call.entries),
            spent.compute,
            coordination,
            spent.deser + ser,
            left=len(cell.queue),
            room=cell.mailbox.capacity,
        ):
            meter = self._meter
            classes = split(meter.classes, meter.shares)
            stats = self._core.stamping.stats.values()
            # What it dispatched beside the handling of messages is to take frames in.
            taking_in = classes[_DISPATCH] - sum(each.all_dispatch_ns for each in stats)
            shared = sum(classes[each] for each in _SHARED) + max(0, taking_in)
            handled = self._core.counters[counters.HANDLED]
            part = governor.count / max(handled - plan.handled, governor.count)
            now = meter.clock()
            # Up to the first decision, all that the worker has done so far is no measure.
            since = plan.since or spent.begun
            before = plan.shared if plan.since else shared
            governor.decide(max(0, int((shared - before) * part)), now - since)
            plan.since, plan.shared, plan.handled = now, shared, handled


def _checked(cell: Cell, handler: Handler, value: object, count: int) -> list[Any]:
    """Give the replies of a batch.

    Raises:
        ReplyTypeError: they are no list, not as many as the messages, or one has a wrong type.
    """
    where = f"{type(cell.actor).__qualname__}.{handler.name}"
    if not isinstance(value, list):
        raise ReplyTypeError(
            f"{where} answered a batch of {handler.message.__qualname__} with a "
            f"{type(value).__qualname__}; it returns a list with a reply for each"
        )
    if len(value) != count:
        raise ReplyTypeError(
            f"{where} answered {count} {handler.message.__qualname__} with {len(value)} replies; "
            "it returns one for each, in order"
        )
    for place, reply in enumerate(value):
        if type(reply) is handler.reply_class or isinstance(reply, Reject):
            continue
        wrong = check_reply(handler, type(cell.actor), reply)
        if wrong:
            raise ReplyTypeError(f"{wrong} (reply {place} of {count})")
    return value
