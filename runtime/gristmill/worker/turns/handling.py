"""One message and its handler: decode, call, answer, account.

A synchronous handler runs straight from here. So does an async one up to its first real wait; only
then it becomes a task, and its actor takes no other message until it has finished.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from gristmill.behaviours.context import DEFERRED
from gristmill.behaviours.protocol import Handler, check_reply
from gristmill.errors import GristmillError, ReplyTypeError
from gristmill.messages import Message
from gristmill.metrics import Meter, TimeClass
from gristmill.transport.envelope import ASK
from gristmill.transport.outbound import Head
from gristmill.worker.actors.cell import Cell, Entry, State
from gristmill.worker.telemetry import counters
from gristmill.worker.telemetry.activity import ACTOR, SINCE
from gristmill.worker.telemetry.stamp import Spent, Stamp
from gristmill.worker.turns.eager import Eager, Suspended
from gristmill.worker.turns.failures import EXITS
from gristmill.worker.turns.metered import metered
from gristmill.worker.turns.replying import REPLY_HEAD

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore

_DESER = int(TimeClass.DESER)
_DISPATCH = int(TimeClass.DISPATCH)
_COMPUTE = int(TimeClass.COMPUTE)
_SER = int(TimeClass.SER)
_SEND = int(TimeClass.SEND)
_GC_USER = int(TimeClass.GC_USER)
_HANDLED = counters.HANDLED
_IN_HAND = counters.IN_HAND
_RUNNING = State.RUNNING


class Handling:
    """Calls the handlers of a worker's actors."""

    def __init__(self, core: WorkerCore, meter: Meter) -> None:
        self._core = core
        self._meter = meter
        self._shell = core.shell
        self._counters = core.counters
        self._stamping = core.stamping
        self._showing = core.showing
        self._waiting = core.waiting
        self._cells = core.showing.cells
        self._stamp = Stamp(meter, core.stamping)
        self._begin = Eager(core.shell.create_task, core.shell.create_future).begin
        self.at_once = False
        """Whether a reply leaves before its cost is booked, and not at the end of the turn."""
        self._replied = 0
        """Bytes of the last reply."""

    # --- bursts ---

    def begin_burst(self, cell: Cell) -> None:
        """From now on messages of one actor are handled."""
        self._core.sending.origin = cell
        cells = self._cells
        cells[SINCE] = self._meter.last
        cells[ACTOR] = cell.key
        self._counters[_IN_HAND] = self._waiting.messages + 1
        if self._stamping.unstamped:
            self._meter.pause()

    def end_burst(self) -> None:
        """From now on no actor's code runs."""
        self._core.sending.origin = None
        self._cells[ACTOR] = 0
        self._counters[_IN_HAND] = self._waiting.messages
        if self._meter.paused:
            self._meter.resume(_DISPATCH)

    def handle_some(self, cell: Cell, most: int, due: int) -> int:
        """Handle what is next in an actor's mailbox.

        This is where a worker spends its time when messages are short, so it is written out.

        Args:
            cell: the actor; it runs, is not busy, and has mail.
            most: how many messages to handle at most.
            due: when to leave off, perf_counter ns.

        Returns:
            How many entries of the mailbox were taken.
        """
        core, stamping, stamp = self._core, self._stamping, self._stamp
        effects = core.effects
        clock, now = self._meter.clock, self._shell.now()
        queue, decode, encode = cell.queue, cell.decode, core.codec.encode
        actor, context = cell.actor, cell.context
        handler: Handler | None = None
        expected: type[Message] | None = None
        handlers = cell.handlers
        retried = False
        reply: Callable[[Head, int, bytes], None] | None = None
        counted = self._counters
        taken = last_stamped = alike = 0
        stamp_behind = stamping.unstamped
        handled = counted[_HANDLED]
        source = freed = 0
        try:
            while queue and taken < most:
                stamped = taken >= stamp_behind
                if stamped:
                    stamp.dispatching()
                entry = queue.popleft()
                taken += 1
                if entry.holds_place:
                    if entry.source != source:
                        if freed:
                            core.free_places(cell, source, freed)
                        source, freed = entry.source, 0
                        reply = None if self.at_once else core.replying.way_for_replies(source)
                    freed += 1
                    ordinary = not entry.deadline or entry.deadline > now
                else:
                    ordinary = False
                if not ordinary and not core.admit(cell, entry):
                    if cell.state < _RUNNING:
                        break
                    continue
                if stamped:
                    stamp.decoding()
                message = entry.message
                if message is None:
                    try:
                        message = decode(entry.body)
                    except (msgspec.MsgspecError, GristmillError, RecursionError) as error:
                        core.failures.undecodable(cell, entry, error)
                        continue
                if handler is None or type(message) is not expected:
                    if handler is not None and alike:
                        self._count(cell, handler.message, alike)
                    alike = 0
                    handler = self._handler_of(cell, entry, message)
                    if handler is None:
                        continue
                    expected, handlers = handler.message, cell.handlers
                    function, wants_context = handler.function, handler.wants_context
                    is_async, reply_class = handler.is_async, handler.reply_class
                    retried = handler.retried
                    if not stamped and not stamping.knows(cell, handler.message):
                        stamped = True
                        stamp.begin_late()
                elif retried or not ordinary:
                    self._showing.show(handler, entry)
                cell.current = entry
                cell.inserted = 0
                if stamped:
                    stamp.computing()
                try:
                    value = (
                        function(actor, message, context)
                        if wants_context
                        else function(actor, message)
                    )
                    if is_async:
                        effects.settle()  # it may ask, which goes at once
                        value = self._begin(value)
                    if stamped:
                        stamp.returned(asked=entry.kind == ASK)
                    if (
                        type(value) is reply_class
                        and entry.kind == ASK
                        and reply
                        and ordinary
                        and not cell.deferred
                    ):
                        body = encode(value)
                        if type(body) is bytes:
                            reply(REPLY_HEAD, entry.number, body)
                        else:
                            core.replying.reply(source, entry.number, body)
                        if stamped:
                            stamp.answered(len(body))
                    elif type(value) is Suspended:
                        spent = stamp.spent() if stamped else None
                        self._go_on(cell, entry, handler, message, value, spent)
                        break
                    elif entry.kind == ASK:
                        if not self._answer(cell, entry, handler, message, value):
                            break
                        if stamped:
                            stamp.answered(self._replied)
                except EXITS:
                    raise
                except BaseException as error:  # its actor crashes, not its worker
                    core.failures.failed(cell, entry, message, error)
                else:
                    handled += 1
                    counted[_HANDLED] = handled  # each at once: a kill leaves one in doubt
                    cell.current = None
                    if not ordinary or cell.effects:
                        effects.hold(cell, entry)
                        if cell.handlers is not handlers:  # whatever comes next changes them back
                            expected = None
                    if cell.stop_reason is not None and cell.state is _RUNNING:
                        core.lifecycle.end(cell, cell.stop_reason)
                    if stamped:
                        stamp.record(cell, entry, handler.message)
                        last_stamped, stamp_behind = taken, taken + stamping.unstamped
                    else:
                        alike += 1
                if cell.busy or cell.state < _RUNNING or clock() > due:
                    break
        finally:
            if cell.durable or effects.holding:
                self._settle(cell)
            stamping.unstamped = max(0, stamping.unstamped - (taken - last_stamped))
            if alike and handler is not None:
                self._count(cell, handler.message, alike)
            if freed:
                core.free_places(cell, source, freed)
        return taken

    def _settle(self, cell: Cell) -> None:
        """Let happen what the handlers of a burst want; no message's own time."""
        meter = self._meter
        if meter.paused:
            meter.resume(_SEND)
            self._core.effects.end_burst(cell)
            meter.pause()
        else:
            previous = meter.enter(_SEND)
            self._core.effects.end_burst(cell)
            meter.enter(previous)

    def _handler_of(self, cell: Cell, entry: Entry, message: Message) -> Handler | None:
        """Give the handler of a message, which is in hand from now on; None if there is none."""
        handler = cell.handlers.get(type(message))
        if handler is None:
            self._core.failures.unknown(cell, entry, type(message).__qualname__)
        elif handler is not self._showing.in_hand:
            self._showing.show(handler, entry)
        return handler

    def _count(self, cell: Cell, message: type[Message], handled: int) -> None:
        (cell.stats.get(message) or self._stamping.stats_of(cell, message)).messages += handled

    # --- handlers that wait ---

    def _go_on(
        self,
        cell: Cell,
        entry: Entry,
        handler: Handler,
        message: Message,
        suspended: Suspended,
        spent: Spent | None,
    ) -> None:
        """Let a handler go on as a task; its actor takes no other message meanwhile.

        ``spent``: what it has taken so far; None if the message is not stamped.
        """
        work = self._waiting.suspend(cell, handler, suspended, 1)
        rest = self._rest(cell, entry, handler, message, work, spent)
        self._waiting.go_on(cell, suspended, rest, 1)

    async def _rest(
        self,
        cell: Cell,
        entry: Entry,
        handler: Handler,
        message: Message,
        work: metered,
        spent: Spent | None,
    ) -> None:
        task = asyncio.current_task()
        try:
            value = await work
        except (*EXITS, GeneratorExit):  # or its coroutine is closed
            raise
        except BaseException as error:
            if cell.task is not task:  # its incarnation has ended
                raise
            self._core.failures.failed(cell, entry, message, error)
        else:
            self._meter.switch(_SER)
            returned = self._meter.last
            if cell.task is task and self._answer(cell, entry, handler, message, value):
                self._meter.switch(_DISPATCH)
                ser = self._meter.last - returned
                self._finish(cell, entry)
                stats = self._stamping.stats_of(cell, type(message))
                if spent is None:
                    stats.messages += 1
                else:
                    compute = spent.compute + work.compute_ns
                    wait = max(0, spent.begun - entry.arrived)
                    size = len(entry.body)
                    stats.record(compute, spent.deser, spent.dispatch, ser, size, wait)
                    stats.bytes_out += self._replied
                stats.ask_wait_ns += cell.asked_ns
        finally:
            self._waiting.resumed(cell, task)

    # --- for batches ---

    def start(self, cell: Cell, handler: Handler, messages: list[Message], entry: Entry) -> Any:  # noqa: ANN401 - what the handler returns
        """Call a batch handler; give what it returns, or a :class:`Suspended` if it waits.

        ``entry`` stands for all of its messages where one has to.
        """
        if handler is not self._showing.in_hand:
            self._showing.show(handler, entry)
        self._counters[_IN_HAND] = self._waiting.messages + len(messages)
        if handler.wants_context:
            value = handler.function(cell.actor, messages, cell.context)
        else:
            value = handler.function(cell.actor, messages)
        if handler.is_async:
            value = self._begin(value)
        self._counters[_IN_HAND] = self._waiting.messages + 1
        return value

    # --- when it has finished ---

    def _answer(
        self, cell: Cell, entry: Entry, handler: Handler, message: Message, value: object
    ) -> bool:
        """Reply to an ask with what its handler has returned; give whether it was of the type."""
        self._replied = 0
        if entry.kind != ASK or value is DEFERRED:
            return True
        try:
            if type(value) is not handler.reply_class:
                _check_reply(cell, handler, value)
            body = self._core.codec.encode(value)
        except GristmillError as error:
            self._core.failures.failed(cell, entry, message, error)
            return False
        replying = self._core.replying
        reply = replying.reply_at_once if self.at_once and not cell.effects else replying.reply
        reply(entry.source, entry.number, body)
        self._replied = len(body)
        if cell.deferred:
            cell.deferred.pop((entry.source, entry.number), None)
        return True

    def _finish(self, cell: Cell, entry: Entry) -> None:
        """Let the handler's effects happen, and count its message as handled."""
        core = self._core
        if cell.effects or (entry.number and entry.kind != ASK):
            core.effects.hold(cell, entry)
        self._counters[_HANDLED] += 1
        cell.current = None
        core.effects.end_burst(cell)
        if cell.stop_reason is not None and cell.state is _RUNNING:
            core.lifecycle.end(cell, cell.stop_reason)


def _check_reply(cell: Cell, handler: Handler, value: object) -> None:
    wrong = check_reply(handler, type(cell.actor), value)
    if wrong:
        raise ReplyTypeError(wrong)
