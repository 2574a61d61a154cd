"""``Bonds``: monitors and links of a worker's actors, and the way of the signals between them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from gristmill.behaviours.links import Down, MonitorRef
from gristmill.keyed import refuse_keyed
from gristmill.messages import Event
from gristmill.ref import AnyRef
from gristmill.supervision import ExitReason, Lost, NoProc
from gristmill.transport.control import FIRST_CLIENT
from gristmill.transport.signals import (
    Ended,
    Exit,
    Join,
    Part,
    Probe,
    Signal,
    Unwatch,
    Watch,
    decode_signal,
    signal_envelope,
)
from gristmill.worker.actors.cell import SIGNAL, Cell, Entry
from gristmill.worker.actors.links import Links
from gristmill.worker.actors.monitors import Monitors
from gristmill.worker.telemetry import counters

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore


class Bonds:
    """What one worker's actors want to know of the ends of others, and others of theirs."""

    def __init__(self, core: WorkerCore) -> None:
        self._core = core
        self._here = core.shell.address
        self._monitors = Monitors(core, self.send, self._inform)
        self._links = Links(core, self.send, self._inform)
        self._local: deque[tuple[int, Signal]] = deque()
        self._delivering = False
        self._died: dict[int, int] = {}
        """The last incarnation of each process that has died."""

    # --- what actors do ---

    def monitor(self, cell: Cell, to: AnyRef) -> MonitorRef:
        """Have an actor told when the present incarnation of another one ends."""
        return self._open(cell, to, "monitored", lambda one, reason: Down(to, reason, one))

    def watch(self, cell: Cell, to: AnyRef, make: Callable[[ExitReason], Event]) -> MonitorRef:
        """Have an actor handle the event that ``make`` makes of that end."""
        return self._open(cell, to, "watched", lambda _, reason: make(reason))

    def _open(
        self, cell: Cell, to: AnyRef, what: str, make: Callable[[MonitorRef, ExitReason], Event]
    ) -> MonitorRef:
        address = to.address
        refuse_keyed(address, what)
        return self._monitors.open(cell, address, self._incarnation(address.home), make)

    def demonitor(self, cell: Cell, monitor: MonitorRef, *, flush: bool) -> None:
        """End a monitor of the actor's; with ``flush`` take its ``Down`` out of the mailbox."""
        self._monitors.close(cell, monitor, flush=flush)

    def link(self, cell: Cell, to: AnyRef) -> None:
        """Link two actors."""
        refuse_keyed(to.address, "linked to")
        self._links.link(cell, to.address, self._incarnation(to.address.home))

    def unlink(self, cell: Cell, to: AnyRef) -> None:
        """Break the link of two actors."""
        self._links.unlink(cell, to.address)

    def exit(self, cell: Cell, to: AnyRef, reason: ExitReason) -> None:
        """Send an exit signal; that of a durable actor leaves with its messages."""
        if cell.durable and self._core.sending.origin is cell:
            self._core.effects.add(cell, self._links.exit, to.address, reason)
        else:
            self._links.exit(cell, to.address, reason)

    def _incarnation(self, home: int) -> int:
        """Give the incarnation of the process that a signal sent now goes to."""
        known = self._core.directory.incarnation(home)
        return max(known, self._died.get(home, -1) + 1)

    # --- what happens ---

    def ended(self, cell: Cell, reason: ExitReason, *, to_links: ExitReason | None = None) -> None:
        """An incarnation of this worker has ended, for its links for another reason perhaps."""
        if self._monitors:
            self._monitors.ended(cell, reason)
        if self._links:
            self._links.ended(cell, to_links or reason)

    def process_died(
        self, address: int, incarnation: int, reason: ExitReason, *, final: bool
    ) -> None:
        """A process has died: what it sent before comes first, then the ends of its actors.

        One that nobody comes after (``final``) had no actor any more.
        """
        if final:
            reason = NoProc()
        if address < FIRST_CLIENT:  # others have no actors that could be linked
            self._died[address] = incarnation

        def settle() -> None:
            self._monitors.process_lost(address, incarnation, reason)
            self._links.process_lost(address, incarnation, reason)

        self._core.shell.when_drained(settle)

    # --- signals ---

    def on_signal(self, source: int, key: int, body: bytes) -> None:
        """Take in a signal from another process."""
        self._take(source, key, decode_signal(body))

    def send(self, home: int, key: int, signal: Signal) -> None:
        """Send a signal; one within this worker is handled here, and never inside another one."""
        self._core.effects.settle()  # what was told before goes first
        if home != self._here:
            if home not in self._core.directory.gone:
                self._core.shell.post(home, signal_envelope(key, signal))
            return
        self._local.append((key, signal))
        if self._delivering:
            return
        self._delivering = True
        try:
            while self._local:
                self._take(self._here, *self._local.popleft())
        finally:
            self._delivering = False

    def _take(self, source: int, key: int, signal: Signal) -> None:
        match signal:
            case Watch(number):
                self._monitors.on_watch(source, key, number)
            case Unwatch(number):
                self._monitors.on_unwatch(source, key, number)
            case Ended(number, reason):
                self._monitors.on_ended(number, reason)
            case Join(sender, incarnation):
                self._links.on_join(key, sender, incarnation)
                if incarnation <= self._died.get(sender.home, -1):  # told before this was read
                    lost = Lost(self._core.directory.process_name(sender.home))
                    self._links.process_lost(sender.home, incarnation, lost)
            case Part(peer):
                self._links.on_part(key, peer)
            case Exit(sender, reason, linked):
                self._links.on_exit(key, sender, reason, linked=linked)
            case Probe(chain):
                self._core.starving.on_probe(key, chain)

    def _inform(self, cell: Cell, message: Event) -> None:
        """Put a message about an end into a mailbox, which always has room for it."""
        core = self._core
        core.counters[counters.SENT] += 1
        cell.own("queue").append(Entry(SIGNAL, 0, 0, 0, 0.0, b"", message, core.meter.last))
        core.schedule(cell)
