"""Asks that a worker's actors have sent and whose replies are still to come."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec

from gristmill.death import LAST_WORDS_SECONDS, POISON_LIMIT, Death
from gristmill.errors import (
    ActorDied,
    ActorError,
    ActorNotFoundError,
    AskTimeoutError,
    GristmillError,
    MailboxFullError,
    QuarantinedError,
)
from gristmill.messages import Request, reply_type
from gristmill.metrics import TimeClass
from gristmill.ref import POOLED, Address
from gristmill.transport.arrays import ArrayGoneError
from gristmill.transport.envelope import ASK, CANCEL, ErrorReply, pack, to_exception
from gristmill.transport.outbound import Head
from gristmill.worker.actors.cell import Cell, Entry
from gristmill.worker.messaging.cycles import Chain
from gristmill.worker.messaging.keyed import Held
from gristmill.worker.messaging.open_request import OpenRequest
from gristmill.worker.telemetry import counters

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore

R = TypeVar("R")

_DESER = int(TimeClass.DESER)


class _Open(NamedTuple):
    """An ask that waits for its reply."""

    future: asyncio.Future[Any]
    reply: Any
    to: Address
    request: type
    sender: str
    """Import path of the asking actor's class."""
    again: tuple[Head, int, bytes] | None
    """What to send again when the callee's worker dies: only of an idempotent request."""
    deaths: int = 0
    """Deaths of the callee's worker that it may be the cause of."""


class Asks:
    """The open asks of one worker."""

    def __init__(self, core: WorkerCore) -> None:
        self._core = core
        self._shell = core.shell
        self._open: dict[int, _Open] = {}
        self._background: dict[int, _Open] = {}
        """Those that no handler has to wait for: requests."""
        self._awaited = 0
        """How many handlers wait for one of the background all the same."""
        self._next_number = (core.shell.incarnation << 40) + 1

    def __len__(self) -> int:
        """How many handlers wait for a reply."""
        return len(self._open) + self._awaited

    async def ask(self, origin: Cell, to: Address, request: Request[R], timeout: float | None) -> R:
        """Send a request and await its reply; raises what :meth:`Ref.ask` raises."""
        pooled = to.home == POOLED
        chain = self._core.cycles.chain_of(origin, to) if not pooled else []
        body = self._encode(origin, to, request)
        sending = self._core.sending
        began = self._core.meter.clock()
        deadline = self._shell.now() + timeout if timeout is not None else 0.0
        if pooled:
            to, chain = await self._room_in_pool(origin, to, deadline)
        else:
            await sending.await_room(origin, to, lambda: sending.take_room(to), deadline)
        number, future = self._send(self._open, origin, chain, to, request, body, deadline)
        if pooled:
            self._core.keyed.pools.asked(to, future)
        timer = None
        if timeout is not None:
            name = type(request).__qualname__
            expired = AskTimeoutError(
                f"{to.label} is alive and did not answer {name} in {timeout:g} s"
            )
            left = max(deadline - self._shell.now(), 0.0)
            timer = self._shell.call_later(left, lambda: fail(future, expired))
        try:
            with self._core.cycles.waiting(origin, to):
                return await future  # type: ignore[no-any-return]  # decoded as the reply type
        except asyncio.CancelledError:
            self._take_back(self._open, number)
            raise
        finally:
            self._open.pop(number, None)
            origin.asked_ns += self._core.meter.clock() - began
            if timer is not None:
                timer.cancel()

    async def _room_in_pool(
        self, origin: Cell, to: Address, deadline: float
    ) -> tuple[Address, list[tuple[int, str]]]:
        """Choose a member of a pool that has room, in the moment in which it has.

        Gives the chain of the ask too. Without any member it is the pool, and the request waits.
        """
        core = self._core
        chosen: Address = to
        chain: list[tuple[int, str]] = []

        def take() -> bool:
            nonlocal chosen, chain
            chosen = core.keyed.pools.find(to) or to
            chain = core.cycles.chain_of(origin, chosen)
            return core.sending.take_room(chosen)

        await core.sending.await_room(origin, to, take, deadline)
        return chosen, chain

    def request(self, origin: Cell, to: Address, request: Request[R]) -> OpenRequest[R]:
        """Send a request whose reply is fetched later."""
        self._core.effects.settle()  # what was told before goes first
        if origin.is_at(to):
            self._core.cycles.chain_of(origin, to)  # refuses, for it would wait for ever
        body = self._encode(origin, to, request)
        pooled = to.home == POOLED
        if pooled:
            to = self._core.keyed.pools.find(to) or to
        if not self._core.sending.take_room(to):
            raise MailboxFullError(f"the mailbox of {to.label} is full")
        number, future = self._send(self._background, origin, origin.key, to, request, body, 0.0)
        if pooled:
            self._core.keyed.pools.asked(to, future)
        return OpenRequest(self, number, origin, to, type(request).__qualname__, future)

    async def settled(
        self, origin: Cell, to: Address, future: asyncio.Future[Any], timeout: float | None
    ) -> None:
        """Have an actor wait until a request has an outcome, ``timeout`` seconds at most."""
        waiter = self._shell.create_future()

        def wake(_: object = None) -> None:
            if not waiter.done():
                waiter.set_result(None)

        future.add_done_callback(wake)
        timer = self._shell.call_later(timeout, wake) if timeout is not None else None
        self._awaited += 1
        began = self._core.meter.clock()
        try:
            with self._core.cycles.waiting_late(origin, to):
                await waiter
        finally:
            self._awaited -= 1
            origin.asked_ns += self._core.meter.clock() - began
            future.remove_done_callback(wake)
            if timer is not None:
                timer.cancel()

    def forget(self, number: int) -> None:
        """Drop the reply of a request when it comes, and have its callee stop with it."""
        self._take_back(self._background, number)

    def _take_back(self, opened: dict[int, _Open], number: int) -> None:
        """Give a request up, and say so to its callee; one that waits for a place never goes."""
        found = opened.pop(number, None)
        if found is None or (found.future.done() and not found.future.cancelled()):
            return
        to = found.to
        if to.home == self._shell.address:
            self._core.cancelling.cancel(to.home, to.key, [number])
        elif to.home >= 0 and to.home not in self._core.directory.gone:
            self._shell.post(to.home, pack((CANCEL, to.key, [number])))
        self._shell.request_turn()

    def _encode(self, origin: Cell, to: Address, request: Request[Any]) -> bytes:
        if to.home in self._core.directory.gone:
            raise ActorNotFoundError(f"{to.label} has stopped")
        sent = self._core.sending.sent
        begun = sent.begin()
        size = -1
        try:
            body = self._core.codec.encode(request)
            size = len(body)
        finally:
            sent.end(begun, origin.type, to.type, type(request), size)
        return body

    def _send(
        self,
        opened: dict[int, _Open],
        origin: Cell,
        sender: int | Chain,
        to: Address,
        request: Request[Any],
        body: bytes,
        deadline: float,
    ) -> tuple[int, asyncio.Future[Any]]:
        """Send a request that has its place in the mailbox; give its number and its future."""
        number = self._next_number
        self._next_number += 1
        future = self._shell.create_future()
        kind = type(request)
        place = to if to.home >= 0 else self._core.keyed.find(to)
        head = (ASK, (place or to).key, sender, deadline)
        again = (head, number, body) if kind.__idempotent__ else None
        opened[number] = _Open(future, reply_type(kind), place or to, kind, origin.type, again)
        self._core.counters[counters.SENT] += 1
        if place is None:
            self._hold(opened, to, head, number, body)
        else:
            self._dispatch(place, head, number, body)
        self._shell.request_turn()
        return number, future

    def _hold(
        self, opened: dict[int, _Open], to: Address, head: Head, number: int, body: bytes
    ) -> None:
        """Let a request wait for the place of a keyed actor."""

        def send(place: Address) -> None:
            found = opened.get(number)
            if found is None:  # nobody waits for the reply any more
                self._core.counters[counters.CANCELLED] += 1
                return
            placed = (ASK, place.key, *head[2:])
            again = (placed, number, body) if found.again is not None else None
            opened[number] = found._replace(to=place, again=again)
            self._core.sending.take_room(place)
            self._dispatch(place, placed, number, body)

        def refuse(error: GristmillError) -> None:
            found = opened.pop(number, None)
            if found is None:
                self._core.counters[counters.CANCELLED] += 1
                return
            self._core.failures.dead_letter(None, "", body, str(error), told=True)
            fail(found.future, error)

        self._core.keyed.hold(to, Held(send, refuse))

    def _dispatch(self, to: Address, head: Head, number: int, body: bytes) -> None:
        if to.home == self._shell.address:
            _, _, sender, deadline = head
            arrived = self._core.meter.last
            entry = Entry(ASK, to.home, sender, number, deadline, body, None, arrived, True)
            self._core.deliver(to.key, [entry])
        else:
            self._core.sending.put(to.home, head, number, body)

    def on_reply(self, number: int, body: bytes) -> None:
        """An ask is answered; a late answer is dropped."""
        found = self._open.pop(number, None) or self._background.pop(number, None)
        if found is None or found.future.done():
            return
        meter = self._core.meter
        previous = meter.enter(_DESER)
        before = meter.classes[_DESER]
        name = found.request.__qualname__
        try:
            found.future.set_result(self._core.codec.decoder(found.reply).decode(body))
        except msgspec.MsgspecError as error:
            text = f"{found.to.label} answered {name} with something else than it declares: {error}"
            found.future.set_exception(to_exception(ErrorReply("ReplyTypeError", text)))
        except ArrayGoneError as error:
            text = f"{found.to.label} answered {name}, but {error}"
            found.future.set_exception(ActorDied(text))
        meter.enter(previous)
        if found.sender:
            sent = self._core.sending.sent
            sent.decoded(found.sender, found.to.type, found.request, before)

    def on_error(self, number: int, body: bytes) -> None:
        """An ask has failed."""
        found = self._open.pop(number, None) or self._background.pop(number, None)
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
        for opened in (self._open, self._background):
            asked = [number for number, found in opened.items() if found.to.home == address]
            if asked:
                lost = partial(self._lost, opened, asked, died, death, final=final)
                self._shell.call_later(LAST_WORDS_SECONDS, lost)

    def _lost(
        self,
        opened: dict[int, _Open],
        asked: list[int],
        died: str,
        death: Death | None,
        *,
        final: bool,
    ) -> None:
        for number in asked:
            found = opened.get(number)
            if found is None or found.future.done():
                continue
            if final:
                error: ActorError = ActorNotFoundError(f"{found.to.label} has stopped")
            else:
                if death is None or death.may_be_of(self._shell.address, number):
                    found = opened[number] = found._replace(deaths=found.deaths + 1)
                if found.again is not None and found.deaths < POISON_LIMIT:
                    self._core.sending.send_again(found.to, *found.again)
                    continue
                kind = ActorDied if found.again is None else QuarantinedError
                to = found.to
                error = kind.asked(to.label, to.key, found.request.__qualname__, died, death)
            del opened[number]
            found.future.set_exception(error)


def fail(future: asyncio.Future[Any], error: Exception) -> None:
    """Have whoever awaits this get an error, unless there is an outcome."""
    if not future.done():
        future.set_exception(error)
