"""Everything a worker sends: tells, asks, replies, events, credit; and who is where."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar

import msgpack
import msgspec

from gristmill.durability import JournalStore
from gristmill.errors import (
    ActorDied,
    ActorError,
    ActorNotFoundError,
    AskTimeoutError,
    MailboxFullError,
    UsageError,
)
from gristmill.messages import Command, Event, Request, reply_type
from gristmill.metrics import TimeClass
from gristmill.ref import Address, DeliveryGuarantee, OverflowPolicy
from gristmill.supervision import ExitReason, describe
from gristmill.transport.control import PeerInfo, Subscribe
from gristmill.transport.credit import CreditBook
from gristmill.transport.envelope import (
    ACK,
    ASK,
    CREDIT,
    EVENT,
    TELL,
    ErrorReply,
    pack,
    to_exception,
)
from gristmill.worker import counters
from gristmill.worker.cell import Cell, Entry
from gristmill.worker.outbox import Outbox

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore

R = TypeVar("R")

_SER = int(TimeClass.SER)
_GRACE = 0.005
"""Seconds for replies of a dead process that are still in the pipe."""


class _Pending(NamedTuple):
    """An ask that waits for its reply."""

    future: asyncio.Future[Any]
    reply: Any
    to: Address
    request: str
    again: bytes | None
    """What to send again when the callee's worker dies: only of an idempotent request."""


class Sending:
    """The post of a worker: implements :class:`~gristmill.ref.Post` for the refs in it."""

    def __init__(self, core: WorkerCore, store: JournalStore | None) -> None:
        self._core = core
        self._shell = core.shell
        self.store = store
        self.origin: Cell | None = None
        """The actor whose handler runs now."""
        self.directory: dict[str, Address] = {}
        self._by_key: dict[int, Address] = {}
        self._names: dict[int, str] = {core.shell.address: core.shell.name}
        self._incarnations: dict[int, int] = {core.shell.address: core.shell.incarnation}
        self._gone: set[int] = set()
        self._credit = CreditBook()
        self._starved: defaultdict[int, deque[Cell | asyncio.Future[None]]] = defaultdict(deque)
        self._pending: dict[int, _Pending] = {}
        self._next_request = (core.shell.incarnation << 40) + 1
        self._subscribers: dict[str, dict[int, list[int]]] = {}
        self._outbox = Outbox(store, self._transmit) if store is not None else None

    @property
    def waiting_asks(self) -> int:
        """How many asks wait for their replies."""
        return len(self._pending)

    # --- who is where ---

    def process_name(self, address: int) -> str:
        """Give the name of a process."""
        return self._names.get(address, "")

    def peer_up(self, peer: PeerInfo) -> None:
        """A process can be reached."""
        self._names[peer.address] = peer.name
        self._incarnations[peer.address] = peer.incarnation
        for cell in self._core.cells.values():
            cell.owed.pop(peer.address, None)
        self._shell.connect(peer)

    def peer_down(self, address: int, name: str, reason: ExitReason, *, final: bool) -> None:
        """A process has died: its credit is void, and asks to it fail once the pipe is empty."""
        lost = self._shell.disconnect(address)
        self._core.counters[counters.DROPPED] += lost
        self._credit.reset(address)
        if self._outbox is not None:
            self._outbox.lost(address)
        if final:
            self._gone.add(address)
        for key in [key for key, waiters in self._starved.items() if waiters]:
            self._feed(key)
        asked = [number for number, open_ in self._pending.items() if open_.to.home == address]
        died = f"its worker {name} died ({describe(reason)})"
        self._shell.call_later(_GRACE, lambda: self._lost_asks(asked, died, final=final))

    def _lost_asks(self, asked: list[int], died: str, *, final: bool) -> None:
        """Send idempotent requests to the next incarnation; fail the others."""
        for number in asked:
            pending = self._pending.get(number)
            if pending is None or pending.future.done():
                continue
            if final:
                error: ActorError = ActorNotFoundError(f"{_label(pending.to)} has stopped")
            elif pending.again is not None:
                self._pending[number] = pending._replace(again=None)
                self._credit.take(pending.to)
                self._shell.post(pending.to.home, pending.again)
                continue
            else:
                text = f"{_label(pending.to)} was asked {pending.request} when {died}"
                error = ActorDied(f"{text}; it may or may not have been handled")
            del self._pending[number]
            pending.future.set_exception(error)

    def registered(self, address: Address) -> None:
        """A name stands for an actor now, whose process has announced itself before."""
        self.directory[address.name] = address
        self._by_key[address.key] = address
        if self._outbox is not None:
            self._outbox.located(address, self._incarnations.get(address.home, 0))

    def unregistered(self, key: int, name: str) -> None:
        """A name is free again."""
        if self._by_key.pop(key, None) is not None:
            self.directory.pop(name, None)
            if self._outbox is not None:
                self._outbox.unlocated(name)

    def address_of(self, sender: int | str, home: int) -> Address:
        """Give the address of the actor that sent a message, by its key or its name.

        An actor whose name is not registered just now can be told things at least once.
        """
        if isinstance(sender, str):
            return self.directory.get(sender) or Address(0, home, "", sender)
        return self._by_key.get(sender) or Address(sender, home, "")

    def subscribers(self, channel: str, targets: Iterable[tuple[int, int]]) -> None:
        """Take in who gets a channel's events."""
        homes: dict[int, list[int]] = {}
        for address, key in targets:
            homes.setdefault(address, []).append(key)
        self._subscribers[channel] = homes

    # --- tell ---

    def tell(self, to: Address, message: Command | Event, delivery: DeliveryGuarantee) -> None:
        """Send a message; without credit it waits, and with it its actor's next message."""
        if delivery is DeliveryGuarantee.AT_LEAST_ONCE:
            self._check_journaled(to)
        previous = self._core.meter.switch(_SER)
        try:
            body = self._core.codec.encode(message)
            origin = self.origin
            if origin is not None and origin.durable:
                origin.effects.append((self._tell, to, body, delivery))
            else:
                self._tell(origin, to, body, delivery)
        finally:
            self._core.meter.switch(previous)

    def _tell(
        self, origin: Cell | None, to: Address, body: bytes, delivery: DeliveryGuarantee
    ) -> None:
        if delivery is DeliveryGuarantee.AT_LEAST_ONCE:
            self._tell_journaled(origin, to, body)
        elif origin is not None and origin.blocked:
            origin.blocked.append((to, body))
        elif self._credit.take(to):
            self._post_tell(origin, to, body)
        elif to.mailbox.overflow is OverflowPolicy.FAIL or origin is None or origin.key == to.key:
            raise MailboxFullError(f"the mailbox of {_label(to)} is full")
        else:
            origin.blocked.append((to, body))
            origin.busy = True
            self._starved[to.key].append(origin)
        self._core.counters[counters.SENT] += 1

    def _post_tell(self, origin: Cell | None, to: Address, body: bytes) -> None:
        sender = origin.key if origin is not None else 0
        if to.home == self._shell.address:
            entry = Entry(TELL, to.home, sender, 0, 0.0, body, None, self._core.meter.last)
            self._core.deliver(to.key, entry)
        elif to.home in self._gone:
            self._core.failures.dead_letter(None, "", body, f"{_label(to)} has stopped")
        else:
            self._shell.post(to.home, pack([TELL, to.key, sender, 0, body]))

    def _check_journaled(self, to: Address) -> None:
        if self._outbox is None:
            raise UsageError(
                "delivery='at_least_once' needs a journal; start the node with journal=DIRECTORY"
            )
        if not to.name:
            raise UsageError(
                f"delivery='at_least_once' needs a named target, and {_label(to)} has no name"
            )

    def _tell_journaled(self, origin: Cell | None, to: Address, body: bytes) -> None:
        assert self._outbox is not None
        sender = origin.spec.name if origin is not None and origin.spec is not None else ""
        self._outbox.send(to, sender, body)

    def _transmit(self, to: Address, sender: str, number: int, body: bytes) -> None:
        if to.home == self._shell.address:
            entry = Entry(TELL, to.home, sender, number, 0.0, body, None, self._core.meter.last)
            self._core.deliver(to.key, entry)
        else:
            self._shell.post(to.home, pack([TELL, to.key, sender, number, body]))

    async def tell_waiting(
        self,
        origin: Cell,
        to: Address,
        message: Command | Event,
        delivery: DeliveryGuarantee,
    ) -> None:
        """Send a message, waiting for credit."""
        if delivery is DeliveryGuarantee.AT_MOST_ONCE and not origin.durable:
            body = self._core.codec.encode(message)
            await self._await_credit(to)
            self._core.counters[counters.SENT] += 1
            self._post_tell(origin, to, body)
        else:
            self.tell(to, message, delivery)

    async def _await_credit(self, to: Address) -> None:
        while not self._credit.take(to):
            if to.mailbox.overflow is OverflowPolicy.FAIL:
                raise MailboxFullError(f"the mailbox of {_label(to)} is full")
            waiter = self._shell.create_future()
            self._starved[to.key].append(waiter)
            await waiter

    # --- ask ---

    async def ask_from(
        self, origin: Cell, to: Address, request: Request[R], timeout: float | None
    ) -> R:
        """Send a request and await its reply."""
        if to.key == origin.key:
            raise UsageError(
                f"{origin.label} asks itself, and would wait for ever; call the method"
            )
        if to.home in self._gone:
            raise ActorNotFoundError(f"{_label(to)} has stopped")
        meter = self._core.meter
        previous = meter.switch(_SER)
        body = self._core.codec.encode(request)
        meter.switch(previous)
        await self._await_credit(to)
        number = self._next_request
        self._next_request += 1
        future = self._shell.create_future()
        name = type(request).__qualname__
        deadline = self._shell.now() + timeout if timeout is not None else 0.0
        envelope = pack([ASK, to.key, origin.key, number, deadline, body])
        again = envelope if type(request).__idempotent__ else None
        self._pending[number] = _Pending(future, reply_type(type(request)), to, name, again)
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
                f"{_label(to)} is alive and did not answer {name} in {timeout:g} s"
            )
            timer = self._shell.call_later(timeout, lambda: _fail(future, expired))
        try:
            return await future  # type: ignore[no-any-return]  # decoded as the request's reply type
        finally:
            self._pending.pop(number, None)
            if timer is not None:
                timer.cancel()

    def on_reply(self, number: int, body: bytes) -> None:
        """An ask is answered; a late answer is dropped."""
        pending = self._pending.pop(number, None)
        if pending is None or pending.future.done():
            return
        try:
            pending.future.set_result(self._core.codec.decoder(pending.reply).decode(body))
        except msgspec.MsgspecError as error:
            reply = ErrorReply(
                "ReplyTypeError",
                f"{_label(pending.to)} answered {pending.request} with something else than it "
                f"declares: {error}",
            )
            pending.future.set_exception(to_exception(reply))

    def on_error(self, number: int, body: bytes) -> None:
        """An ask has failed."""
        pending = self._pending.pop(number, None)
        if pending is not None and not pending.future.done():
            error = to_exception(msgspec.msgpack.decode(body, type=ErrorReply))
            pending.future.set_exception(error)

    def reply(self, to: int, envelope: bytes) -> None:
        """Send a packed reply or error to the process that asked."""
        if to == self._shell.address:
            kind, number, body = msgpack.unpackb(envelope)
            (self.on_error if kind == 4 else self.on_reply)(number, body)
        elif to and to not in self._gone:
            self._shell.post(to, envelope)

    # --- events, credit, acknowledgement ---

    def fan_out(self, channel: str, event: Event) -> None:
        """Send an event to the subscribers that are known here."""
        previous = self._core.meter.switch(_SER)
        try:
            body = self._core.codec.encode(event)
            origin = self.origin
            if origin is not None and origin.durable:
                origin.effects.append((self._fan_out, channel, body))
            else:
                self._fan_out(origin, channel, body)
        finally:
            self._core.meter.switch(previous)

    def attach(self, channel: str, subscriber: int, *, wanted: bool) -> None:
        """Have an actor of this worker known, or forgotten, as a subscriber."""
        self._shell.control(Subscribe(channel, self._shell.address, subscriber, wanted))

    def _fan_out(self, origin: Cell | None, channel: str, body: bytes) -> None:
        self._core.counters[counters.PUBLISHED] += 1
        sender = origin.key if origin is not None else 0
        for address, keys in self._subscribers.get(channel, {}).items():
            if address == self._shell.address:
                for key in keys:
                    self._core.deliver_event(key, sender, body, self._core.meter.last)
            elif self._shell.waiting(address) < _EVENT_BACKLOG:
                self._shell.post(address, pack([EVENT, channel, keys, sender, body]))
            else:
                self._core.counters[counters.DROPPED] += len(keys)

    def release(self, cell: Cell, entry: Entry) -> None:
        """Let the effects of a finished handler happen, and have its message acknowledged."""
        effects, cell.effects = cell.effects, []
        for act, *arguments in effects:
            act(cell, *arguments)
        if entry.kind == TELL and entry.number:
            if cell.durable and self.store is not None and cell.spec is not None:
                sender = self.process_name(entry.source)
                cell.marks[sender] = entry.number
                self.store.mark(cell.spec.name, sender, entry.number)
            if cell.attempts:
                cell.attempts.pop((entry.source, entry.number), None)
            cell.acknowledged[entry.source] = entry.number

    def journal(self, cell: Cell, kind: str, payload: bytes) -> None:
        """Append an event to the journal of an actor (an effect)."""
        assert self.store is not None
        assert cell.spec is not None
        self.store.append(cell.spec.name, kind, payload)

    def acknowledge(self, cell: Cell) -> None:
        """Say which at-least-once messages an actor has handled: the last one of each sender."""
        name = cell.spec.name if cell.spec is not None else ""
        for source, number in cell.acknowledged.items():
            if source == self._shell.address:
                self.on_ack(name, number)
            elif source not in self._gone:
                self._shell.post(source, pack([ACK, name, number]))
        cell.acknowledged.clear()

    def on_ack(self, target: str, number: int) -> None:
        """A target has handled this process's messages up to ``number``."""
        if self._outbox is not None:
            self._outbox.acknowledged(target, number)

    def give_credit(self, source: int, key: int, places: int) -> None:
        """Give places of a mailbox back to a sending process."""
        if source == self._shell.address:
            self.on_credit(source, key, places)
        elif source not in self._gone:
            self._shell.post(source, pack([CREDIT, key, places]))

    def on_credit(self, home: int, key: int, places: int) -> None:
        """Places of a mailbox are free again."""
        self._credit.give(home, key, places)
        if key in self._starved:
            self._feed(key)

    def _feed(self, key: int) -> None:
        waiters = self._starved.pop(key, None)
        while waiters:
            waiter = waiters.popleft()
            if isinstance(waiter, Cell):
                self._send_blocked(waiter)
            elif not waiter.done():
                waiter.set_result(None)

    def _send_blocked(self, cell: Cell) -> None:
        while cell.blocked:
            to, body = cell.blocked[0]
            if not self._credit.take(to):
                self._starved[to.key].append(cell)
                return
            cell.blocked.popleft()
            self._post_tell(cell, to, body)
        cell.busy = cell.task is not None
        self._core.schedule(cell)

    # --- the rest of Post: what a handler must not do through a ref ---

    def ask(self, to: Address, request: Request[R], timeout: float | None) -> R:  # noqa: ARG002
        """Refuse: a synchronous ask would stop this worker's core."""
        _refuse_blocking(to, type(request).__qualname__)

    async def ask_async(self, to: Address, request: Request[R], timeout: float | None) -> R:
        """Send a request from the handler that runs now."""
        if self.origin is None:
            raise UsageError("ask from inside a handler, with await ctx.ask(...)")
        return await self.ask_from(self.origin, to, request, timeout)

    def ask_many(
        self,
        to: Address,
        requests: Iterable[Request[R]],  # noqa: ARG002 - the signature of Post
        window: int,  # noqa: ARG002
        timeout: float | None,  # noqa: ARG002
    ) -> Iterator[R]:
        """Refuse: it would stop this worker's core."""
        _refuse_blocking(to, "requests")

    def stop_actor(self, to: Address, timeout: float) -> None:  # noqa: ARG002
        """Refuse: an actor stops itself with ``ctx.stop()``."""
        raise UsageError(f"{_label(to)} can't be stopped from a handler; tell it to ctx.stop()")


_EVENT_BACKLOG = 100_000
"""Envelopes that may wait for a process before events for it are dropped."""


def _refuse_blocking(to: Address, what: str) -> NoReturn:
    raise UsageError(
        f"a synchronous handler can't ask {_label(to)} ({what}): it would stop its worker's core. "
        "Make the handler async and write await ctx.ask(ref, request)"
    )


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


def _label(to: Address) -> str:
    return to.name or f"{to.type.rpartition(':')[2] or 'actor'}#{to.key}"
