"""One message and its handler: decode, call, answer, account.

A synchronous handler runs straight from here. So does an async one up to its first real wait; only
then it becomes a task, and its actor takes no other message until it has finished.

Where messages are many and short, only some of them are stamped for the accounting, see
:class:`~gristmill.metrics.Sampling`. All are handled alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from gristmill.behaviours.context import DEFERRED
from gristmill.behaviours.protocol import Handler, check_reply
from gristmill.errors import GristmillError, ReplyTypeError
from gristmill.messages import Message
from gristmill.metrics import Meter, Sampling, TimeClass, TypeStats
from gristmill.transport.envelope import ASK, REPLY, TELL
from gristmill.worker import counters
from gristmill.worker.activity import ACTOR, MESSAGE, SINCE, START, WAITING, Activity
from gristmill.worker.cell import Cell, Entry, State
from gristmill.worker.eager import Eager, Suspended
from gristmill.worker.metered import metered

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore

_DESER = int(TimeClass.DESER)
_DISPATCH = int(TimeClass.DISPATCH)
_COMPUTE = int(TimeClass.COMPUTE)
_SER = int(TimeClass.SER)
_HANDLED = counters.HANDLED
_IN_HAND = counters.IN_HAND
_RUNNING = State.RUNNING


class Handling:
    """Calls the handlers of a worker's actors."""

    def __init__(self, core: WorkerCore, meter: Meter, activity: Activity) -> None:
        self._core = core
        self.activity = activity
        self._cells = activity.cells
        self._counters = core.counters
        self._in_hand: Handler | None = None
        """The handler that the activity shows; None for the start of an actor."""
        self._cells[MESSAGE] = START
        self._meter = meter
        self._shell = core.shell
        self._begin = Eager(core.shell.create_task, core.shell.create_future).begin
        self.stats: dict[tuple[str, str], TypeStats] = {}
        """What each (actor type, message type) has cost."""
        self.waiting = 0
        """How many async handlers and starts are under way."""
        self._under_way = 0
        """How many async handlers are."""
        self.at_once = False
        """Whether a reply leaves before its cost is booked, and not at the end of the turn."""
        self.sampling = Sampling(core.shell.random)
        self._unstamped = 0
        """How many messages go by before the next one that is stamped."""

    def handle(self, cell: Cell, entry: Entry) -> None:
        """Decode, call the handler, answer."""
        if not self._unstamped:
            self._handle_stamped(cell, entry)
            return
        self._unstamped -= 1
        found = self._decode(cell, entry)
        if found is None:
            return
        message, handler = found
        if handler is not self._in_hand:
            self._show(handler)
        cell.current = entry
        cell.inserted = 0
        try:
            if handler.wants_context:
                value = handler.function(cell.actor, message, cell.context)
            else:
                value = handler.function(cell.actor, message)
            if handler.is_async:
                value = self._begin(value)
        except (Exception, asyncio.CancelledError) as error:  # its actor crashes, not its worker
            self._core.failures.failed(cell, entry, message, error)
            return
        if type(value) is Suspended:
            self._go_on(cell, entry, handler, message, value, None)
        elif self._answer(cell, entry, handler, message, value):
            self._finish(cell, entry)
            (cell.stats.get(type(message)) or self._stats_of(cell, message)).messages += 1

    def _handle_stamped(self, cell: Cell, entry: Entry) -> None:
        """The stamps are written out, see :class:`Meter`."""
        meter = self._meter
        clock = meter.clock
        if meter.paused:
            meter.resume(_DISPATCH)
        stamps = meter.transitions
        classes = meter.classes
        begin = clock()
        dispatch = begin - meter.last
        classes[meter.current] += dispatch
        meter.current, meter.last = _DESER, begin
        found = self._decode(cell, entry)
        if found is None:
            meter.switch(_DISPATCH)
            return
        message, handler = found
        if handler is not self._in_hand:
            self._show(handler)
        cell.current = entry
        cell.inserted = 0
        before = classes[_COMPUTE]
        called = clock()
        classes[_DESER] += called - meter.last
        meter.current, meter.last = _COMPUTE, called
        meter.transitions += 3
        try:
            if handler.wants_context:
                value = handler.function(cell.actor, message, cell.context)
            else:
                value = handler.function(cell.actor, message)
            if handler.is_async:
                value = self._begin(value)
        except (Exception, asyncio.CancelledError) as error:  # its actor crashes, not its worker
            self._core.failures.failed(cell, entry, message, error)
            return
        returned = clock()
        classes[meter.current] += returned - meter.last
        meter.current, meter.last = _SER, returned
        compute = classes[_COMPUTE] - before
        deser = called - begin
        encoded = classes[_SER]
        if type(value) is Suspended:
            self._go_on(cell, entry, handler, message, value, (compute, deser, dispatch, begin))
        elif self._answer(cell, entry, handler, message, value):
            if entry.kind == ASK:
                meter.switch(_DISPATCH)
            else:
                meter.current = _DISPATCH
            ser = classes[_SER] - encoded
            self._finish(cell, entry)
            stats = cell.stats.get(type(message)) or self._stats_of(cell, message)
            wait = begin - entry.arrived
            stats.record(compute, deser, dispatch, ser, len(entry.body), wait)
            if self.sampling.n > 1:
                shares = meter.shares
                shares[_COMPUTE] += compute
                shares[_DESER] += deser
                shares[_DISPATCH] += dispatch
                shares[_SER] += ser
                self._unstamped = self.sampling.gap(meter.transitions - stamps)
                if self._unstamped:
                    meter.pause()

    def _decode(self, cell: Cell, entry: Entry) -> tuple[Message, Handler] | None:
        """Give the message and its handler; None if it had to be refused."""
        try:
            message = cell.decode(entry.body) if entry.message is None else entry.message
        except (msgspec.MsgspecError, GristmillError, RecursionError) as error:
            self._core.failures.undecodable(cell, entry, error)
            return None
        handler = cell.handlers.get(type(message))
        if handler is None:
            self._core.failures.unknown(cell, entry, type(message).__qualname__)
            return None
        return message, handler

    # --- handlers that wait ---

    def _go_on(
        self,
        cell: Cell,
        entry: Entry,
        handler: Handler,
        message: Message,
        suspended: Suspended,
        spent: tuple[int, int, int, int] | None,
    ) -> None:
        """Let a handler go on as a task; its actor takes no other message meanwhile.

        ``spent``: ns computed, decoded and dispatched so far, and when it was begun; None if the
        message is not stamped.
        """
        self._meter.switch(_DISPATCH)
        self.waiting += 1
        self._under_way += 1
        self._counters[_IN_HAND] += 1
        cell.busy = True
        if cell.spec is not None and cell.spec.time_limit:
            self._cells[WAITING] = self._meter.last
        work = self.metered(cell, suspended, handler)
        task = suspended.go_on(self._rest(cell, entry, handler, message, work, spent))
        task.add_done_callback(partial(self._no_longer_waiting, cell, entry, message))
        cell.task = task

    def _no_longer_waiting(
        self, cell: Cell, entry: Entry, message: Message, task: asyncio.Task[None]
    ) -> None:
        self.waiting -= 1
        self._under_way -= 1
        self._counters[_IN_HAND] -= 1
        if cell.task is task and cell.given_up is entry:
            # it was cancelled in the round of the loop in which it began
            self._core.failures.failed(cell, entry, message, asyncio.CancelledError())
            self._free(cell)

    def _free(self, cell: Cell) -> None:
        """Let an actor go on whose async handler has ended."""
        cell.task = None
        cell.busy = bool(cell.blocked)
        self._core.schedule(cell)
        self._shell.request_turn()

    async def _rest(
        self,
        cell: Cell,
        entry: Entry,
        handler: Handler,
        message: Message,
        work: metered,
        spent: tuple[int, int, int, int] | None,
    ) -> None:
        task = asyncio.current_task()
        try:
            value = await work
        except (Exception, asyncio.CancelledError) as error:
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
                stats = cell.stats.get(type(message)) or self._stats_of(cell, message)
                if spent is None:
                    stats.messages += 1
                else:
                    compute, deser, dispatch, begun = spent
                    compute += work.compute_ns
                    wait = max(0, begun - entry.arrived)
                    stats.record(compute, deser, dispatch, ser, len(entry.body), wait)
        finally:
            self._cells[WAITING] = 0
            if cell.task is task:
                self._free(cell)
            self._core.sending.acknowledge(cell)
            self._shell.request_turn()

    def metered(
        self, cell: Cell, work: Coroutine[Any, Any, Any] | Suspended, handler: Handler | None = None
    ) -> metered:
        """Account for an actor's coroutine, and let it send as that actor.

        ``handler``: whose coroutine it is; None for the start of the actor.
        """
        return metered(work, self._meter, partial(self._enter, cell, handler), self._leave)

    def _enter(self, cell: Cell, handler: Handler | None) -> None:
        self._core.sending.origin = cell
        if handler is not self._in_hand:
            self._show(handler)
        self._cells[SINCE] = self._meter.last
        self._cells[ACTOR] = cell.key

    def _leave(self) -> None:
        """Let what an async handler has sent so far leave while it waits."""
        self.leave()
        self._shell.request_turn()

    # --- what the worker does now ---

    def begin_start(self, cell: Cell) -> None:
        """From now on an actor is made."""
        self._enter(cell, None)

    def leave(self) -> None:
        """From now on no actor's code runs."""
        self._core.sending.origin = None
        self._cells[ACTOR] = 0

    def _show(self, handler: Handler | None) -> None:
        """Let the activity say what kind of message is in hand from now on."""
        self._in_hand = handler
        self._cells[MESSAGE] = (
            START if handler is None else self.activity.number(handler.message.__qualname__)
        )

    # --- bursts ---

    def begin_burst(self, cell: Cell) -> None:
        """From now on messages of one actor are handled."""
        self._core.sending.origin = cell
        cells = self._cells
        cells[SINCE] = self._meter.last
        cells[ACTOR] = cell.key
        self._counters[_IN_HAND] = self._under_way + 1
        if self._unstamped:
            self._meter.pause()

    def end_burst(self) -> None:
        """From now on no actor's code runs."""
        self._core.sending.origin = None
        self._cells[ACTOR] = 0
        self._counters[_IN_HAND] = self._under_way
        if self._meter.paused:
            self._meter.resume(_DISPATCH)

    # --- when it has finished ---

    def _answer(
        self, cell: Cell, entry: Entry, handler: Handler, message: Message, value: object
    ) -> bool:
        """Reply to an ask with what its handler has returned; give whether it was of the type."""
        if entry.kind != ASK or value is DEFERRED:
            return True
        try:
            if type(value) is not handler.reply_class:
                _check_reply(cell, handler, value)
            body = self._core.codec.encode(value)
        except GristmillError as error:
            self._core.failures.failed(cell, entry, message, error)
            return False
        sending = self._core.sending
        reply = sending.reply_at_once if self.at_once and not cell.effects else sending.reply
        reply(entry.source, REPLY, entry.number, body)
        if cell.deferred:
            cell.deferred.pop((entry.source, entry.number), None)
        return True

    def _finish(self, cell: Cell, entry: Entry) -> None:
        """Let the handler's effects happen, and count its message as handled."""
        core = self._core
        if cell.effects or (entry.number and entry.kind == TELL):
            core.sending.release(cell, entry)
        self._counters[_HANDLED] += 1
        cell.current = None
        if cell.stop_reason is not None and cell.state is _RUNNING:
            core.lifecycle.end(cell, cell.stop_reason)

    def _stats_of(self, cell: Cell, message: Message) -> TypeStats:
        name = (cell.type_name, type(message).__qualname__)
        stats = self.stats.get(name)
        if stats is None:
            stats = self.stats[name] = TypeStats(*name)
        cell.stats[type(message)] = stats
        return stats


def _check_reply(cell: Cell, handler: Handler, value: object) -> None:
    wrong = check_reply(handler, type(cell.actor), value)
    if wrong:
        raise ReplyTypeError(wrong)
