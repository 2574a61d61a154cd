"""The worker's core: takes frames and control messages, runs handlers, says what to send.

It owns no socket, process or clock: a :class:`~gristmill.worker.shell.Shell` drives it.
A message's way: :meth:`WorkerCore.on_frame` puts it into its actor's mailbox, :meth:`turn` takes
it out, decodes it and calls the handler, and what the handler sends leaves with the flush at the
end of the turn, behind the journal's commit.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Coroutine
from functools import partial
from itertools import islice
from typing import Any

import msgspec

from gristmill.behaviours.context import DEFERRED, Postponed
from gristmill.behaviours.protocol import Handler, check_reply
from gristmill.channels import ChannelManager
from gristmill.config import ChannelConfig
from gristmill.durability import JournalStore
from gristmill.errors import (
    ActorCrashed,
    ActorNotFoundError,
    DecodeError,
    ErrorData,
    GristmillError,
    MailboxFullError,
    Reject,
    ReplyTypeError,
    UnknownMessageError,
)
from gristmill.messages import Message, tag_of
from gristmill.metrics import Meter, TimeClass, TypeStats
from gristmill.ref import OverflowPolicy
from gristmill.supervision import Crash, Normal
from gristmill.transport.codec import Codec, message_tag
from gristmill.transport.control import DeadLetter
from gristmill.transport.envelope import (
    ACK,
    ASK,
    CREDIT,
    ERROR,
    EVENT,
    NOTICE,
    REPLY,
    TELL,
    FrameReader,
    error_reply,
    pack,
)
from gristmill.worker import counters
from gristmill.worker.cell import CONTINUE, STOP, Cell, Entry, State
from gristmill.worker.eager import Eager
from gristmill.worker.lifecycle import Lifecycle
from gristmill.worker.metered import metered
from gristmill.worker.sending import Sending
from gristmill.worker.shell import Shell

_DESER = int(TimeClass.DESER)
_DISPATCH = int(TimeClass.DISPATCH)
_COMPUTE = int(TimeClass.COMPUTE)
_SER = int(TimeClass.SER)
_RECEIVED = counters.RECEIVED
_HANDLED = counters.HANDLED
_RUNNING = State.RUNNING
_DROP_OLDEST = OverflowPolicy.DROP_OLDEST

_FLUSH_AFTER_NS = 2_000_000
"""A turn that takes longer sends what there is between two messages ..."""
_FLUSH_SHARE = 8
"""... unless flushes would take more than one part in so many of the time."""
_TURN_NS = 4_000_000
"""A turn that takes longer lets the loop look at sockets and timers before it goes on."""
_BURST = 64
"""Messages that one actor handles before another gets its turn."""
_IN_MEMORY = ChannelConfig()
_POISON_LIMIT = 3
"""Crashes after which an at-least-once message becomes a dead letter."""

_log = logging.getLogger("gristmill.worker")


class WorkerCore:
    """The actors of one worker process and their messages."""

    def __init__(
        self,
        shell: Shell,
        meter: Meter,
        store: JournalStore | None = None,
        channels: ChannelConfig = _IN_MEMORY,
    ) -> None:
        self.shell = shell
        self.meter = meter
        self.counters = [0] * len(counters.NAMES)
        self.cells: dict[int, Cell] = {}
        self.stats: dict[tuple[str, str], TypeStats] = {}
        self.sending = Sending(self, store)
        self.channels = ChannelManager.from_config(channels, self.sending)
        self.codec = Codec(self.sending)
        self.lifecycle = Lifecycle(self)
        self.ready: deque[Cell] = deque()
        self._reader = FrameReader()
        self._now = shell.now
        self._flushed_at = 0
        self._flush_after = _FLUSH_AFTER_NS
        self._in_turn = False
        """Whether a turn is under way: its end sends what there is."""

    # --- what comes in ---

    def on_frame(self, frame: bytes) -> None:
        """Take in one frame of the data plane, or a notice of this process's control thread."""
        try:
            envelopes = self._reader.read(frame)
        except DecodeError as error:
            self.dead_letter(None, "", b"", f"undecodable: {error}")
            return
        header = envelopes[0]
        source = header[1]
        arrived = self.meter.last
        for envelope in islice(envelopes, 1, None):
            try:
                if envelope[0] == ASK:
                    _, target, sender, request, deadline, body = envelope
                    entry = Entry(ASK, source, sender, request, deadline, body, None, arrived)
                    self.deliver(target, entry)
                elif envelope[0] == TELL:
                    _, target, sender, number, body = envelope
                    entry = Entry(TELL, source, sender, number, 0.0, body, None, arrived)
                    self.deliver(target, entry)
                else:
                    self._on_other(envelope, source, arrived)
            except (ValueError, IndexError, TypeError, msgspec.MsgspecError) as error:
                self.dead_letter(None, "", b"", f"malformed envelope: {error}")

    def _on_other(self, envelope: list[Any], source: int, arrived: int) -> None:
        kind = envelope[0]
        if kind == REPLY:
            self.sending.on_reply(envelope[1], envelope[2])
        elif kind == ERROR:
            self.sending.on_error(envelope[1], envelope[2])
        elif kind == EVENT:
            _, _channel, targets, sender, body = envelope
            for target in targets:
                self.deliver_event(target, sender, body, arrived)
        elif kind == CREDIT:
            self.sending.on_credit(source, envelope[1], envelope[2])
        elif kind == ACK:
            self.sending.on_ack(envelope[1], envelope[2])
        elif kind == NOTICE:
            self.lifecycle.on_control(envelope[1])
        else:
            raise ValueError(f"kind {kind!r} is unknown")

    def deliver(self, target: int, entry: Entry) -> None:
        """Put a message into a mailbox."""
        self.counters[_RECEIVED] += 1
        cell = self.cells.get(target)
        if cell is None:
            self.refuse(None, entry, ActorNotFoundError(f"there is no actor #{target} any more"))
            return
        if cell.mailbox.overflow is _DROP_OLDEST:
            self._make_room(cell, entry)
        cell.queue.append(entry)
        if not cell.scheduled:
            self.schedule(cell)

    def _make_room(self, cell: Cell, entry: Entry) -> None:
        numbered = entry.kind == TELL and entry.number
        if numbered or len(cell.queue) < cell.mailbox.capacity:
            return
        oldest = next((waiting for waiting in cell.queue if waiting.kind >= 0), None)
        if oldest is not None:
            cell.queue.remove(oldest)
            self.refuse(cell, oldest, MailboxFullError(f"{cell.label}: mailbox full"))

    def deliver_event(self, target: int, sender: int, body: bytes, arrived: int) -> None:
        """Give a channel's event to a subscriber; a slow one loses it, counted."""
        cell = self.cells.get(target)
        if cell is None:
            return
        self.counters[counters.RECEIVED] += 1
        if len(cell.queue) >= cell.mailbox.capacity:
            self.counters[counters.DROPPED] += 1
            return
        cell.queue.append(Entry(EVENT, 0, sender, 0, 0.0, body, None, arrived))
        self.schedule(cell)

    def schedule(self, cell: Cell) -> None:
        """Let the actor have its turn if it can take a message."""
        if not cell.scheduled and not cell.busy and cell.state >= _RUNNING and cell.queue:
            cell.scheduled = True
            self.ready.append(cell)

    def request_stop(self, cell: Cell) -> None:
        """Put the end of an actor behind what is in its mailbox."""
        cell.queue.append(Entry(STOP, 0, 0, 0, 0.0, b"", None, 0))
        self.schedule(cell)

    # --- the turn ---

    def turn(self) -> None:
        """Handle what the mailboxes hold, and send what comes of it."""
        ready = self.ready
        began = self._flushed_at = self.meter.last
        self._in_turn = True
        try:
            while ready:
                cell = ready.popleft()
                cell.scheduled = False
                self._burst(cell)
                self.schedule(cell)
                if ready and self.meter.last - began > _TURN_NS:
                    self.shell.request_turn()
                    break
        finally:
            self._in_turn = False
        self.shell.flush()

    def _burst(self, cell: Cell) -> None:
        """Let an actor handle messages until it is time for another one."""
        meter = self.meter
        budget = _BURST
        self._enter(cell)
        while cell.queue and budget and not cell.busy and cell.state >= _RUNNING:
            budget -= 1
            try:
                self._take(cell, cell.queue.popleft())
            except (TypeError, ValueError) as error:  # a field of the envelope has a wrong type
                meter.switch(_DISPATCH)
                self.dead_letter(cell, "", b"", f"malformed envelope: {error!r}")
            if meter.last - self._flushed_at > self._flush_after:
                began = meter.last
                self.shell.flush()
                self._flushed_at = meter.last
                cost = (self._flushed_at - began) * _FLUSH_SHARE
                self._flush_after = min(max(_FLUSH_AFTER_NS, cost), _TURN_NS)
                break
        if cell.acknowledged:
            self.sending.acknowledge(cell)
        self._leave()

    def _take(self, cell: Cell, entry: Entry) -> None:
        if entry.kind < 0:
            if entry.kind == STOP:
                self.lifecycle.end(cell, cell.stop_reason or Normal())
                return
            if entry.kind == CONTINUE:
                self.shell.flush()  # the reply that it continues from goes first
        numbered = entry.kind == TELL and entry.number
        if entry.source and not numbered and not entry.paid:
            self.free_place(cell, entry.source)
        if entry.deadline and entry.deadline < self._now():
            self.dead_letter(cell, "", entry.body, "expired: its asker no longer waits")
            return
        if not numbered or self._is_next(cell, entry):
            self._handle(cell, entry)

    def _is_next(self, cell: Cell, entry: Entry) -> bool:
        """Tell whether an at-least-once message is new; a durable actor knows by its marks."""
        done = cell.marks.get(self.sending.process_name(entry.source), 0)
        if entry.number <= done:
            cell.acknowledged[entry.source] = done
            return False
        if done and entry.number > done + 1:
            # would mark what is missing as handled; its sender sends all again when it can
            _log.error("%s: message %d came before %d", cell.label, entry.number, done + 1)
            return False
        return True

    def free_place(self, cell: Cell, source: int) -> None:
        """A message has left the mailbox: give its place back, with others, to its sender."""
        owed = cell.owed.get(source, 0) + 1
        if owed >= cell.credit_lot:
            self.sending.give_credit(source, cell.key, owed)
            owed = 0
        cell.owed[source] = owed

    def _handle(self, cell: Cell, entry: Entry) -> None:
        """Decode, call the handler, answer. The stamps are written out, see :class:`Meter`."""
        meter = self.meter
        clock = meter.clock
        classes = meter.classes
        begin = clock()
        dispatch = begin - meter.last
        classes[meter.current] += dispatch
        meter.current, meter.last = _DESER, begin
        try:
            message = cell.decode(entry.body) if entry.message is None else entry.message
        except (msgspec.MsgspecError, GristmillError) as error:
            meter.switch(_DISPATCH)
            self._undecodable(cell, entry, error)
            return
        handler = cell.handlers.get(type(message))
        if handler is None:
            meter.switch(_DISPATCH)
            self.refuse(cell, entry, _unknown(cell, type(message).__qualname__))
            return
        cell.current = entry
        cell.inserted = 0
        self.sending.origin = cell
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
        except Exception as error:  # a crash of the actor, and never of its worker
            self.failed(cell, entry, message, error)
            return
        returned = clock()
        classes[meter.current] += returned - meter.last
        meter.current, meter.last = _SER, returned
        compute = classes[_COMPUTE] - before
        if handler.is_async:
            self._go_on(cell, entry, handler, message, value, (called - begin, dispatch))
        elif self._complete(cell, entry, handler, message, value):
            stats = cell.stats.get(type(message)) or self._stats_of(cell, message)
            ser = meter.last - returned
            wait = begin - entry.arrived
            stats.record(compute, called - begin, dispatch, ser, len(entry.body), wait)

    def _go_on(
        self,
        cell: Cell,
        entry: Entry,
        handler: Handler,
        message: Message,
        coroutine: Coroutine[Any, Any, Any],
        spent: tuple[int, int],
    ) -> None:
        """Run an async handler as a task; its actor takes no other message meanwhile.

        ``spent``: ns that it took so far to decode and to dispatch.
        """
        self.meter.switch(_DISPATCH)
        cell.busy = True
        work = self.metered(cell, coroutine)
        eager = Eager(self._await(cell, entry, handler, message, work, spent))
        cell.task = self.shell.create_task(eager.rest())
        eager.begin(cell.task)
        self._enter(cell)  # the burst goes on

    async def _await(
        self,
        cell: Cell,
        entry: Entry,
        handler: Handler,
        message: Message,
        work: metered,
        spent: tuple[int, int],
    ) -> None:
        incarnation = cell.incarnation
        try:
            value = await work
        except Exception as error:  # a crash of the actor, and never of its worker
            if cell.incarnation == incarnation:
                self.failed(cell, entry, message, error)
        else:
            self.meter.switch(_SER)
            returned = self.meter.last
            if cell.incarnation == incarnation and self._complete(
                cell, entry, handler, message, value
            ):
                stats = cell.stats.get(type(message)) or self._stats_of(cell, message)
                ser = self.meter.last - returned
                wait = max(0, work.began - entry.arrived)
                stats.record(work.compute_ns, *spent, ser, len(entry.body), wait)
        finally:
            if cell.incarnation == incarnation and cell.task is not None:
                cell.task = None
                cell.busy = bool(cell.blocked)
                self.schedule(cell)
            if not self._in_turn:
                self.sending.acknowledge(cell)
                self.shell.request_turn()

    def metered(self, cell: Cell, coroutine: Coroutine[Any, Any, Any]) -> metered:
        """Account for an actor's coroutine, and let it send as that actor."""
        return metered(coroutine, self.meter, partial(self._enter, cell), self._pause)

    def _enter(self, cell: Cell) -> None:
        self.sending.origin = cell
        self.shell.running(cell.label)

    def _pause(self) -> None:
        """Let what an async handler has sent so far leave while it waits."""
        self._leave()
        if not self._in_turn:
            self.shell.request_turn()

    def _leave(self) -> None:
        self.sending.origin = None
        self.shell.running("")

    def _complete(
        self, cell: Cell, entry: Entry, handler: Handler, message: Message, value: object
    ) -> bool:
        """Answer, let the handler's effects happen, and count it as handled.

        The meter goes over to dispatch once the reply is encoded.
        """
        if entry.kind == ASK and value is not DEFERRED:
            try:
                self._check_reply(cell, handler, value)
                body = self.codec.encode(value)
            except GristmillError as error:
                self.failed(cell, entry, message, error)
                return False
            self.sending.reply(entry.source, pack((REPLY, entry.number, body)))
            if cell.deferred:
                cell.deferred.pop((entry.source, entry.number), None)
            self.meter.switch(_DISPATCH)
        else:
            self.meter.current = _DISPATCH
        if cell.effects or (entry.kind == TELL and entry.number):
            self.sending.release(cell, entry)
        self.counters[_HANDLED] += 1
        cell.current = None
        if cell.stop_reason is not None and cell.state is _RUNNING:
            self.lifecycle.end(cell, cell.stop_reason)
        return True

    def _check_reply(self, cell: Cell, handler: Handler, value: object) -> None:
        if type(value) is not handler.reply_class:
            wrong = check_reply(handler, type(cell.actor), value)
            if wrong:
                raise ReplyTypeError(wrong)

    def _stats_of(self, cell: Cell, message: Message) -> TypeStats:
        name = (cell.type_name, type(message).__qualname__)
        stats = self.stats.get(name)
        if stats is None:
            stats = self.stats[name] = TypeStats(*name)
        cell.stats[type(message)] = stats
        return stats

    # --- what goes wrong ---

    def failed(self, cell: Cell, entry: Entry, message: Message, error: Exception) -> None:
        """A handler has raised: a refusal is an answer, anything else ends the incarnation."""
        self.meter.switch(_DISPATCH)
        cell.effects = []
        cell.current = None
        cell.deferred.pop((entry.source, entry.number), None)
        if isinstance(error, Postponed):
            cell.postponed.append(msgspec.structs.replace(entry, paid=True))
            return
        if isinstance(error, Reject):
            self.counters[counters.REJECTED] += 1
            if entry.kind == ASK:
                self.answer_error(entry, error)
            self.sending.release(cell, entry)
            return
        data = ErrorData.of(error)
        name = type(message).__qualname__
        crash = ActorCrashed(f"{cell.label} crashed while handling {name}: {data}", data)
        _log.error("%s", crash, extra={"actor": cell.label})
        if entry.kind == ASK:
            self.answer_error(entry, crash)
        if not self._redeliver(cell, entry):
            self.dead_letter(cell, name, entry.body, f"crash: {data}", data)
            if entry.kind == TELL:
                self.sending.release(cell, entry)
        self.lifecycle.end(cell, Crash(data))

    def _redeliver(self, cell: Cell, entry: Entry) -> bool:
        """Put an at-least-once message back in front, unless it has crashed its actor too often."""
        if entry.kind != TELL or not entry.number:
            return False
        attempt = (entry.source, entry.number)
        crashes = cell.attempts.pop(attempt, 0) + 1
        if crashes >= _POISON_LIMIT:
            return False
        cell.attempts[attempt] = crashes
        cell.queue.appendleft(entry)
        return True

    def _undecodable(self, cell: Cell, entry: Entry, error: Exception) -> None:
        name = message_tag(entry.body)
        if any(tag_of(message) == name for message in cell.handlers):
            self.refuse(cell, entry, DecodeError(f"{cell.label}: a {name} is malformed: {error}"))
        elif entry.kind != EVENT:  # a subscriber takes the events that it has handlers for
            self.refuse(cell, entry, _unknown(cell, name))

    def refuse(self, cell: Cell | None, entry: Entry, error: GristmillError) -> None:
        """Make a message that can't be handled a dead letter, and tell its asker."""
        if entry.kind == ASK:
            self.answer_error(entry, error)
        self.dead_letter(cell, message_tag(entry.body), entry.body, str(error))
        if cell is not None and entry.kind == TELL:
            self.sending.release(cell, entry)

    def answer_error(self, entry: Entry, error: GristmillError) -> None:
        """Answer an ask with an error."""
        body = msgspec.msgpack.encode(error_reply(error))
        self.sending.reply(entry.source, pack((ERROR, entry.number, body)))

    def dead_letter(
        self,
        cell: Cell | None,
        message_type: str,
        body: bytes,
        reason: str,
        error: ErrorData | None = None,
    ) -> None:
        """Record a message that nobody handled."""
        self.counters[counters.DEAD_LETTERED] += 1
        letter = DeadLetter(
            reason=reason,
            target=cell.label if cell is not None else "",
            message_type=message_type or message_tag(body),
            body=body,
            worker=self.shell.name,
            error=error,
        )
        self.shell.control(letter)


def _unknown(cell: Cell, name: str) -> UnknownMessageError:
    known = ", ".join(sorted(message.__qualname__ for message in cell.handlers)) or "nothing"
    return UnknownMessageError(
        f"{cell.label} has no handler for {name}; it handles {known}. Add one with @handles, or "
        "send it to another actor"
    )
