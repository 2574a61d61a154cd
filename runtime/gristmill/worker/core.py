"""The worker's core: takes frames and control messages, runs handlers, says what to send.

It owns no socket, process or clock: a :class:`~gristmill.worker.shell.Shell` drives it.
A message's way: :meth:`WorkerCore.read` reads its frame, :meth:`take_in` puts it into its actor's
mailbox, :meth:`turn` takes it out, decodes it and calls the handler, and what the handler sends
leaves with the flush at the end of the turn, behind the journal's commit.
"""

from __future__ import annotations

import logging
from collections import deque
from itertools import count, islice, repeat

import msgspec

from gristmill.channels.manager import ChannelManager
from gristmill.config import ChannelConfig
from gristmill.durability import JournalStore
from gristmill.errors import ActorNotFoundError, DecodeError, MailboxFullError
from gristmill.metrics import Meter, TimeClass
from gristmill.ref import OverflowPolicy
from gristmill.supervision import Normal
from gristmill.transport.codec import Codec
from gristmill.transport.envelope import (
    ACK,
    ANSWER,
    ARRAYS,
    ASK,
    CANCEL,
    CREDIT,
    ERROR,
    EVENT,
    FENCE,
    INSPECT,
    LAST,
    MESSAGES,
    NOTICE,
    PROBE,
    RELEASE,
    REPLY,
    SIGNAL,
    TELL,
    Envelope,
    is_lone_ask,
    read_frame,
)
from gristmill.worker.actors.bonds import Bonds
from gristmill.worker.actors.breakers import SharedBreakers
from gristmill.worker.actors.cell import (
    CONTINUE,
    INSPECTION,
    RECORD,
    REMINDER,
    STOP,
    Cell,
    Entry,
    State,
)
from gristmill.worker.actors.inspecting import Inspecting
from gristmill.worker.actors.lifecycle import Lifecycle
from gristmill.worker.actors.reminding import Reminding
from gristmill.worker.actors.spawning import Spawns
from gristmill.worker.handover.leaving import Leaving
from gristmill.worker.handover.succession import Inlet, Succession
from gristmill.worker.instructions import carry_out
from gristmill.worker.messaging.asking import Asks
from gristmill.worker.messaging.cycles import Cycles
from gristmill.worker.messaging.delivery import Delivery
from gristmill.worker.messaging.directory import Directory
from gristmill.worker.messaging.keyed import Keyed
from gristmill.worker.messaging.peers import Peers
from gristmill.worker.messaging.publishing import Publishing
from gristmill.worker.messaging.records import Records
from gristmill.worker.messaging.sending import Sending
from gristmill.worker.shell import Shell
from gristmill.worker.telemetry import counters
from gristmill.worker.telemetry.activity import Activity
from gristmill.worker.telemetry.showing import LOOK_AGAIN, Showing
from gristmill.worker.telemetry.stamping import Stamping
from gristmill.worker.turns.batching import Batching
from gristmill.worker.turns.cancelling import Cancelling
from gristmill.worker.turns.effects import Effects
from gristmill.worker.turns.failures import Failures
from gristmill.worker.turns.handling import Handling
from gristmill.worker.turns.parking import Parking
from gristmill.worker.turns.replying import Replying
from gristmill.worker.turns.starving import Starving
from gristmill.worker.turns.waiting import Waiting

_DISPATCH = int(TimeClass.DISPATCH)
_RUNNING = State.RUNNING
_DROP_OLDEST = OverflowPolicy.DROP_OLDEST

_FLUSH_AFTER_NS = 2_000_000
"""Who has been busy for longer sends what there is between two messages ..."""
_FLUSH_SHARE = 16
"""... unless flushes would take more than one part in so many of the time ..."""
_FLUSH_WITHIN_NS = 8_000_000
"""... and after this time in any case."""
_TURN_NS = 4_000_000
"""A turn that takes longer lets the loop look at sockets and timers before it goes on."""
_BURST = 64
"""Messages that one actor handles before another gets its turn."""
IN_MEMORY = ChannelConfig()

_log = logging.getLogger("gristmill.worker")


class WorkerCore:
    """The actors of one worker process and their messages."""

    def __init__(
        self,
        shell: Shell,
        meter: Meter,
        store: JournalStore | None = None,
        channels: ChannelConfig = IN_MEMORY,
        activity: Activity | None = None,
        *,
        governs: bool = True,
    ) -> None:
        self.shell = shell
        self.governs = governs
        """Whether the sizes of batches are found here where nobody has said them."""
        self.meter = meter
        self.counters = shell.counters
        self._wires = shell.wires
        self.cells: dict[int, Cell] = {}
        self.keyed = Keyed(self)
        self.directory = Directory(shell.address, shell.incarnation, shell.name)
        self.peers = Peers(self)
        self.asks = Asks(self)
        self.delivery = Delivery(self, store)
        self.sending = Sending(self)
        self.replying = Replying(self)
        self.publishing = Publishing(self)
        self.effects = Effects(self)
        self.arrays = shell.arrays
        self.codec = Codec(self.sending, self.arrays.pool)
        self.lifecycle = Lifecycle(self)
        self.leaving = Leaving(self)
        self.bonds = Bonds(self)
        self.spawns = Spawns(self)
        self.breakers = SharedBreakers(self)
        self.reminding = Reminding(self)
        self.failures = Failures(self)
        self.inspecting = Inspecting(self)
        self.cancelling = Cancelling(self)
        self.cycles = Cycles(self)
        self.starving = Starving(self)
        self.stamping = Stamping(self, meter)
        self.showing = Showing(self, meter, activity or Activity())
        self.waiting = Waiting(self, meter)
        self.handling = Handling(self, meter)
        self.batching = Batching(self, meter)
        self.parking = Parking(self, meter)
        self.records = Records(self, store, channels)
        self.channels = ChannelManager.from_config(channels, self.publishing, self.records)
        self.succession: Succession | None = None
        """Its part in a hand-over between two workers; set by the process around it."""
        self.inlet: Inlet = self
        """What takes in the frames that were read: this, or who stands before it meanwhile."""
        self.ready: deque[Cell] = deque()
        self._now = shell.now
        self._flushed_at = 0
        """When what there was has left, or there was nothing to do."""
        self._flush_after = _FLUSH_AFTER_NS
        self._goes_on = False
        """Whether the last turn left something to do for the next one."""

    # --- what comes in ---

    def on_frame(self, frame: bytes) -> None:
        """Read a frame, and take it in."""
        self.take_in(self.read(frame))

    def take_in_alone(self, envelopes: list[Envelope]) -> None:
        """Take in a frame and have a turn; a lone ask of an idle actor is answered at once.

        It comes to the same as :meth:`take_in` and :meth:`turn`, with less to do before the reply
        leaves, for who asks one thing after another.
        """
        alone = len(envelopes) == 2 and is_lone_ask(envelopes) and not self.ready
        self.handling.at_once = alone
        try:
            self.take_in(envelopes)
            self.turn()
        finally:
            self.handling.at_once = False

    def read(self, frame: bytes) -> list[Envelope]:
        """Read a frame, and count the messages in it.

        Gives nothing if it can't be read, and if it is too early: see :meth:`Peers.keep`.
        """
        try:
            envelopes = read_frame(frame)
        except DecodeError as error:
            self.failures.bury(None, "", b"", f"undecodable: {error}")
            return []
        header = envelopes[0]
        try:
            if header[6]:
                self._wires.received(header[1], header[2], header[3], header[6])
            known = self.directory.incarnation(header[1])
            if 0 < known < header[2] and self.peers.keep(envelopes):
                return []
        except (TypeError, ValueError) as error:  # a field of the header has a wrong type
            self.malformed(None, error, is_message=False)
            return []
        return envelopes

    def take_in(self, envelopes: list[Envelope]) -> None:
        """Take in a frame of the data plane that was read, or a notice of the control thread."""
        source = envelopes[0][1] if envelopes else 0
        arrived = self.meter.last
        for envelope in islice(envelopes, 1, None):
            try:
                if envelope[0] == ASK:
                    _, target, sender, deadline, first, bodies = envelope
                    entries = [
                        Entry(ASK, source, sender, request, deadline, body, None, arrived, True)
                        for request, body in enumerate(bodies, first)
                    ]
                    self.deliver(target, entries)
                elif envelope[0] == TELL:
                    _, target, sender, first, bodies = envelope
                    numbers = count(first) if first else repeat(0)
                    entries = [
                        Entry(TELL, source, sender, number, 0.0, body, None, arrived, not first)
                        for number, body in zip(numbers, bodies)  # noqa: B905 - numbers never end
                    ]
                    self.deliver(target, entries)
                else:
                    self._on_other(envelope, envelopes[0], arrived)
            except (ValueError, IndexError, TypeError, msgspec.MsgspecError) as error:
                message = bool(envelope) and envelope[0] in MESSAGES
                self.malformed(None, error, is_message=message)

    def _on_other(self, envelope: Envelope, header: Envelope, arrived: int) -> None:
        kind = envelope[0]
        if kind == REPLY:
            for request, body in enumerate(envelope[2], envelope[1]):
                self.asks.on_reply(request, body)
        elif kind == ERROR:
            self.asks.on_error(envelope[1], envelope[2])
        elif kind == EVENT:
            _, _channel, targets, sender, _, bodies = envelope
            entries = [Entry(EVENT, 0, sender, 0, 0.0, body, None, arrived) for body in bodies]
            self.counters[counters.SENT] += (len(targets) - 1) * len(entries)  # each came as one
            for target in targets:
                for entry in entries:
                    self.deliver_event(target, entry)
        elif kind == CREDIT:
            self.sending.on_credit(header[1], envelope[1], envelope[2])
        elif kind == ACK:
            self.delivery.on_ack(envelope[1], envelope[2])
        elif kind == NOTICE:
            carry_out(self, envelope[1])
        elif kind == SIGNAL:
            self.bonds.on_signal(header[1], envelope[1], envelope[2])
        elif kind == ANSWER:
            self.replying.answered(*envelope[1:])
        elif kind == INSPECT:
            self.inspecting.take(header[1], *envelope[1:])
        elif kind == ARRAYS:
            self.take_in([header, self.arrays.open(envelope)])
        elif kind == FENCE:
            self.keyed.fence(header[1], envelope[1])
        elif kind == CANCEL:
            self.cancelling.cancel(header[1], envelope[1], envelope[2])
        elif kind == PROBE:
            self.cycles.probed(envelope[1], envelope[2])
        elif kind == RELEASE:
            self.arrays.take_back(header, envelope)
        elif kind == LAST:
            self.peers.on_last(header[1], header[2])
        else:
            raise ValueError(f"kind {kind!r} is unknown")

    def deliver(self, target: int, entries: list[Entry]) -> None:
        """Put messages into a mailbox."""
        cell = self.cells.get(target)
        if cell is None:
            error = ActorNotFoundError(f"there is no actor #{target} any more")
            for entry in entries:
                self.failures.refuse(None, entry, error, key=target)
            self.sending.give_credit(entries[0].source, target, sum(e.holds_place for e in entries))
            return
        if cell.mailbox.overflow is _DROP_OLDEST:
            for entry in entries:
                self._make_room(cell, entry)
                cell.own("queue").append(entry)
        else:
            (cell.queue or cell.own("queue")).extend(entries)
        if type(entries[0].sender) is list:
            self.cycles.came(cell, entries)
        if not cell.scheduled:
            self.schedule(cell)

    def _make_room(self, cell: Cell, entry: Entry) -> None:
        numbered = entry.kind == TELL and entry.number
        if numbered or len(cell.queue) < cell.mailbox.capacity:
            return
        droppable = (each for each in cell.queue if each.kind >= 0)
        oldest = next((each for each in droppable if each.kind != TELL or not each.number), None)
        if oldest is not None:
            cell.queue.remove(oldest)
            self.failures.refuse(cell, oldest, MailboxFullError(f"{cell.label}: mailbox full"))

    def deliver_event(self, target: int, entry: Entry) -> None:
        """Give a channel's event to a subscriber; a slow one loses it, counted."""
        cell = self.cells.get(target)
        if cell is None:
            self.counters[counters.UNWANTED] += 1
            return
        if len(cell.queue) >= cell.mailbox.capacity:
            self.counters[counters.OVERFLOW] += 1
            return
        cell.own("queue").append(entry)
        self.schedule(cell)

    def schedule(self, cell: Cell) -> None:
        """Let the actor have its turn if it can take a message."""
        if not cell.scheduled and not cell.busy and cell.state >= _RUNNING and cell.queue:
            cell.scheduled = True
            self.ready.append(cell)

    def request_stop(self, cell: Cell) -> None:
        """Put the end of an actor behind what is in its mailbox."""
        cell.own("queue").append(Entry(STOP, 0, 0, 0, 0.0, b"", None, 0))
        self.schedule(cell)

    def report_trace(self, number: int, begin: int) -> None:
        """Give what was recorded since ``begin`` to the supervisor process, if anything is."""

    # --- the turn ---

    def turn(self) -> None:
        """Handle what the mailboxes hold, and send what comes of it.

        A turn that only lets the loop look at its sockets sends nothing for that: what there is
        leaves when it is due.
        """
        if self.parking.parked:
            self.parking.review()
        ready = self.ready
        began = self.meter.last
        if not self._goes_on:
            self._flushed_at = began
        self._goes_on = False
        while ready:
            cell = ready.popleft()
            cell.scheduled = False
            self._burst(cell)
            self.schedule(cell)
            if ready and self.meter.last - began > _TURN_NS:
                self._goes_on = True
                self.shell.request_turn()
                return
        self.shell.flush()

    def _burst(self, cell: Cell) -> None:
        """Let an actor handle messages until it is time for another one."""
        if cell.plans:
            self.batching.burst(cell)
            return
        handling = self.handling
        budget = _BURST
        handling.begin_burst(cell)
        while cell.queue and budget > 0 and not cell.busy and cell.state >= _RUNNING:
            due = self._flushed_at + self._flush_after
            try:
                budget -= handling.handle_some(cell, budget, due)
            except (TypeError, ValueError) as error:  # a field of the envelope has a wrong type
                self.malformed(cell, error)
            if self.meter.clock() > due:
                self._flush()
                break
        if cell.acknowledged:
            self.delivery.acknowledge(cell)
        handling.end_burst()

    def flush_if_due(self) -> bool:
        """Send what there is between two calls, if it has waited; give whether it had."""
        due = self.meter.clock() > self._flushed_at + self._flush_after
        if due:
            self._flush()
        return due

    def _flush(self) -> None:
        """Send what there is before the turn is over."""
        began = self.meter.clock()
        self.shell.flush_midway()
        self._flushed_at = self.meter.clock()
        cost = (self._flushed_at - began) * _FLUSH_SHARE
        self._flush_after = min(max(_FLUSH_AFTER_NS, cost), _FLUSH_WITHIN_NS)

    def admit(self, cell: Cell, entry: Entry, in_hand: int = 0) -> bool:
        """Do what an entry wants that is no ordinary message; give whether it is to be handled.

        ``in_hand``: the number of the last at-least-once message of its sender that is about to be
        handled with it.
        """
        if entry.kind < 0:
            if entry.kind == STOP:
                self.lifecycle.end(cell, cell.stop_reason or Normal())
                return False
            if entry.kind == INSPECTION:
                self.inspecting.answer(cell, entry)
                return False
            if entry.kind == RECORD:
                return self.records.begin(cell, entry)
            if entry.kind == REMINDER:
                return self.reminding.admit(cell, entry)
            if entry.kind == CONTINUE:
                self.shell.flush()  # the reply that it continues from goes first
            return True
        if entry.deadline and entry.deadline < self._now():
            reason = "expired: its asker no longer waits"
            self.failures.dead_letter(cell, "", entry.body, reason)
            return False
        return entry.kind != TELL or not entry.number or self._is_next(cell, entry, in_hand)

    def malformed(self, cell: Cell | None, error: Exception, *, is_message: bool = True) -> None:
        """A field of an envelope has a wrong type: record it."""
        self.meter.switch(_DISPATCH)
        bury = self.failures.dead_letter if is_message else self.failures.bury
        bury(cell, "", b"", f"malformed envelope: {error!r}")

    def _is_next(self, cell: Cell, entry: Entry, in_hand: int) -> bool:
        """Tell whether an at-least-once message is new; a durable actor knows by its marks."""
        done = in_hand or (cell.durable and self.effects.handled.get(entry.source))
        if not done:
            done = cell.marks.get(self.directory.process_name(entry.source), 0)
        if entry.number <= done:
            if not in_hand:
                cell.own("acknowledged")[entry.source] = done
            self.counters[counters.DUPLICATE] += 1
            return False
        if done and entry.number > done + 1 and not self.keyed.pools.has_member(cell.label):
            # would mark what is missing as handled; its sender sends all again when it can
            _log.error("%s: message %d came before %d", cell.label, entry.number, done + 1)
            self.counters[counters.DUPLICATE] += 1
            return False
        if cell.attempts and self.failures.quarantines(cell, entry):
            return False
        self.showing.in_hand = LOOK_AGAIN
        return True

    def free_places(self, cell: Cell, source: int, places: int) -> None:
        """Messages have left the mailbox: give their places back, with others, to their sender."""
        owed = cell.owed.get(source, 0) + places
        if owed >= cell.credit_lot:
            self.sending.give_credit(source, cell.key, owed)
            owed = 0
        cell.own("owed")[source] = owed
