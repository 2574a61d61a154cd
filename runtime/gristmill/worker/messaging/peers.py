"""``Peers``: other processes come, die and are replaced, and names come and go with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gristmill.death import Death
from gristmill.ref import Address
from gristmill.supervision import ExitReason, describe
from gristmill.transport.control import PeerInfo
from gristmill.transport.envelope import Envelope
from gristmill.transport.segment_directory import Process

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore


class Peers:
    """Keeps the directory of a worker, and sees to what was on the way when it changes."""

    def __init__(self, core: WorkerCore) -> None:
        self._core = core
        self._shell = core.shell
        self._directory = core.directory
        self._moving: dict[int, PeerInfo] = {}
        """Processes that were replaced, by whom, and from which something may still come."""
        self._silent: dict[int, int] = {}
        """Processes that say no more, by address, and their incarnations."""
        self._early: dict[int, list[list[Envelope]]] = {}
        """Frames that rely on news that have not come yet, by address."""
        self._news = 0
        """The number of the last news that were heard."""

    # --- processes ---

    def up(self, peer: PeerInfo) -> None:
        """A process can be reached."""
        self._directory.peer_up(peer)
        for cell in self._core.cells.values():
            cell.owed.pop(peer.address, None)
        self._shell.connect(peer)
        self._take_in_early()

    def heard(self, news: int) -> None:
        """News have been heard, up to this number: what relies on them is taken in."""
        self._news = news
        self._shell.heard(news)
        self._take_in_early()

    def keeps(self, envelopes: list[Envelope]) -> bool:
        """Keep a frame whose sender has heard more than this worker, until that hears it too.

        Frames and news come by different pipes. Taken in at once, what names an actor that has
        started would find none of that name; and what the next incarnation of a process asks would
        be answered to the one before, and go with the news of that one's death.
        Gives False for the other worker of this place, of which nobody brings news.
        """
        header = envelopes[0]
        address = header[1]
        if header[7] <= self._news and not 0 < self._directory.incarnation(address) < header[2]:
            return False
        if address == self._shell.address:
            return False
        self._early.setdefault(address, []).append(envelopes)
        return True

    def _take_in_early(self) -> None:
        if not self._early:
            return
        kept, self._early = self._early, {}
        for frames in kept.values():
            for envelopes in frames:
                if not self.keeps(envelopes):
                    self._core.inlet.take_in(envelopes)

    def down(
        self,
        address: int,
        name: str,
        reason: ExitReason,
        death: Death | None = None,
        *,
        final: bool,
    ) -> None:
        """A process has died: its credit is void, and asks to it fail once the pipe is empty."""
        self._shell.disconnect(address, final=final)
        incarnation = self._directory.incarnation(address)
        self._core.arrays.pool.peer_down(Process(address, incarnation))
        self._moving.pop(address, None)
        self._silent.pop(address, None)
        self._directory.peer_down(address, final=final)
        self._core.delivery.lost(address)
        self._core.sending.process_died(address)
        died = f"its worker {name} died ({describe(reason)})"
        self._core.asks.process_died(address, died, death, final=final)

    def moved(self, peer: PeerInfo) -> None:
        """A process is replaced by its next incarnation, which gets all that was sent to it.

        This process sends to that one, and hears from it, once it has heard all of the one before.
        """
        self._moving[peer.address] = peer
        self._move_if_silent(peer.address)

    def on_last(self, address: int, incarnation: int) -> None:
        """A process that is replaced says no more."""
        self._silent[address] = incarnation
        self._move_if_silent(address)

    def _move_if_silent(self, address: int) -> None:
        before = self._directory.incarnation(address)
        if address in self._moving and self._silent.get(address) == before:
            self._move(self._moving.pop(address), before)

    def _move(self, peer: PeerInfo, before: int) -> None:
        self._silent.pop(peer.address, None)
        self._directory.peer_up(peer)
        self._core.delivery.moved(peer.address, before, peer.incarnation)
        self._shell.move(peer)
        self._take_in_early()

    def departed(self, address: int, incarnation: int) -> None:
        """A process that was replaced has ended."""
        if address in self._moving:  # it has died before it said its last
            self._move(self._moving.pop(address), incarnation)
        self._shell.close_moved(address)
        self._core.arrays.pool.peer_down(Process(address, incarnation))

    # --- names ---

    def registered(self, address: Address) -> None:
        """A name stands for an actor now, whose process has announced itself before."""
        self._directory.add(address)
        self._core.delivery.located(address)

    def unregistered(self, key: int, name: str) -> None:
        """A name is free again."""
        if self._directory.remove(key, name):
            self._core.delivery.unlocated(name)
