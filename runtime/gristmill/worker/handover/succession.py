"""How a worker leaves its place to another one, or takes the place of one that leaves."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from gristmill.durability import JournalStore
from gristmill.errors import ErrorData, GristmillError
from gristmill.transport import control as c
from gristmill.transport.envelope import Envelope
from gristmill.worker.handover.arrival import Arrival
from gristmill.worker.handover.departure import Departure

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore

_log = logging.getLogger("gristmill.worker")


class Inlet(Protocol):
    """What a worker's frames go to: its intake, or who stands before that during a hand-over."""

    def take_in(self, envelopes: list[Envelope]) -> None:
        """Take in a frame that has been read, its header first; nothing if it is empty."""

    def take_in_alone(self, envelopes: list[Envelope]) -> None:
        """Do the same, and have a turn."""


class Wires(Protocol):
    """What a hand-over needs of the process around the core."""

    @property
    def unsent(self) -> bool:
        """Whether something has not left yet."""

    def open_journal(self) -> JournalStore | None:
        """Open the journal, if the node has one."""

    def close_journal(self) -> bool:
        """Commit and let go of the journal; if that can't be done the process ends instead."""

    def connect_other(self, address: int, peer: c.PeerInfo) -> None:
        """Open the way to the other worker of this place, under an address for it."""


class Succession:
    """The part that a worker has in a hand-over, if it has one.

    Args:
        core: the worker's core.
        wires: the process around it.
        arriving: whether it is to take the place of another one.
    """

    def __init__(self, core: WorkerCore, wires: Wires, *, arriving: bool) -> None:
        self._core = core
        self._wires = wires
        self._arrival = Arrival(core, wires) if arriving else None
        self._departure: Departure | None = None
        if self._arrival is not None:
            core.inlet = self._arrival

    def on_control(self, message: c.ControlMessage) -> bool:
        """Take in a message of the supervisor process; tell whether that was all of it."""
        match message:
            case c.HandOver(to, patience):
                self._departure = Departure(self._core, self._wires, to, patience)
                self._departure.begin()
            case c.Stay():
                if self._departure is not None:
                    self._departure.give_up()
                    self._departure = None
            case c.PeerDown(address) if self._arrival is not None:
                self._arrival.peer_down(address)
                return False
            case c.TakeOver(keys, before, legacy):
                self._take_over(keys, before, legacy)
            case c.Departed(address, _) if self._is_here(address) and self._arrival is not None:
                self._arrival.alone()
                self._arrival = None
                return False
            case _:
                return self._departure is not None and self._departure.on_control(message)
        return True

    def holds(self, peer: c.PeerInfo) -> bool:
        """Tell whether this worker does not speak to a process yet."""
        return self._arrival is not None and self._arrival.holds(peer)

    def _is_here(self, address: int) -> bool:
        return address == self._core.shell.address

    def _take_over(
        self, keys: tuple[int, ...], before: c.PeerInfo | None, legacy: c.Legacy | None
    ) -> None:
        if self._arrival is None:
            return
        if before is not None:  # whose arrays are given back when nobody here holds them any more
            self._wires.connect_other(self._core.shell.address, before)
        try:
            self._arrival.begin(keys, legacy)
        except GristmillError as error:  # the journal can't be opened
            _log.error("%s", error)
            self._core.shell.control(c.WorkerFailed(self._core.shell.address, ErrorData.of(error)))
