"""``Replying``: replies, errors and late answers go back to the process that asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gristmill.deferred import Ticket
from gristmill.transport.envelope import ANSWER, ERROR, REPLY, pack
from gristmill.transport.outbound import Head
from gristmill.worker.actors.cell import Cell

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore

REPLY_HEAD: Final = (REPLY,)
"""What the envelopes of all replies have in common."""


class Replying:
    """Answers asks on behalf of a worker's core. Replies need no credit."""

    def __init__(self, core: WorkerCore) -> None:
        self._core = core
        self._shell = core.shell
        self._here = core.shell.address
        self._seal = core.shell.arrays.seal
        self._asks = core.asks
        self._directory = core.directory

    def reply(self, to: int, number: int, body: bytes) -> None:
        """Send a reply to the process that asked."""
        if to == self._here:
            self._asks.on_reply(number, body)
        elif to and to not in self._directory.gone:
            if type(body) is bytes:
                self._shell.outbound(to).put(REPLY_HEAD, number, body)
            else:
                self._shell.post(to, pack(self._seal((REPLY, number, body), to)))

    def way_for_replies(self, to: int) -> Callable[[Head, int, bytes], None] | None:
        """Give what puts replies on their way to another process; None if that needs a look."""
        if to == self._here or to in self._directory.gone:
            return None
        return self._shell.outbound(to).put

    def reply_at_once(self, to: int, number: int, body: bytes) -> None:
        """Send a reply without waiting for the end of the turn."""
        if to == self._here or to in self._directory.gone or type(body) is not bytes:
            self.reply(to, number, body)
        else:
            self._shell.send_now(to, pack((REPLY, number, (body,))))

    def reply_error(self, to: int, number: int, body: bytes) -> None:
        """Send an error to the process that asked."""
        if to == self._here:
            self._asks.on_error(number, body)
        elif to and to not in self._directory.gone:
            self._shell.post(to, pack((ERROR, number, body)))

    # --- deferred requests ---

    def answer(self, origin: Cell | None, ticket: Ticket, value: Any) -> None:  # noqa: ANN401 - the reply
        """Answer a deferred request; an effect of a durable actor's handler."""
        body = self._core.codec.encode(value)
        if origin is not None and origin.durable:
            self._core.effects.add(origin, self._answer, ticket, body)
        else:
            self._answer(origin, ticket, body)

    def _answer(self, _origin: Cell | None, ticket: Ticket, body: bytes) -> None:
        key, home, process, number = msgspec.structs.astuple(ticket)
        if home == self._here:
            self.answered(key, process, number, body)
        elif home not in self._directory.gone:
            items = (ANSWER, key, process, number, body)
            self._shell.post(home, pack(items if type(body) is bytes else self._seal(items, home)))
        self._shell.request_turn()

    def answered(self, key: int, process: int, number: int, body: bytes) -> None:
        """Pass an answer on to the asker; drop a second one, and one that comes too late."""
        cell = self._core.cells.get(key)
        if cell is not None and cell.deferred.pop((process, number), None) is not None:
            self.reply(process, number, body)
