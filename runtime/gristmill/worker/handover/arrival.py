"""``Arrival``: a worker that takes the place of another one, whose messages come first.

What another process sends to it directly is held until what that had sent to the worker before has
been passed on, and what it has to say is held until the other one has heard all of the worker
before: its fence stands behind both. So the order between any two actors stays.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from gristmill.transport import control as c
from gristmill.transport.envelope import (
    ARRAYS,
    HANDOVER,
    HEADER,
    PASS,
    RELAY,
    Envelope,
)
from gristmill.worker.actors.cell import Entry

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore
    from gristmill.worker.handover.succession import Wires

PEERS, FENCED, END = range(3)
"""The steps of a hand-over: who will still send the old way, whose fence has come, all has come."""


class Arrival:
    """What comes to a worker until it has the place for itself.

    Args:
        core: the worker's core.
        wires: the process around it.
    """

    def __init__(self, core: WorkerCore, wires: Wires) -> None:
        self._core = core
        self._wires = wires
        self._here = core.shell.address
        self._begun = False
        self._relayed: list[list[Envelope]] = []
        """What was passed on before this worker was told to take over."""
        self._held: defaultdict[int, list[list[Envelope]]] = defaultdict(list)
        """What came directly, by the sending process."""
        self._apart: dict[int, c.PeerInfo] = {}
        """Processes that this one does not speak to yet; what is for them waits."""
        self._fenced: set[int] = set()
        self._awaited: set[int] | None = None
        """Who sends the old way until its fence comes; None while that is not known."""

    # --- frames ---

    def take_in(self, envelopes: list[Envelope]) -> None:
        """Take in a frame, or hold it until it is its turn."""
        if not envelopes:
            return
        source = envelopes[0][1]
        if not source:
            self._core.intake.take_in(envelopes)
        elif source == self._here:
            self._relay(envelopes)
        elif self._may_pass(source):
            self._core.intake.take_in(envelopes)
        else:
            self._held[source].append(envelopes)

    def take_in_alone(self, envelopes: list[Envelope]) -> None:
        """Take in a frame and have a turn."""
        self.take_in(envelopes)
        self._core.turn()

    def _may_pass(self, source: int) -> bool:
        if source in self._fenced:
            return True
        return self._awaited is not None and source not in self._awaited

    def _relay(self, envelopes: list[Envelope]) -> None:
        if not self._begun:
            self._relayed.append(envelopes)
            return
        for envelope in envelopes[1:]:
            if envelope[0] == RELAY and envelope[2]:
                self._deliver_paid(envelope[1], envelope[3])
            elif envelope[0] in (RELAY, PASS):
                self._core.intake.take_in([[HEADER, envelope[1], 0, 0, 1, 0, 0, 0], envelope[-1]])
            elif envelope[0] == HANDOVER:
                self._step(envelope[1], envelope[2])

    def _deliver_paid(self, source: int, envelope: Envelope) -> None:
        """Put a message whose place was given back already into its mailbox."""
        if envelope[0] == ARRAYS:
            envelope = self._core.arrays.open(envelope)
        kind, target, sender, *deadline, number, (body,) = envelope
        arrived = self._core.meter.last
        due = deadline[0] if deadline else 0.0
        entry = Entry(kind, source, sender, number, due, body, None, arrived)
        self._core.deliver(target, [entry])

    def _step(self, step: int, what: list[int]) -> None:
        if step == PEERS:
            self._awaited = set(what)
            known = {*self._held, *self._apart}
            self._let_in(source for source in known if self._may_pass(source))
        elif step == FENCED:
            self._fenced.update(what)
            self._let_in(what)
        elif step == END:
            self.alone()
            self._core.shell.control(c.TookOver(self._here, self._core.shell.incarnation))

    def _let_in(self, sources: Iterable[int]) -> None:
        for source in sources:
            for envelopes in self._held.pop(source, ()):
                self._core.intake.take_in(envelopes)
            peer = self._apart.pop(source, None)
            if peer is not None:
                self._core.shell.connect(peer)

    # --- what the supervisor process says ---

    def begin(self, keys: Iterable[int], legacy: c.Legacy | None) -> None:
        """The worker before has ended all its actors: from now on they are this one's.

        Args:
            keys: the actors that are going to be started here.
            legacy: what the worker before knew; None if it has died.
        """
        core = self._core
        store = self._wires.open_journal()
        for key in keys:
            core.lifecycle.expect(key)
        core.sending.open(store, legacy or c.Legacy())
        core.records.open(store)
        core.keyed.reopened()
        self._begun = True
        relayed, self._relayed = self._relayed, []
        if legacy is None:
            self.alone()
            return
        for envelopes in relayed:
            self._relay(envelopes)

    def alone(self) -> None:
        """Nothing more is passed on: what came directly is taken in, and no more is held."""
        if not self._begun:
            return
        self._core.inlet = self._core.intake
        self._awaited = set()
        self._let_in({*self._held, *self._apart})
        self._core.shell.request_turn()

    # --- the ways to others ---

    def holds(self, peer: c.PeerInfo) -> bool:
        """Tell whether to connect to a process later."""
        if self._may_pass(peer.address):
            return False
        self._apart[peer.address] = peer
        return True

    def peer_down(self, address: int) -> None:
        """A process has died."""
        self._apart.pop(address, None)
