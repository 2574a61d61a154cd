"""Asks that a worker's actors have sent and whose replies are still to come."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec

from gristmill.death import Death
from gristmill.errors import (
    ActorDied,
    ActorError,
    ActorNotFoundError,
    AskTimeoutError,
    UsageError,
)
from gristmill.messages import Request, reply_type
from gristmill.metrics import TimeClass
from gristmill.ref import Address
from gristmill.transport.envelope import ASK, ErrorReply, pack, to_exception
from gristmill.worker import counters
from gristmill.worker.cell import Cell, Entry

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore

R = TypeVar("R")

_SER = int(TimeClass.SER)
_GRACE = 0.005
"""Seconds for replies of a dead process that are still in the pipe."""


class _Open(NamedTuple):
    """An ask that waits for its reply."""

    future: asyncio.Future[Any]
    reply: Any
    to: Address
    request: str
    again: bytes | None
    """What to send again when the callee's worker dies: only of an idempotent request."""


class Asks:
    """The open asks of one worker."""

    def __init__(self, core: WorkerCore) -> None:
        self._core = core
        self._shell = core.shell
        self._open: dict[int, _Open] = {}
        self._next_number = (core.shell.incarnation << 40) + 1

    def __len__(self) -> int:
        """How many wait."""
        return len(self._open)

    async def ask(self, origin: Cell, to: Address, request: Request[R], timeout: float | None) -> R:
        """Send a request and await its reply; raises what :meth:`Ref.ask` raises."""
        if to.key == origin.key:
            raise UsageError(
                f"{origin.label} asks itself, and would wait for ever; call the method"
            )
        sending = self._core.sending
        if to.home in sending.directory.gone:
            raise ActorNotFoundError(f"{to.label} has stopped")
        meter = self._core.meter
        previous = meter.switch(_SER)
        body = self._core.codec.encode(request)
        meter.switch(previous)
        await sending.await_credit(to)
        number = self._next_number
        self._next_number += 1
        future = self._shell.create_future()
        name = type(request).__qualname__
        deadline = self._shell.now() + timeout if timeout is not None else 0.0
        envelope = pack((ASK, to.key, origin.key, number, deadline, body))
        again = envelope if type(request).__idempotent__ else None
        self._open[number] = _Open(future, reply_type(type(request)), to, name, again)
        self._core.counters[counters.SENT] += 1
        if to.home == self._shell.address:
            entry = Entry(ASK, to.home, origin.key, number, deadline, body, None, meter.last)
            self._core.deliver(to.key, entry)
        else:
            self._shell.post(to.home, envelope)
        self._shell.request_turn()
        timer = None
        if timeout is not None:
            expired = AskTimeoutError(
                f"{to.label} is alive and did not answer {name} in {timeout:g} s"
            )
            timer = self._shell.call_later(timeout, lambda: _fail(future, expired))
        try:
            return await future  # type: ignore[no-any-return]  # decoded as the request's reply type
        finally:
            self._open.pop(number, None)
            if timer is not None:
                timer.cancel()

    def on_reply(self, number: int, body: bytes) -> None:
        """An ask is answered; a late answer is dropped."""
        found = self._open.pop(number, None)
        if found is None or found.future.done():
            return
        try:
            found.future.set_result(self._core.codec.decoder(found.reply).decode(body))
        except msgspec.MsgspecError as error:
            text = (
                f"{found.to.label} answered {found.request} with something else than it "
                f"declares: {error}"
            )
            found.future.set_exception(to_exception(ErrorReply("ReplyTypeError", text)))

    def on_error(self, number: int, body: bytes) -> None:
        """An ask has failed."""
        found = self._open.pop(number, None)
        if found is not None and not found.future.done():
            error = to_exception(msgspec.msgpack.decode(body, type=ErrorReply))
            found.future.set_exception(error)

    def process_died(self, address: int, died: str, death: Death | None, *, final: bool) -> None:
        """Send idempotent requests to the next incarnation, and fail others, soon.

        Args:
            address: the process that has died.
            died: how, as a sentence.
            death: what else is known of it.
            final: there will be no next incarnation.
        """
        asked = [number for number, found in self._open.items() if found.to.home == address]
        if asked:
            self._shell.call_later(_GRACE, lambda: self._lost(asked, died, death, final=final))

    def _lost(self, asked: list[int], died: str, death: Death | None, *, final: bool) -> None:
        for number in asked:
            found = self._open.get(number)
            if found is None or found.future.done():
                continue
            if final:
                error: ActorError = ActorNotFoundError(f"{found.to.label} has stopped")
            elif found.again is not None:
                self._open[number] = found._replace(again=None)
                self._core.sending.send_again(found.to, found.again)
                continue
            else:
                to = found.to
                error = ActorDied.asked(to.label, to.key, found.request, died, death)
            del self._open[number]
            found.future.set_exception(error)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
