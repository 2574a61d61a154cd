"""Cycles of asks: a chain that comes back to an actor that waits is named, and not waited out.

The sender of an awaited ask is a chain, ``[[key, label], ...]``: the actor that asks, then the one
whose ask it serves meanwhile, and so on. A tell, a deferred reply or a request whose reply is
fetched later ends the chain, for then nobody waits.

Three or more that ask at the same time have no chain in common. So an ask that comes to an actor
that waits sends a probe to whom that one waits for, and on from there, until it comes to one that
waits for an actor on its way: edge chasing, as in Chandy, Misra and Haas (1983).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from gristmill.errors import AskCycle
from gristmill.ref import Address
from gristmill.transport.envelope import ASK, PROBE, pack
from gristmill.worker.actors.cell import Cell, Entry

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore

Chain = Sequence[tuple[int, str]]


class Cycles:
    """Finds the asks that wait for an actor that waits for those who sent them.

    A chain can't tell where actors ask each other at the same time, or where one waits for a
    request that it has sent before: the asks that come to an actor that waits do.
    """

    def __init__(self, core: WorkerCore) -> None:
        self._core = core

    def chain_of(self, cell: Cell, to: Address) -> list[tuple[int, str]]:
        """Give who waits when an actor asks now: itself, and those whose asks it serves.

        Raises:
            AskCycle: the actor that it wants to ask is one of them.
        """
        if cell.is_at(to):
            raise AskCycle(f"{cell.label} asks itself, and would wait for ever; call the method")
        chain = [(cell.key, cell.label)]
        entry = cell.current
        if (
            entry is not None
            and entry.kind == ASK
            and isinstance(entry.sender, list)
            and (entry.source, entry.number) not in cell.deferred
        ):
            chain += entry.sender
            asked = self._place_of(to).key
            for place, (key, label) in enumerate(chain):
                if key == asked:
                    raise _cycle([label for _, label in reversed(chain[: place + 1])], label)
        return chain

    def _place_of(self, to: Address) -> Address:
        """Give an actor's address where it lives; of a keyed actor without a place its own."""
        return self._core.keyed.find(to) or to

    @contextmanager
    def waiting(self, cell: Cell, to: Address) -> Iterator[None]:
        """Look at the asks that come while an actor waits for another one's reply."""
        incarnation = cell.incarnation
        place = self._place_of(to)
        cell.awaited = (*cell.awaited, place)
        try:
            yield
        finally:
            if cell.incarnation == incarnation and place in cell.awaited:
                at = cell.awaited.index(place)
                cell.awaited = cell.awaited[:at] + cell.awaited[at + 1 :]

    @contextmanager
    def waiting_late(self, cell: Cell, to: Address) -> Iterator[None]:
        """Do so for a request that was sent before, and look at the asks that came meanwhile.

        Raises:
            AskCycle: the callee waits for the actor already.
        """
        self.chain_of(cell, to)
        with self.waiting(cell, to):
            for entry in [each for each in cell.queue if type(each.sender) is list]:
                self._look(cell, entry)
            yield

    def came(self, cell: Cell, entries: list[Entry]) -> None:
        """Asks that actors wait for have come into a mailbox."""
        if cell.awaited:
            for entry in entries:
                self._look(cell, entry)

    def probed(self, target: int, chain: Chain) -> None:
        """A probe has come to an actor for which the first of a chain waits."""
        cell = self._core.cells.get(target)
        if cell is None or not cell.awaited:
            return
        first = chain[0][0]
        for entry in cell.queue:
            if type(entry.sender) is list and entry.sender[0][0] == first:
                self._follow(cell, entry, chain)
                return

    def _look(self, cell: Cell, entry: Entry) -> None:
        assert isinstance(entry.sender, list)
        self._follow(cell, entry, entry.sender)

    def _follow(self, cell: Cell, entry: Entry, chain: Chain) -> None:
        """Refuse an ask in an actor's mailbox that waits for what the actor waits for.

        ``chain`` is who waits for the ask; where none is waited for here the probe goes on.
        """
        names = [cell.label]
        awaited = {place.key for place in cell.awaited}
        for key, label in chain:
            names.insert(1, label)
            if key in awaited:
                cell.queue.remove(entry)
                if entry.holds_place:
                    self._core.free_places(cell, entry.source, 1)
                self._core.failures.refuse(cell, entry, _cycle(names, cell.label))
                return
            if key == cell.key:
                return  # it has come round a circle in which this ask is not
        shell, longer = self._core.shell, [(cell.key, cell.label), *chain]
        for place in cell.awaited:
            if place.home == shell.address:
                shell.call_later(0.0, partial(self.probed, place.key, longer))
            elif place.home >= 0 and place.home not in self._core.directory.gone:
                shell.post(place.home, pack((PROBE, place.key, longer)))


def _cycle(names: list[str], back_to: str) -> AskCycle:
    return AskCycle(
        f"the asks {' -> '.join(names)} -> {back_to} come back to an actor that waits, and would "
        "wait for ever; tell it instead, or let it answer later with ctx.defer_reply()"
    )
