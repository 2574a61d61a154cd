"""Links: pairs of actors that end together, and exit signals."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from gristmill.behaviours.links import Exited
from gristmill.ref import Address, Ref
from gristmill.supervision import ExitReason, Killed, Lost, NoProc, Normal
from gristmill.transport.signals import Exit, Join, Part, Signal
from gristmill.worker.actors.cell import Cell, State

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore


class _Peer(NamedTuple):
    """The other end of a link."""

    address: Address
    incarnation: int
    """That of its process."""


class Links:
    """The links of one worker's actors.

    Args:
        core: the worker's core.
        send: brings a signal to (process, actor key).
        inform: puts a message about an end into a mailbox.
    """

    def __init__(
        self,
        core: WorkerCore,
        send: Callable[[int, int, Signal], None],
        inform: Callable[[Cell, Exited], None],
    ) -> None:
        self._core = core
        self._send = send
        self._inform = inform
        self._peers: dict[int, dict[int, _Peer]] = {}
        """For each actor of this worker its peers, by their keys."""

    def __len__(self) -> int:
        """How many actors are linked."""
        return len(self._peers)

    def link(self, cell: Cell, to: Address, incarnation: int) -> None:
        """Link an actor to another one; a second time, or to itself, changes nothing."""
        if to.key == cell.key or to.key in self._peers.get(cell.key, ()):
            return
        if to.home in self._core.directory.gone:
            self._signal(cell, to, NoProc())
            return
        self._peers.setdefault(cell.key, {})[to.key] = _Peer(to, incarnation)
        own = self._core.shell.incarnation
        self._send(to.home, to.key, Join(self._address(cell), own))

    def unlink(self, cell: Cell, to: Address) -> None:
        """Break a link, whoever made it; no signal comes of it afterwards."""
        if self._take(cell.key, to.key) is not None:
            self._send(to.home, to.key, Part(cell.key))

    def exit(self, cell: Cell, to: Address, reason: ExitReason) -> None:
        """Send an exit signal (an effect)."""
        self._send(to.home, to.key, Exit(self._address(cell), reason, linked=False))

    def _take(self, key: int, peer: int) -> _Peer | None:
        peers = self._peers.get(key)
        found = peers.pop(peer, None) if peers is not None else None
        if not peers:
            self._peers.pop(key, None)
        return found

    def _address(self, cell: Cell) -> Address:
        spec = cell.spec
        assert spec is not None
        return Address(cell.key, self._core.shell.address, spec.type, spec.name, spec.mailbox)

    # --- what comes in ---

    def on_join(self, key: int, sender: Address, incarnation: int) -> None:
        """An actor has linked itself to one of this worker's."""
        cell = self._core.cells.get(key)
        if cell is None or cell.state is State.HELD:
            here = Address(key, self._core.shell.address, "")
            self._send(sender.home, sender.key, Exit(here, NoProc(), linked=True))
            return
        known = self._peers.get(key, {}).get(sender.key)
        if known is not None and known.incarnation < incarnation:
            # its process has been replaced; how it died is told too late to be the reason
            lost = Lost(self._core.directory.process_name(sender.home))
            self._broken(cell, sender.key, lost)
        self._peers.setdefault(key, {})[sender.key] = _Peer(sender, incarnation)

    def on_part(self, key: int, sender: int) -> None:
        """The other end has broken the link."""
        self._take(key, sender)

    def on_exit(self, key: int, sender: Address, reason: ExitReason, *, linked: bool) -> None:
        """An exit signal has come; of a link that no longer is, it has no effect."""
        cell = self._core.cells.get(key)
        if cell is None or cell.state is State.HELD:
            return
        if linked:
            self._broken(cell, sender.key, reason)
        elif isinstance(reason, Killed):
            self._core.lifecycle.kill(cell)
        else:
            self._signal(cell, sender, reason)

    def _broken(self, cell: Cell, peer: int, reason: ExitReason) -> None:
        found = self._take(cell.key, peer)
        if found is not None:
            self._signal(cell, found.address, reason)

    def _signal(self, cell: Cell, sender: Address, reason: ExitReason) -> None:
        """Have an exit signal take effect: a message, the actor's end, or nothing."""
        if cell.actor is not None and cell.actor.trap_exits:
            self._inform(cell, Exited(Ref(sender, self._core.sending), reason))
        elif isinstance(reason, Normal):
            return
        elif cell.task is not None:  # its mailbox may wait for ever
            self._core.lifecycle.end(cell, reason)
        elif cell.stop_reason is None:
            self._core.lifecycle.stop(cell.key, cell.incarnation, reason)

    # --- ends ---

    def ended(self, cell: Cell, reason: ExitReason) -> None:
        """An incarnation of this worker has ended: its peers get the signal."""
        peers = self._peers.pop(cell.key, None)
        if peers:
            own = self._address(cell)
            for key, peer in peers.items():
                self._send(peer.address.home, key, Exit(own, reason, linked=True))

    def process_lost(self, address: int, incarnation: int, reason: ExitReason) -> None:
        """A process has died, and all it had to say has been taken in."""
        for key, peers in tuple(self._peers.items()):
            for peer, found in tuple(peers.items()):
                if found.address.home == address and found.incarnation <= incarnation:
                    cell = self._core.cells.get(key)
                    if cell is not None:
                        self._broken(cell, peer, reason)
