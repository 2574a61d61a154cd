"""``Delivery``: at-least-once messages of a worker's actors, from journal to acknowledgement.

Without a journal nothing is sent at least once, and all of this does nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gristmill.durability import JournalStore
from gristmill.errors import UsageError
from gristmill.ref import POOLED, Address
from gristmill.transport.envelope import ACK, TELL, pack
from gristmill.worker.actors.cell import Cell, Entry
from gristmill.worker.messaging.outbox import Outbox
from gristmill.worker.telemetry import counters

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore


class Delivery:
    """Sends what must arrive, and acknowledges what has arrived and was handled.

    Args:
        core: of the worker.
        store: its journal; None if the node has none.
    """

    def __init__(self, core: WorkerCore, store: JournalStore | None) -> None:
        self._core = core
        self._shell = core.shell
        self._here = core.shell.address
        self._directory = core.directory
        self.store = store
        self._outbox = Outbox(store, self._transmit) if store is not None else None

    # --- sending ---

    def check(self, to: Address) -> None:
        """Check that something can be sent at least once, before it is.

        Raises:
            UsageError: there is no journal, or the target has no name.
        """
        if self._outbox is None:
            raise UsageError(
                "delivery='at_least_once' needs a journal; start the node with journal=DIRECTORY"
            )
        if not to.name:
            raise UsageError(
                f"delivery='at_least_once' needs a named target, and {to.label} has no name"
            )

    def send(self, origin: Cell | None, to: Address, bodies: list[bytes]) -> None:
        """Journal messages to one target, and send each when there is room."""
        assert self._outbox is not None
        sender = origin.spec.name if origin is not None and origin.spec is not None else ""
        if to.home == POOLED:  # each goes to a member of its own
            for body in bodies:
                chosen = self._core.keyed.pools.find_journaled(to)
                self._outbox.send(chosen, sender, [body])
                if chosen.home < 0:
                    self._core.keyed.want(to)
            return
        self._outbox.send(to, sender, bodies)
        if to.home < 0:
            self._core.keyed.want(to)

    def _transmit(
        self, to: Address, sender: str, first: int, bodies: list[bytes], *, again: bool
    ) -> None:
        self._core.counters[counters.SENT] += len(bodies)
        self._core.counters[counters.RESENT] += again * len(bodies)
        if to.home == self._here:
            arrived = self._core.meter.last
            entries = [
                Entry(TELL, to.home, sender, number, 0.0, body, None, arrived)
                for number, body in enumerate(bodies, first)
            ]
            self._core.deliver(to.key, entries)
        else:
            self._shell.outbound(to.home).put_run((TELL, to.key, sender), first, bodies)

    def on_ack(self, target: str, number: int) -> None:
        """A target has handled this process's messages up to ``number``."""
        if self._outbox is not None:
            self._outbox.acknowledged(target, number)
            if target in self._core.keyed.pools.retiring:
                self._core.keyed.pools.acknowledged(target)
            self._core.leaving.leave_when_done()

    # --- where the targets are ---

    def located(self, address: Address) -> None:
        """An actor with a name is here: what must reach it goes there."""
        if self._outbox is not None:
            self._outbox.located(address, self._directory.incarnation(address.home))

    def unlocated(self, name: str) -> bool:
        """An actor leaves its place; give whether something must reach it still."""
        if self._outbox is None:
            return False
        self._outbox.unlocated(name)
        return self.has_open(name)

    def has_open(self, name: str) -> bool:
        """Tell whether something must still reach an actor."""
        return self._outbox is not None and self._outbox.has_open(name)

    @property
    def undelivered(self) -> int:
        """How many messages are not acknowledged yet."""
        return len(self._outbox) if self._outbox is not None else 0

    def open_to(self, name: str) -> int:
        """Count what must still reach an actor."""
        return self._outbox.open_to(name) if self._outbox is not None else 0

    def pass_on(self, name: str, choose: Callable[[], Address]) -> None:
        """Give what must still reach a member of a pool that is no more to others."""
        if self._outbox is not None:
            self._outbox.pass_on(name, choose)

    def open_targets(self, prefix: str) -> list[str]:
        """Give the names that begin so of those that something must still reach."""
        return self._outbox.open_targets(prefix) if self._outbox is not None else []

    def lost(self, address: int) -> None:
        """A process has died."""
        if self._outbox is not None:
            self._outbox.lost(address)

    def moved(self, address: int, before: int, now: int) -> None:
        """A process was replaced by its next incarnation, which has all that was sent."""
        if self._outbox is not None:
            self._outbox.moved(address, before, now)

    # --- receiving ---

    def handled(self, cell: Cell, source: int, number: int) -> None:
        """What a process has numbered is dealt with up to here: mark it, and have it acknowledged.

        Args:
            cell: the actor that it was sent to.
            source: the process.
            number: of the last message.
        """
        if cell.durable and self.store is not None and cell.spec is not None:
            sender = self._directory.process_name(source)
            cell.own("marks")[sender] = number
            self.store.mark(cell.spec.name, sender, number)
        cell.own("acknowledged")[source] = number

    def acknowledge(self, cell: Cell) -> None:
        """Say which at-least-once messages an actor has handled: the last one of each sender."""
        name = cell.spec.name if cell.spec is not None else ""
        for source, number in cell.acknowledged.items():
            if source == self._here:
                self.on_ack(name, number)
            elif source not in self._directory.gone:
                self._shell.post(source, pack((ACK, name, number)))
        cell.acknowledged.clear()

    # --- when this worker is replaced, or replaces another one ---

    def close(self) -> dict[str, tuple[int, int, int]]:
        """Let go of the journal; give how far each target was sent."""
        lanes = self._outbox.positions() if self._outbox is not None else {}
        self.store = self._outbox = None
        return lanes

    def open(self, store: JournalStore, lanes: dict[str, tuple[int, int, int]]) -> None:
        """Go on from where the process before this one has stopped."""
        self.store = store
        self._outbox = Outbox(store, self._transmit)
        now = self._directory.incarnation(self._here)
        own = {
            name: (home, now, sent) for name, (home, _, sent) in lanes.items() if home == self._here
        }
        self._outbox.resume(lanes | own)  # what was sent to actors here is passed on with them
        for address in self._directory.named():
            self._outbox.located(address, self._directory.incarnation(address.home))
