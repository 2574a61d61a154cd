"""One message and its handler: decode, call, answer, account.

A synchronous handler runs straight from here. So does an async one up to its first real wait; only
then it becomes a task, and its actor takes no other message until it has finished.

Where messages are many and short, only some of them are stamped for the accounting, see
:class:`~gristmill.metrics.Sampling`. All are handled alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from random import Random
from time import thread_time_ns
from typing import TYPE_CHECKING, Any

import msgspec

from gristmill.behaviours.context import DEFERRED
from gristmill.behaviours.protocol import Handler, check_reply
from gristmill.errors import GristmillError, ReplyTypeError
from gristmill.messages import Message, Request
from gristmill.metrics import Meter, Sampling, TimeClass, TypeStats
from gristmill.transport.envelope import ASK, TELL
from gristmill.transport.outbound import Head
from gristmill.worker import counters
from gristmill.worker.activity import (
    ACTOR,
    ASKED,
    MESSAGE,
    NUMBER,
    RETRIED,
    SINCE,
    SOURCE,
    START,
    TOLD,
    WAITING,
    Activity,
)
from gristmill.worker.cell import Cell, Entry, State
from gristmill.worker.eager import Eager, Suspended
from gristmill.worker.metered import metered
from gristmill.worker.sending import REPLY_HEAD

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore

_DESER = int(TimeClass.DESER)
_DISPATCH = int(TimeClass.DISPATCH)
_COMPUTE = int(TimeClass.COMPUTE)
_SER = int(TimeClass.SER)
_GC_USER = int(TimeClass.GC_USER)
_HANDLED = counters.HANDLED
_IN_HAND = counters.IN_HAND
_RUNNING = State.RUNNING
_CPU_MASK = 63
"""Of one in so many stamped messages, less one, the CPU time is measured too."""
_ADAPT_EVERY = 512
"""Stamped messages after which the sampling is looked at, besides once a second."""
_LOOK_AGAIN = object()
"""What is no handler, so that the activity is shown anew with the next message."""


class Handling:
    """Calls the handlers of a worker's actors."""

    def __init__(self, core: WorkerCore, meter: Meter, activity: Activity) -> None:
        self._core = core
        self.activity = activity
        self._cells = activity.cells
        self._counters = core.counters
        self._in_hand: object = None
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
        self.sampling = Sampling(Random(core.shell.random.getrandbits(64)))
        self._replied = 0
        """Bytes of the last reply."""
        self._unstamped = 0
        """How many messages go by before the next one that is stamped."""
        self._until_adapted = _ADAPT_EVERY
        self._adapted_at = meter.last

    def handle_some(self, cell: Cell, most: int, due: int) -> int:
        """Handle what is next in an actor's mailbox, up to the next message that is stamped.

        Args:
            cell: the actor; it runs, is not busy, and has mail.
            most: how many messages to handle at most.
            due: when to leave off, perf_counter ns.

        Returns:
            How many entries of the mailbox were taken.
        """
        if self._unstamped:
            return self._handle_unstamped(cell, min(most, self._unstamped), due)
        entry = cell.queue.popleft()
        if self._core.admit(cell, entry):
            self._handle_stamped(cell, entry)
        if entry.holds_place:
            self._core.free_places(cell, entry.source, 1)  # what is in hand has its place still
        return 1

    def _handle_unstamped(self, cell: Cell, most: int, due: int) -> int:
        """The loop that most messages pass through when they are short; so it is written out."""
        core = self._core
        clock, now = self._meter.clock, self._shell.now()
        queue, decode, encode = cell.queue, cell.decode, core.codec.encode
        actor, context = cell.actor, cell.context
        handler: Handler | None = None
        retried = False
        reply: Callable[[Head, int, bytes], None] | None = None
        counted = self._counters
        taken = alike = 0
        handled = counted[_HANDLED]
        source = freed = 0
        try:
            while queue and taken < most:
                entry = queue.popleft()
                taken += 1
                if entry.holds_place:
                    if entry.source != source:
                        if freed:
                            core.free_places(cell, source, freed)
                        source, freed = entry.source, 0
                        reply = None if self.at_once else core.sending.way_for_replies(source)
                    freed += 1
                    ordinary = not entry.deadline or entry.deadline > now
                else:
                    ordinary = False
                if not ordinary and not core.admit(cell, entry):
                    if cell.state < _RUNNING:
                        break
                    continue
                message = entry.message
                if message is None:
                    try:
                        message = decode(entry.body)
                    except (msgspec.MsgspecError, GristmillError, RecursionError) as error:
                        core.failures.undecodable(cell, entry, error)
                        continue
                if handler is None or type(message) is not handler.message:
                    if handler is not None and alike:
                        self._count(cell, handler.message, alike)
                    alike = 0
                    handler = self._handler_of(cell, entry, message)
                    if handler is None:
                        continue
                    function, wants_context = handler.function, handler.wants_context
                    is_async, reply_class = handler.is_async, handler.reply_class
                    retried = handler.retried
                elif retried or not ordinary:
                    self._show(handler, entry)
                cell.current = entry
                cell.inserted = 0
                try:
                    value = (
                        function(actor, message, context)
                        if wants_context
                        else function(actor, message)
                    )
                    if is_async:
                        value = self._begin(value)
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
                            core.sending.reply(source, entry.number, body)
                    elif type(value) is Suspended:
                        self._go_on(cell, entry, handler, message, value, None)
                        break
                    elif entry.kind == ASK and not self._answer(
                        cell, entry, handler, message, value
                    ):
                        break
                except (Exception, asyncio.CancelledError) as error:  # its actor crashes
                    core.failures.failed(cell, entry, message, error)
                else:
                    handled += 1
                    counted[_HANDLED] = handled  # each at once: a kill leaves one in doubt
                    alike += 1
                    cell.current = None
                    if not ordinary or cell.effects:
                        core.sending.release(cell, entry)
                    if cell.stop_reason is not None and cell.state is _RUNNING:
                        core.lifecycle.end(cell, cell.stop_reason)
                if cell.busy or cell.state < _RUNNING or clock() > due:
                    break
        finally:
            self._unstamped -= taken
            if alike and handler is not None:
                self._count(cell, handler.message, alike)
            if freed:
                core.free_places(cell, source, freed)
        return taken

    def _handler_of(self, cell: Cell, entry: Entry, message: Message) -> Handler | None:
        """Give the handler of a message, which is in hand from now on; None if there is none."""
        handler = cell.handlers.get(type(message))
        if handler is None:
            self._core.failures.unknown(cell, entry, type(message).__qualname__)
        elif handler is not self._in_hand:
            self._show(handler, entry)
        return handler

    def adapt(self) -> None:
        """Look whether more or fewer messages must be stamped."""
        now = self._meter.clock()
        elapsed, self._adapted_at = now - self._adapted_at, now
        self._until_adapted = _ADAPT_EVERY
        handled = self._core.counters[_HANDLED]
        self.sampling.adapt(self._meter.transitions, handled, self._meter.probe_ns, elapsed)

    def _count(self, cell: Cell, message: type[Message], handled: int) -> None:
        (cell.stats.get(message) or self.stats_of(cell, message)).messages += handled

    def _handle_stamped(self, cell: Cell, entry: Entry) -> None:
        """The stamps are written out, see :class:`Meter`."""
        meter = self._meter
        clock = meter.clock
        if meter.paused:
            meter.resume(_DISPATCH)
        stamps = meter.transitions
        classes = meter.classes
        encoded, collected = classes[_SER], classes[_GC_USER]
        begin = clock()
        dispatch = begin - meter.last
        classes[meter.current] += dispatch
        meter.current, meter.last = _DESER, begin
        found = self._decode(cell, entry)
        if found is None:
            meter.switch(_DISPATCH)
            return
        message, handler = found
        cell.current = entry
        cell.inserted = 0
        before = classes[_COMPUTE]
        cpu = 0 if self._until_adapted & _CPU_MASK else thread_time_ns()
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
        if cpu:
            cpu = thread_time_ns() - cpu
        deser = called - begin
        told = classes[_SER]
        self._replied = 0
        if type(value) is Suspended:
            self._go_on(cell, entry, handler, message, value, (compute, deser, dispatch, begin))
        elif self._answer(cell, entry, handler, message, value):
            if entry.kind == ASK:
                meter.switch(_DISPATCH)
            else:
                meter.current = _DISPATCH
            ser = classes[_SER] - told
            self._finish(cell, entry)
            stats = cell.stats.get(type(message)) or self.stats_of(cell, type(message))
            wait = begin - entry.arrived
            stats.record(compute, deser, dispatch, ser, len(entry.body), wait)
            stats.bytes_out += self._replied
            if cpu and compute == returned - called:  # else it did not only compute
                stats.cpu_ns += cpu
                stats.cpu_wall_ns += compute
            stats.gc_ns += classes[_GC_USER] - collected
            if self.sampling.n > 1:
                shares = meter.shares
                shares[_COMPUTE] += compute
                shares[_DESER] += deser
                shares[_DISPATCH] += dispatch
                shares[_SER] += classes[_SER] - encoded
                shares[_GC_USER] += classes[_GC_USER] - collected
                self._unstamped = self.sampling.gap(meter.transitions - stamps)
                if self._unstamped:
                    meter.pause()
            self._until_adapted -= 1
            if self._until_adapted <= 0:
                self.adapt()

    def _decode(self, cell: Cell, entry: Entry) -> tuple[Message, Handler] | None:
        """Give the message and its handler; None if it had to be refused."""
        try:
            message = cell.decode(entry.body) if entry.message is None else entry.message
        except (msgspec.MsgspecError, GristmillError, RecursionError) as error:
            self._core.failures.undecodable(cell, entry, error)
            return None
        handler = self._handler_of(cell, entry, message)
        return (message, handler) if handler is not None else None

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
        work = self.suspend(cell, handler, suspended, 1)
        rest = self._rest(cell, entry, handler, message, work, spent)
        self.go_on(cell, suspended, rest, 1, partial(self._check_begun, cell, entry, message))

    def suspend(self, cell: Cell, handler: Handler, suspended: Suspended, messages: int) -> metered:
        """A handler waits, and its actor takes nothing else meanwhile; give what is to await."""
        self._meter.switch(_DISPATCH)
        self.waiting += 1
        self._under_way += messages
        self._counters[_IN_HAND] += messages
        cell.busy = True
        if cell.spec is not None and cell.spec.time_limit:
            self._cells[WAITING] = self._meter.last
        return self.metered(cell, suspended, handler)

    def go_on(
        self,
        cell: Cell,
        suspended: Suspended,
        rest: Coroutine[Any, Any, None],
        messages: int,
        then: Callable[[asyncio.Task[None]], None] | None = None,
    ) -> None:
        """Let a suspended handler of so many messages go on as a task: ``rest`` awaits it."""

        def no_longer_waiting(task: asyncio.Task[None]) -> None:
            self.waiting -= 1
            self._under_way -= messages
            self._counters[_IN_HAND] -= messages
            if then is not None:
                then(task)

        task = suspended.go_on(rest)
        task.add_done_callback(no_longer_waiting)
        cell.task = task

    def _check_begun(
        self, cell: Cell, entry: Entry, message: Message, task: asyncio.Task[None]
    ) -> None:
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
                stats = cell.stats.get(type(message)) or self.stats_of(cell, type(message))
                if spent is None:
                    stats.messages += 1
                else:
                    compute, deser, dispatch, begun = spent
                    compute += work.compute_ns
                    wait = max(0, begun - entry.arrived)
                    stats.record(compute, deser, dispatch, ser, len(entry.body), wait)
                    stats.bytes_out += self._replied
                stats.ask_wait_ns += cell.asked_ns
        finally:
            self.resumed(cell, task)

    def resumed(self, cell: Cell, task: asyncio.Task[Any] | None) -> None:
        """A handler that waited has ended: its actor takes messages again."""
        cell.asked_ns = 0
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
        entry = cell.in_hand[-1] if cell.plans and cell.in_hand else cell.current
        journaled = entry is not None and entry.kind == TELL and entry.number
        if journaled or handler is not self._in_hand:
            self._show(handler, entry)
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

    def _show(self, handler: Handler | None, entry: Entry | None) -> None:
        """Let the activity say what kind of message is in hand from now on.

        Which one it is too, if it is one that is tried again when this worker dies.
        """
        self._in_hand = handler
        cells = self._cells
        cells[MESSAGE] = (
            START if handler is None else self.activity.number(handler.message.__qualname__)
        )
        cells[RETRIED] = 0
        if handler is None or entry is None:
            return
        if entry.kind == ASK and handler.retried:
            kind = ASKED
        elif entry.kind == TELL and entry.number:
            kind = TOLD
        else:
            return
        cells[SOURCE], cells[NUMBER], cells[RETRIED] = entry.source, entry.number, kind
        self._in_hand = _LOOK_AGAIN

    def expect_journaled(self) -> None:
        """The next message is one of at-least-once delivery: the activity is to say which."""
        self._in_hand = _LOOK_AGAIN

    def journaled_is_done(self) -> None:
        """A message of at-least-once delivery has been dealt with: what may kill now is not it."""
        self._cells[RETRIED] = 0

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

    # --- for batches ---

    def start(self, cell: Cell, handler: Handler, messages: list[Message], entry: Entry) -> Any:  # noqa: ANN401 - what the handler returns
        """Call a batch handler; give what it returns, or a :class:`Suspended` if it waits.

        ``entry`` stands for all of its messages where one has to.
        """
        if handler is not self._in_hand:
            self._show(handler, entry)
        self._counters[_IN_HAND] = self._under_way + len(messages)
        if handler.wants_context:
            value = handler.function(cell.actor, messages, cell.context)
        else:
            value = handler.function(cell.actor, messages)
        if handler.is_async:
            value = self._begin(value)
        self._counters[_IN_HAND] = self._under_way + 1
        return value

    @property
    def stamps_next(self) -> bool:
        """Whether the next call of a handler is stamped."""
        return not self._unstamped

    def count_call(self, messages: int, stamps: int | None) -> None:
        """Count a call for the sampling; ``stamps``: how many it took, None if it was not."""
        if stamps is None:
            self._unstamped = max(0, self._unstamped - messages)
            return
        if self.sampling.n > 1:
            self._unstamped = self.sampling.gap(stamps, messages)
            if self._unstamped:
                self._meter.pause()
        self._until_adapted -= messages
        if self._until_adapted <= 0:
            self.adapt()

    def share(self, compute: int, deser: int, dispatch: int, ser: int, collected: int) -> None:
        """Let a stamped call, in ns, speak for those that are not stamped."""
        if self.sampling.n > 1:
            shares = self._meter.shares
            shares[_COMPUTE] += compute
            shares[_DESER] += deser
            shares[_DISPATCH] += dispatch
            shares[_SER] += ser
            shares[_GC_USER] += collected

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
        reply(entry.source, entry.number, body)
        self._replied = len(body)
        if cell.deferred:
            cell.deferred.pop((entry.source, entry.number), None)
        return True

    def _finish(self, cell: Cell, entry: Entry) -> None:
        """Let the handler's effects happen, and count its message as handled."""
        core = self._core
        if cell.effects or (entry.number and entry.kind != ASK):
            core.sending.release(cell, entry)
        self._counters[_HANDLED] += 1
        cell.current = None
        if cell.stop_reason is not None and cell.state is _RUNNING:
            core.lifecycle.end(cell, cell.stop_reason)

    def stats_of(self, cell: Cell, message: type[Message]) -> TypeStats:
        """Find what is counted of a message's type at its actor's."""
        name = (cell.type_name, message.__qualname__)
        stats = self.stats.get(name)
        if stats is None:
            stats = self.stats[name] = TypeStats(*name, answered=issubclass(message, Request))
        cell.stats[message] = stats
        return stats


def _check_reply(cell: Cell, handler: Handler, value: object) -> None:
    wrong = check_reply(handler, type(cell.actor), value)
    if wrong:
        raise ReplyTypeError(wrong)
