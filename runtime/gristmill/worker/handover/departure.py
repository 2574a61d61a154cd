"""``Departure``: how a worker hands its place over to another one without losing anything.

1. Its actors pause; handlers that are under way finish. If some take long, all go on for a while
   before they pause again, so nobody waits for long, not even a chain of asks that comes back here.
2. When no handler is under way, every actor ends in order, and what waits in the mailboxes is
   passed on to the new worker.
3. This worker says no more, which is told to every other process. What comes afterwards is passed
   on too, until that process has sent its fence: from then on it sends to the new worker, and the
   new worker to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from gristmill.supervision import Shutdown
from gristmill.transport import control as c
from gristmill.transport.arrays import ArrayBody
from gristmill.transport.envelope import (
    ARRAYS,
    ASK,
    EVENT,
    HANDOVER,
    INSPECT,
    LAST,
    MESSAGES,
    PASS,
    RELAY,
    RELEASE,
    RUNS,
    SWITCH,
    TELL,
    Envelope,
    pack,
)
from gristmill.worker.actors.cell import INSPECTION, Cell, Entry, State
from gristmill.worker.handover.arrival import END, FENCED, PEERS

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore
    from gristmill.worker.handover.succession import Wires

SUCCESSOR = 1 << 31
"""The address of the new worker, as the old one calls it: by its own it would mean itself."""
_PAUSE = 0.25
"""Seconds that actors pause at a time while handlers are under way ..."""
_RESPITE = 0.5
"""... and go on between two pauses, at most."""
_LOOK = 0.005
"""Seconds between two looks at the handlers that are under way."""
_LAST = pack((LAST,))
_CLIENTS_FENCE_WITHIN = 25.0
"""Seconds after which a client that sends no fence is not waited for: it may be stopped."""
_LEAVES_WITHIN = 10.0
"""Seconds in which what the new worker does not need must have left."""
_REASON = Shutdown("its worker was replaced")
_OF_ACTORS = c.StartActors | c.StopActor | c.KillActor | c.ForgetActor | c.AwaitFences


class Departure:
    """A worker's way out of its place.

    Args:
        core: the worker's core.
        wires: the process around it.
        to: the worker that is going to take the place.
        patience: seconds after which handlers under way are ended.
    """

    def __init__(self, core: WorkerCore, wires: Wires, to: c.PeerInfo, patience: float) -> None:
        self._core = core
        self._wires = wires
        self._to = to
        self._shell = core.shell
        self._until = self._shell.now() + patience
        self._paused: list[Cell] = []
        self._restless: list[Cell] = []
        self._given_up = False
        self._gone = False
        self._taken = 0
        """Messages about actors that were carried out here since this began."""
        self._awaited: set[int] | None = None
        self._fenced: set[int] = set()

    # --- 1: until no handler is under way ---

    def begin(self) -> None:
        """Pause the actors, and go as soon as nothing is under way."""
        self._pause(self._shell.now() + _PAUSE)

    def give_up(self) -> None:
        """Stay: let the actors go on."""
        if not self._gone:
            self._given_up = True
            self._resume()

    def _pause(self, until: float) -> None:
        if self._given_up:
            return
        self._restless = []
        for cell in self._core.cells.values():
            if cell.state is State.RUNNING:
                cell.state = State.PAUSED
                self._paused.append(cell)
            if not cell.at_rest:
                self._restless.append(cell)
        self._look(until)

    def _look(self, until: float) -> None:
        if self._given_up:
            return
        self._restless = [cell for cell in self._restless if not self._rests(cell)]
        now = self._shell.now()
        if self._at_rest() or now >= self._until:
            self._go()
        elif now >= until:
            self._resume()
            self._breathe(now + _RESPITE)
        else:
            self._shell.call_later(_LOOK, lambda: self._look(until))

    def _at_rest(self) -> bool:
        core = self._core
        cells = core.cells.values()
        return not self._restless and core.keyed.settled and all(cell.at_rest for cell in cells)

    def _breathe(self, until: float) -> None:
        """Let all go on until those that were waited for are done, then pause again."""
        self._restless = [cell for cell in self._restless if not cell.at_rest]
        now = self._shell.now()
        if self._restless and now < min(until, self._until):
            self._shell.call_later(_LOOK, lambda: self._breathe(until))
        else:
            self._pause(now + _PAUSE)

    def _rests(self, cell: Cell) -> bool:
        if not cell.at_rest:
            return False
        if cell.state is State.PAUSED and cell.stop_reason is not None:
            self._core.lifecycle.end(cell, cell.stop_reason)  # its handler has asked for that
        return True

    def _resume(self) -> None:
        paused, self._paused = self._paused, []
        for cell in paused:
            if cell.state is State.PAUSED:
                cell.state = State.RUNNING
                self._core.schedule(cell)
        self._shell.request_turn()

    # --- 2: the hand-over ---

    def _go(self) -> None:
        core = self._core
        self._gone = True
        ended = []
        for cell in reversed(list(core.cells.values())):
            if cell.state is not State.HELD:
                ended.append((cell.key, cell.incarnation))
                core.lifecycle.leave(cell, _REASON)
        for cell in core.cells.values():
            core.sending.settle_credit(cell)
        self._shell.flush()
        core.records.close()
        self._shell.flush()
        legacy = core.sending.close()
        if not self._wires.close_journal():
            return
        self._wires.connect_other(SUCCESSOR, self._to)
        for cell in core.cells.values():
            self._pass_mailbox_on(cell)
        core.cells.clear()
        core.inlet = self
        shell = self._shell
        for address in core.directory.living:
            shell.post(address, _LAST)
        shell.flush()
        ended.reverse()
        shell.control(
            c.HandedOver(shell.address, shell.incarnation, tuple(ended), self._taken, legacy)
        )

    def _pass_mailbox_on(self, cell: Cell) -> None:
        if not cell.queue:
            return
        for entry in cell.queue:
            envelope = _envelope_of(cell.key, entry)
            if envelope is not None:
                paid = not entry.holds_place and entry.kind in (TELL, ASK)
                self._pass_on(entry.source, envelope, paid=paid)
        cell.queue.clear()

    # --- 3: what comes afterwards ---

    def take_in(self, envelopes: list[Envelope]) -> None:
        """Pass on what a frame brings."""
        if not envelopes:
            return
        header = envelopes[0]
        source = header[1]
        if not source:
            self._core.intake.take_in(envelopes)
            return
        for envelope in envelopes[1:]:
            if envelope[0] == SWITCH:
                self._on_fence(source)
            elif envelope[0] == LAST:
                self._core.intake.take_in([header, envelope])
            elif envelope[0] == RELEASE:
                self._core.arrays.take_back(header, envelope)
            elif envelope[0] == ARRAYS:
                *head, carried = self._core.arrays.open(envelope)
                self._pass_on(source, (*head, carried[0] if head[0] in RUNS else carried))
            else:
                self._pass_on(source, tuple(envelope))

    def take_in_alone(self, envelopes: list[Envelope]) -> None:
        """Pass on what a frame brings, and have a turn."""
        self.take_in(envelopes)
        self._core.turn()

    def _pass_on(self, source: int, envelope: tuple[Any, ...], *, paid: bool = False) -> None:
        """Pass an envelope on.

        Args:
            source: the process that sent it.
            envelope: what it sent; the only body of a run may stand for itself.
            paid: its place in the mailbox was given back already.
        """
        kind, carried = envelope[0], envelope[-1]
        messages = len(carried) if kind in RUNS and isinstance(carried, list) else 1
        if isinstance(carried, ArrayBody):
            envelope = self._core.arrays.seal(envelope, self._shell.address)
        elif kind in RUNS and isinstance(carried, bytes):
            envelope = (*envelope[:-1], [carried])
        if kind in MESSAGES:
            packed = pack((RELAY, source, paid, envelope))
            self._shell.outbound(SUCCESSOR).add(packed, messages)
        else:
            self._shell.post(SUCCESSOR, pack((PASS, source, envelope)))

    def on_control(self, message: c.ControlMessage) -> bool:
        """Look at a message of the supervisor process; tell whether it is not for this worker."""
        if isinstance(message, _OF_ACTORS):
            if self._gone:
                return True  # it was not counted, so the new worker gets it
            self._taken += 1
        elif isinstance(message, c.PeerMoved) and message.peer.address == self._shell.address:
            self._switched()
            return True
        elif isinstance(message, c.Exit) and self._gone:
            self._until = self._shell.now() + _LEAVES_WITHIN
            self.exit()
            return True
        elif isinstance(message, c.PeerUp) and self._gone:
            self._core.peers.up(message.peer)
            self._shell.post(message.peer.address, _LAST)
            return True
        elif isinstance(message, c.PeerDown) and self._awaited is not None:
            self._shell.when_drained(lambda: self._on_fence(message.address))
        return False

    def exit(self) -> None:
        """End the process when everything has left it."""
        if self._wires.unsent and self._shell.now() < self._until:
            self._shell.call_later(_LOOK, self.exit)
        else:
            self._shell.exit()
            self._shell.request_turn()

    def _switched(self) -> None:
        """Others know of the new worker from now on, and those that live send a fence."""
        peers = self._core.directory.living
        self._awaited = peers - self._fenced - {self._shell.address}
        self._say(PEERS, self._awaited)
        for client in [each for each in self._awaited if each >= c.FIRST_CLIENT]:
            self._shell.call_later(_CLIENTS_FENCE_WITHIN, partial(self._on_fence, client))
        self._end_if_complete()

    def _on_fence(self, source: int) -> None:
        if source in self._fenced:
            return
        self._fenced.add(source)
        self._say(FENCED, [source])
        if self._awaited is not None:
            self._awaited.discard(source)
            self._end_if_complete()

    def _end_if_complete(self) -> None:
        if not self._awaited:
            self._say(END, ())
        self._shell.request_turn()

    def _say(self, step: int, what: Iterable[int]) -> None:
        self._shell.post(SUCCESSOR, pack((HANDOVER, step, tuple(what))))


def _envelope_of(key: int, entry: Entry) -> tuple[Any, ...] | None:
    """Give the envelope that a mailbox's entry came with; None for what ends with its actor."""
    if entry.kind == TELL:
        return TELL, key, entry.sender, entry.number, entry.body
    if entry.kind == ASK:
        return ASK, key, entry.sender, entry.deadline, entry.number, entry.body
    if entry.kind == EVENT:
        return EVENT, "", [key], entry.sender, 0, entry.body
    if entry.kind == INSPECTION:
        return INSPECT, key, entry.number, entry.body
    return None
