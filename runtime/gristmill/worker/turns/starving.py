"""Starving: actors that wait for room in each other's mailboxes in a circle, for ever.

Who has waited without any progress for a while sends a probe to the actor whose mailbox is full. An
actor that has waited as long passes it on to the one that it waits for itself. A probe that comes
home has gone round a circle in which everybody waits; the member with the lowest key fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from gristmill.errors import ErrorData, MailboxFullError
from gristmill.ref import Address
from gristmill.supervision import Crash
from gristmill.transport.signals import Probe
from gristmill.worker.actors.cell import Cell

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore

LIMIT = 1.0
"""Seconds without progress after which it is looked for a circle, again and again."""


class _Wait(NamedTuple):
    """An actor's wait for room in another one's mailbox."""

    cell: Cell
    incarnation: int
    to: Address
    since: float
    future: asyncio.Future[None] | None
    """What a handler awaits; None for tells of a handler that has gone on."""

    @property
    def over(self) -> bool:
        """Whether it waits no longer."""
        if self.cell.incarnation != self.incarnation:
            return True
        return self.future.done() if self.future is not None else not self.cell.blocked


class Starving:
    """Knows which actors of a worker wait for room, and since when."""

    def __init__(self, core: WorkerCore) -> None:
        self._core = core
        self._waits: dict[int, list[_Wait]] = {}

    def blocked(self, cell: Cell, to: Address) -> None:
        """The first of an actor's blocked tells waits for room from now on."""
        waits = [wait for wait in self._waits.get(cell.key, ()) if wait.future is not None]
        self._begin(waits, _Wait(cell, cell.incarnation, to, self._core.shell.now(), None))

    @contextmanager
    def awaiting(self, cell: Cell, to: Address, future: asyncio.Future[None]) -> Iterator[None]:
        """A handler awaits room while the block runs."""
        wait = _Wait(cell, cell.incarnation, to, self._core.shell.now(), future)
        self._begin(self._waits.get(cell.key, []), wait)
        try:
            yield
        finally:
            left = [one for one in self._waits.get(cell.key, ()) if one is not wait]
            if left:
                self._waits[cell.key] = left
            else:
                self._waits.pop(cell.key, None)

    def _begin(self, others: list[_Wait], wait: _Wait) -> None:
        self._waits[wait.cell.key] = [*(one for one in others if not one.over), wait]
        self._core.shell.call_later(LIMIT, lambda: self._look(wait))

    def _look(self, wait: _Wait) -> None:
        """Send a probe round, and look again later, while a wait goes on."""
        if wait not in self._waits.get(wait.cell.key, ()):
            return
        if wait.over:
            self._waits[wait.cell.key].remove(wait)
            return
        self._pass_on(wait, ())
        self._core.shell.call_later(LIMIT, lambda: self._look(wait))

    def _pass_on(self, wait: _Wait, chain: tuple[tuple[int, str], ...]) -> None:
        place = self._core.keyed.find(wait.to)
        if place is not None:  # else its actor has no mailbox yet
            probe = Probe((*chain, (wait.cell.key, wait.cell.label)))
            self._core.bonds.send(place.home, place.key, probe)

    def on_probe(self, key: int, chain: tuple[tuple[int, str], ...]) -> None:
        """A probe has come to an actor."""
        now = self._core.shell.now()
        waits = [
            wait for wait in self._waits.get(key, ()) if not wait.over and now - wait.since >= LIMIT
        ]
        members = [member for member, _ in chain]
        if key == members[0]:
            if key == min(members):
                for wait in waits:
                    self._fail(wait, chain)
        elif key not in members:
            for wait in waits:
                self._pass_on(wait, chain)

    def _fail(self, wait: _Wait, chain: tuple[tuple[int, str], ...]) -> None:
        cell = wait.cell
        names = [label for _, label in chain]
        error = MailboxFullError(
            f"{' -> '.join([*names, cell.label])} wait for room in each other's mailboxes, and "
            f"would wait for ever: {cell.label} fails; give a mailbox more capacity, or drop"
        )
        if wait.future is not None:
            if not wait.future.done():
                wait.future.set_exception(error)
            return
        blocked = list(cell.blocked)
        cell.blocked.clear()
        for to, body in blocked:
            self._core.failures.dead_letter(None, "", body, str(error), key=to.key)
        self._core.lifecycle.end(cell, Crash(ErrorData.of(error)))
