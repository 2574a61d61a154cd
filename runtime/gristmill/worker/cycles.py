"""Cycles of asks: a chain that comes back to an actor that waits is named, and not waited out.

The sender of an awaited ask is a chain, ``[[key, label], ...]``: the actor that asks, then the one
whose ask it serves meanwhile, and so on. A tell, a deferred reply or a request whose reply is
fetched later ends the chain, for then nobody waits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gristmill.errors import AskCycle
from gristmill.ref import Address
from gristmill.transport.envelope import ASK
from gristmill.worker.cell import Cell, Entry

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore

Chain = list[tuple[int, str]]


class Cycles:
    """Finds the asks that wait for an actor that waits for those who sent them.

    A chain can't tell where two actors ask each other at the same time, or where one waits for a
    request that it has sent before.
    """

    def __init__(self, core: WorkerCore) -> None:
        self._core = core

    def chain_of(self, cell: Cell, to: Address) -> Chain:
        """Give who waits when an actor asks now: itself, and those whose asks it serves.

        Raises:
            AskCycle: the actor that it wants to ask is one of them.
        """
        if cell.is_at(to):
            raise AskCycle(f"{cell.label} asks itself, and would wait for ever; call the method")
        chain: Chain = [(cell.key, cell.label)]
        entry = cell.current
        if (
            entry is not None
            and entry.kind == ASK
            and isinstance(entry.sender, list)
            and (entry.source, entry.number) not in cell.deferred
        ):
            chain += entry.sender
            asked = self._key_of(to)
            for place, (key, label) in enumerate(chain):
                if key == asked:
                    raise _cycle([label for _, label in reversed(chain[: place + 1])], label)
        return chain

    def _key_of(self, to: Address) -> int:
        """Give an actor's key where it lives; of a keyed actor without a place its number."""
        return (self._core.keyed.find(to) or to).key

    @contextmanager
    def waiting(self, cell: Cell, to: Address) -> Iterator[None]:
        """Look at the asks that come while an actor waits for another one's reply."""
        incarnation = cell.incarnation
        key = self._key_of(to)
        cell.awaited = (*cell.awaited, key)
        try:
            yield
        finally:
            if cell.incarnation == incarnation and key in cell.awaited:
                at = cell.awaited.index(key)
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

    def _look(self, cell: Cell, entry: Entry) -> None:
        """Refuse an ask in an actor's mailbox that waits for what the actor waits for."""
        names = [cell.label]
        assert isinstance(entry.sender, list)
        for key, label in entry.sender:
            names.insert(1, label)
            if key in cell.awaited:
                cell.queue.remove(entry)
                if entry.holds_place:
                    self._core.free_places(cell, entry.source, 1)
                self._core.failures.refuse(cell, entry, _cycle(names, cell.label))
                return


def _cycle(names: list[str], back_to: str) -> AskCycle:
    return AskCycle(
        f"the asks {' -> '.join(names)} -> {back_to} come back to an actor that waits, and would "
        "wait for ever; tell it instead, or let it answer later with ctx.defer_reply()"
    )
