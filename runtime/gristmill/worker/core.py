"""The worker's core: takes frames and control messages, runs handlers, says what to send.

It owns no socket, process or clock: a :class:`~gristmill.worker.shell.Shell` drives it.
A message's way: :meth:`WorkerCore.on_frame` puts it into its actor's mailbox, :meth:`turn` takes
it out, decodes it and calls the handler, and what the handler sends leaves with the flush at the
end of the turn, behind the journal's commit.
"""

from __future__ import annotations

import logging
from collections import deque
from functools import partial
from typing import Any

import msgspec

from gristmill.behaviours.context import DEFERRED
from gristmill.behaviours.protocol import Handler, check_reply
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
from gristmill.ref import Mailbox, OverflowPolicy
from gristmill.supervision import Crash, Normal
from gristmill.transport.codec import Codec
from gristmill.transport.control import DeadLetter
from gristmill.transport.credit import lot
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
from gristmill.worker.cell import Cell, Entry, State
from gristmill.worker.lifecycle import Lifecycle
from gristmill.worker.metered import metered
from gristmill.worker.sending import Sending
from gristmill.worker.shell import Shell

_DESER = int(TimeClass.DESER)
_DISPATCH = int(TimeClass.DISPATCH)
_COMPUTE = int(TimeClass.COMPUTE)
_SER = int(TimeClass.SER)

_FLUSH_AFTER_NS = 500_000
"""A turn that takes longer sends what there is after each message."""
_BURST = 64
"""Messages that one actor handles before another gets its turn."""
_POISON_LIMIT = 3
"""Crashes after which an at-least-once message becomes a dead letter."""
_STOP = -1
"""The kind of the mailbox entry that marks where an ordered stop stands."""

_log = logging.getLogger("gristmill.worker")


class WorkerCore:
    """The actors of one worker process and their messages."""

    def __init__(self, shell: Shell, meter: Meter, store: Any = None) -> None:  # noqa: ANN401
        self.shell = shell
        self.meter = meter
        self.counters = [0] * len(counters.NAMES)
        self.cells: dict[int, Cell] = {}
        self.stats: dict[tuple[str, str], TypeStats] = {}
        self.sending = Sending(self, store)
        self.codec = Codec(self.sending)
        self.lifecycle = Lifecycle(self)
        self.ready: deque[Cell] = deque()
        self._reader = FrameReader()
        self._flushed_at = 0

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
        for envelope in envelopes[1:]:
            try:
                self._on_envelope(envelope, source, arrived)
            except (ValueError, IndexError, TypeError, msgspec.MsgspecError) as error:
                self.dead_letter(None, "", b"", f"malformed envelope: {error}")

    def _on_envelope(self, envelope: list[Any], source: int, arrived: int) -> None:
        kind = envelope[0]
        if kind == TELL:
            _, target, sender, number, body = envelope
            self.deliver(target, Entry(TELL, source, sender, number, 0.0, body, None, arrived))
        elif kind == ASK:
            _, target, sender, request, deadline, body = envelope
            entry = Entry(ASK, source, sender, request, deadline, body, None, arrived)
            self.deliver(target, entry)
        elif kind == REPLY:
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
        self.counters[counters.RECEIVED] += 1
        cell = self.cells.get(target)
        if cell is None:
            self.refuse(None, entry, ActorNotFoundError(f"there is no actor #{target} any more"))
            return
        mailbox = cell.spec.mailbox if cell.spec else Mailbox()
        if (
            mailbox.overflow is OverflowPolicy.DROP_OLDEST
            and len(cell.queue) >= mailbox.capacity
            and not (entry.kind == TELL and entry.number)
        ):
            oldest = cell.queue.popleft()
            self.refuse(cell, oldest, MailboxFullError(f"{cell.label}: mailbox full"))
        cell.queue.append(entry)
        self.schedule(cell)

    def deliver_event(self, target: int, sender: int, body: bytes, arrived: int) -> None:
        """Give a channel's event to a subscriber; a slow one loses it, counted."""
        cell = self.cells.get(target)
        if cell is None:
            return
        self.counters[counters.RECEIVED] += 1
        capacity = cell.spec.mailbox.capacity if cell.spec else Mailbox().capacity
        if len(cell.queue) >= capacity:
            self.counters[counters.DROPPED] += 1
            return
        cell.queue.append(Entry(EVENT, 0, sender, 0, 0.0, body, None, arrived))
        self.schedule(cell)

    def schedule(self, cell: Cell) -> None:
        """Let the actor have its turn if it can take a message."""
        if not cell.scheduled and not cell.busy and cell.state >= State.RUNNING and cell.queue:
            cell.scheduled = True
            self.ready.append(cell)

    def request_stop(self, cell: Cell) -> None:
        """Put the end of an actor behind what is in its mailbox."""
        cell.queue.append(Entry(_STOP, 0, 0, 0, 0.0, b"", None, 0))
        self.schedule(cell)

    # --- the turn ---

    def turn(self) -> None:
        """Handle what the mailboxes hold, and send what comes of it."""
        ready = self.ready
        self._flushed_at = self.meter.last
        while ready:
            cell = ready.popleft()
            cell.scheduled = False
            budget = _BURST
            while cell.queue and budget and not cell.busy and cell.state >= State.RUNNING:
                budget -= 1
                self._take(cell, cell.queue.popleft())
                if self.meter.last - self._flushed_at > _FLUSH_AFTER_NS:
                    self.shell.flush()
                    self._flushed_at = self.meter.last
            self.schedule(cell)
        self.shell.flush()

    def _take(self, cell: Cell, entry: Entry) -> None:
        if entry.kind == _STOP:
            self.lifecycle.end(cell, cell.stop_reason or Normal())
            return
        numbered = entry.kind == TELL and entry.number
        if entry.source and not numbered:
            self.free_place(cell, entry.source)
        if entry.deadline and entry.deadline < self.shell.now():
            self.dead_letter(cell, "", entry.body, "expired: its asker no longer waits")
            return
        if not numbered or self._is_next(cell, entry):
            self._handle(cell, entry)

    def _is_next(self, cell: Cell, entry: Entry) -> bool:
        """Tell whether an at-least-once message is new; a durable actor knows by its marks."""
        done = cell.marks.get(self.sending.process_name(entry.source), 0)
        if entry.number <= done:
            self.sending.acknowledge(cell, entry.source, entry.number)
            return False
        if done and entry.number > done + 1:
            # would mark what is missing as handled; its sender sends all again when it can
            _log.error("%s: message %d came before %d", cell.label, entry.number, done + 1)
            return False
        return True

    def free_place(self, cell: Cell, source: int) -> None:
        """A message has left the mailbox: give its place back, with others, to its sender."""
        capacity = cell.spec.mailbox.capacity if cell.spec else Mailbox().capacity
        owed = cell.owed.get(source, 0) + 1
        if owed >= lot(capacity):
            self.sending.give_credit(source, cell.key, owed)
            owed = 0
        cell.owed[source] = owed

    def _handle(self, cell: Cell, entry: Entry) -> None:
        meter = self.meter
        clock = meter.clock
        classes = meter.classes
        begin = clock()
        classes[meter.current] += begin - meter.last
        meter.current, meter.last = _DESER, begin
        message = entry.message
        if message is None:
            try:
                message = cell.decode(entry.body)
            except (msgspec.MsgspecError, GristmillError) as error:
                meter.switch(_DISPATCH)
                self._undecodable(cell, entry, error)
                return
        assert message is not None
        decoded = clock()
        classes[_DESER] += decoded - meter.last
        meter.current, meter.last = _DISPATCH, decoded
        handler = cell.handlers.get(type(message))
        if handler is None:
            self.refuse(cell, entry, _unknown(cell, type(message).__qualname__))
            return
        cell.current = entry
        self.sending.origin = cell
        self.shell.running(cell.label)
        before = classes[_COMPUTE]
        now = clock()
        classes[_DISPATCH] += now - meter.last
        meter.current, meter.last = _COMPUTE, now
        meter.transitions += 4
        try:
            if handler.wants_context:
                value = handler.function(cell.actor, message, cell.context)
            else:
                value = handler.function(cell.actor, message)
        except Exception as error:  # a crash of the actor, and never of its worker
            meter.switch(_DISPATCH)
            self.failed(cell, entry, message, error)
            return
        now = clock()
        classes[meter.current] += now - meter.last
        meter.current, meter.last = _DISPATCH, now
        if handler.is_async:
            cell.busy = True
            self.shell.running("")
            self.sending.origin = None
            work = metered(value, meter, partial(self._enter, cell), self._leave)
            cell.task = self.shell.create_task(self._await(cell, entry, handler, message, work))
            return
        compute = classes[_COMPUTE] - before
        if self._complete(cell, entry, handler, message, value):
            end = meter.last
            busy = end - begin
            stats = cell.stats.get(type(message)) or self._stats_of(cell, message)
            deser = decoded - begin
            dispatch = max(0, busy - compute - deser)
            wait = max(0, begin - entry.arrived)
            stats.record(compute, deser, dispatch, 0, len(entry.body), wait)

    async def _await(
        self, cell: Cell, entry: Entry, handler: Handler, message: Message, work: metered
    ) -> None:
        incarnation = cell.incarnation
        try:
            value = await work
        except Exception as error:  # a crash of the actor, and never of its worker
            if cell.incarnation == incarnation:
                self.failed(cell, entry, message, error)
        else:
            if cell.incarnation == incarnation and self._complete(
                cell, entry, handler, message, value
            ):
                stats = cell.stats.get(type(message)) or self._stats_of(cell, message)
                wait = max(0, work.began - entry.arrived)
                stats.record(work.compute_ns, 0, 0, 0, len(entry.body), wait)
        finally:
            if cell.incarnation == incarnation and cell.task is not None:
                cell.task = None
                cell.busy = bool(cell.blocked)
                self.schedule(cell)
            self.shell.request_turn()

    def _enter(self, cell: Cell) -> None:
        self.sending.origin = cell
        self.shell.running(cell.label)

    def _leave(self) -> None:
        self.sending.origin = None
        self.shell.running("")

    def _complete(
        self, cell: Cell, entry: Entry, handler: Handler, message: Message, value: object
    ) -> bool:
        """Answer, let the handler's effects happen, and count it as handled."""
        self._leave()
        if entry.kind == ASK and value is not DEFERRED:
            wrong = check_reply(handler, handler_owner(cell), value)
            if wrong:
                self.failed(cell, entry, message, ReplyTypeError(wrong))
                return False
            self.meter.switch(_SER)
            try:
                body = self.codec.encode(value)
            except GristmillError as error:
                self.meter.switch(_DISPATCH)
                self.failed(cell, entry, message, error)
                return False
            self.sending.reply(entry.source, pack([REPLY, entry.number, body]))
        self.sending.release(cell, entry)
        self.counters[counters.HANDLED] += 1
        self.meter.switch(_DISPATCH)
        cell.current = None
        if cell.stop_reason is not None and cell.state is State.RUNNING:
            self.lifecycle.end(cell, cell.stop_reason)
        return True

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
        self._leave()
        cell.effects = []
        cell.current = None
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
        name = _tag(entry.body)
        if any(tag_of(message) == name for message in cell.handlers):
            self.refuse(cell, entry, DecodeError(f"{cell.label}: a {name} is malformed: {error}"))
        elif entry.kind != EVENT:  # a subscriber takes the events that it has handlers for
            self.refuse(cell, entry, _unknown(cell, name))

    def refuse(self, cell: Cell | None, entry: Entry, error: GristmillError) -> None:
        """Make a message that can't be handled a dead letter, and tell its asker."""
        if entry.kind == ASK:
            self.answer_error(entry, error)
        self.dead_letter(cell, _tag(entry.body), entry.body, str(error))
        if cell is not None and entry.kind == TELL:
            self.sending.release(cell, entry)

    def answer_error(self, entry: Entry, error: GristmillError) -> None:
        """Answer an ask with an error."""
        body = msgspec.msgpack.encode(error_reply(error))
        self.sending.reply(entry.source, pack([ERROR, entry.number, body]))

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
            message_type=message_type or _tag(body),
            body=body,
            worker=self.shell.name,
            error=error,
        )
        self.shell.control(letter)


def handler_owner(cell: Cell) -> type:
    """Give the class of a running actor."""
    return type(cell.actor)


def _unknown(cell: Cell, name: str) -> UnknownMessageError:
    known = ", ".join(sorted(message.__qualname__ for message in cell.handlers)) or "nothing"
    return UnknownMessageError(
        f"{cell.label} has no handler for {name}; it handles {known}. Add one with @handles, or "
        "send it to another actor"
    )


def _tag(body: bytes) -> str:
    """Give the message type's tag of an encoded body, as far as it can be read."""
    try:
        first = msgspec.msgpack.decode(body, type=list[msgspec.Raw])[0]
        return msgspec.msgpack.decode(first, type=str)
    except (msgspec.MsgspecError, IndexError):
        return "?"
