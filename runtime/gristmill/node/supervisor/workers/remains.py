"""``Remains``: what processes leave when they end: counters, accounting, arrays."""

from __future__ import annotations

from functools import partial

from gristmill.node.deliveries import Deliveries, DeliveryBook
from gristmill.node.supervisor.accounts import Accounts
from gristmill.node.supervisor.roster import Roster
from gristmill.node.supervisor.shell import SupervisorShell
from gristmill.node.supervisor.traces import Traces
from gristmill.node.supervisor.workers.slots import Slot
from gristmill.transport import control as c
from gristmill.transport.segment_directory import Process

_ARRAYS_GRACE = 1.0
"""Seconds in which what a process sent before its end can arrive with its arrays."""


class Remains:
    """Keeps the figures of dead processes, and removes their arrays.

    Args:
        shell: of the supervisor process.
        roster: who lives.
        accounts: the accounting of all workers.
        traces: is told that what a worker has recorded is gone.
    """

    def __init__(
        self, shell: SupervisorShell, roster: Roster, accounts: Accounts, traces: Traces
    ) -> None:
        self._shell = shell
        self._roster = roster
        self._accounts = accounts
        self._traces = traces
        self._deliveries = DeliveryBook()

    def of_worker(self, slot: Slot, pid: int) -> None:
        """A worker has ended."""
        if slot.peer is not None:
            self._close_tally(slot.peer)
        self._accounts.close(slot, pid, self._shell.read_page(slot, remove=True))
        self._traces.ended(slot)
        self._remove_arrays(slot.address, slot.incarnation)

    def of_client(self, peer: c.PeerInfo) -> None:
        """A client has left."""
        self._close_tally(peer)
        self._remove_arrays(peer.address, peer.incarnation)

    def _close_tally(self, peer: c.PeerInfo) -> None:
        tally = self._shell.read_tally(peer, remove=True)
        if tally is not None:
            self._deliveries.close(tally)

    def _remove_arrays(self, address: int, incarnation: int) -> None:
        remove = partial(self._shell.remove_segments, Process(address, incarnation))
        self._shell.call_at(self._shell.now() + _ARRAYS_GRACE, remove)

    def deliveries(self) -> Deliveries:
        """Add up what became of all messages, of living processes and dead ones."""
        others = (slot.peer for slot in self._roster.slots.others())
        living = [*self._roster.peers(), *(peer for peer in others if peer is not None)]
        tallies = (self._shell.read_tally(peer, remove=False) for peer in living)
        return self._deliveries.read(tally for tally in tallies if tally is not None)
