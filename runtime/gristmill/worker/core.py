"""The worker's core: takes frames and control messages, runs handlers, says what to send.

It owns no socket, process or clock: a :class:`~gristmill.worker.shell.Shell` drives it.
A message's way: ``Intake`` reads its frame and puts it into its actor's mailbox, :meth:`turn` takes
it out, decodes it and calls the handler, and what the handler sends leaves with the flush at the
end of the turn, behind the journal's commit.
"""

from __future__ import annotations

import logging
from collections import deque

from gristmill.channels.manager import ChannelManager
from gristmill.config import ChannelConfig
from gristmill.durability import JournalStore
from gristmill.errors import ActorNotFoundError, MailboxFullError
from gristmill.metrics import Meter
from gristmill.ref import OverflowPolicy
from gristmill.supervision import Normal
from gristmill.transport.codec import Codec
from gristmill.transport.envelope import TELL
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
from gristmill.worker.messaging.asking import Asks
from gristmill.worker.messaging.cycles import Cycles
from gristmill.worker.messaging.delivery import Delivery
from gristmill.worker.messaging.directory import Directory
from gristmill.worker.messaging.intake import Intake
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
from gristmill.worker.turns.collecting import Collecting
from gristmill.worker.turns.effects import Effects
from gristmill.worker.turns.failures import Failures
from gristmill.worker.turns.handling import Handling
from gristmill.worker.turns.parking import Parking
from gristmill.worker.turns.replying import Replying
from gristmill.worker.turns.starving import Starving
from gristmill.worker.turns.waiting import Waiting

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
        self.collecting = Collecting(self)
        self.batching = Batching(self, meter)
        self.parking = Parking(self, meter)
        self.records = Records(self, store, channels)
        self.channels = ChannelManager.from_config(channels, self.publishing, self.records)
        self.succession: Succession | None = None
        """Its part in a hand-over between two workers; set by the process around it."""
        self.intake = Intake(self)
        self.inlet: Inlet = self.intake
        """What takes in the frames that were read: that, or who stands before it meanwhile."""
        self.ready: deque[Cell] = deque()
        self._now = shell.now
        self._flushed_at = 0
        """When what there was has left, or there was nothing to do."""
        self._flush_after = _FLUSH_AFTER_NS
        self._goes_on = False
        """Whether the last turn left something to do for the next one."""

    # --- mailboxes ---

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
                self.failures.malformed(cell, error)
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
