"""What a worker's actors send: tells, events, acknowledgements, credit."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import msgspec

from gristmill.death import Death
from gristmill.deferred import Ticket
from gristmill.durability import JournalStore
from gristmill.errors import GristmillError, MailboxFullError, UsageError
from gristmill.keyed import actor_number
from gristmill.messages import Command, Event, Request
from gristmill.metrics import MeteredTable, TimeClass
from gristmill.ref import KEYED, Address, DeliveryGuarantee, OverflowPolicy, Pending
from gristmill.supervision import ExitReason, describe
from gristmill.transport.control import Legacy, PeerInfo, Subscribe
from gristmill.transport.credit import CreditBook
from gristmill.transport.envelope import ACK, ANSWER, CREDIT, ERROR, EVENT, REPLY, TELL, pack
from gristmill.transport.outbound import Head
from gristmill.transport.segment_directory import Process
from gristmill.worker import counters
from gristmill.worker.asking import Asks
from gristmill.worker.cell import RECORD, REMINDER, Cell, Entry
from gristmill.worker.directory import Directory
from gristmill.worker.keyed import Held
from gristmill.worker.outbox import Outbox

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore

R = TypeVar("R")

_SER = int(TimeClass.SER)
_SENT = counters.SENT
REPLY_HEAD: Final = (REPLY,)
"""What the envelopes of all replies have in common."""
_AT_LEAST_ONCE = DeliveryGuarantee.AT_LEAST_ONCE
_EVENT_BACKLOG = 100_000
"""Envelopes that may wait for a process before events for it are dropped."""
_OUTBOX = 100_000
"""Tells of one actor that may wait for room."""


class Sending:
    """The post of a worker: implements :class:`~gristmill.ref.Post` for the refs in it."""

    def __init__(self, core: WorkerCore, store: JournalStore | None) -> None:
        self._core = core
        self._shell = core.shell
        self._here = core.shell.address
        self._seal = core.shell.arrays.seal
        self.store = store
        self.sent = MeteredTable(core.meter)
        """Who sends what to whom, and what that costs."""
        self.origin: Cell | None = None
        """The actor whose handler runs now."""
        self.directory = Directory(self._here, core.shell.incarnation, core.shell.name)
        self.asks = Asks(core)
        self._credit = CreditBook()
        self._starved: defaultdict[int, deque[Cell | asyncio.Future[None]]] = defaultdict(deque)
        self._keyed_as: dict[int, int] = {}
        """Under which number others wait for room with a keyed actor, by its number there."""
        self._subscribers: dict[str, dict[int, list[int]]] = {}
        self._outbox = Outbox(store, self._transmit) if store is not None else None
        self._moving: dict[int, PeerInfo] = {}
        """Processes that were replaced, by whom, and from which something may still come."""
        self._silent: dict[int, int] = {}
        """Processes that say no more, by address, and their incarnations."""

    # --- who is where ---

    def peer_up(self, peer: PeerInfo) -> None:
        """A process can be reached."""
        self.directory.peer_up(peer)
        for cell in self._core.cells.values():
            cell.owes_nothing_to(peer.address)
        self._shell.connect(peer)

    def peer_down(
        self,
        address: int,
        name: str,
        reason: ExitReason,
        death: Death | None = None,
        *,
        final: bool,
    ) -> None:
        """A process has died: its credit is void, and asks to it fail once the pipe is empty."""
        self._shell.disconnect(address)
        incarnation = self.directory.incarnation(address)
        self._core.arrays.pool.peer_down(Process(address, incarnation))
        self._credit.reset(address)
        self._moving.pop(address, None)
        self._silent.pop(address, None)
        self.directory.peer_down(address)
        if self._outbox is not None:
            self._outbox.lost(address)
        if final:
            self.directory.gone.add(address)
        for key in [key for key, waiters in self._starved.items() if waiters]:
            self._feed(key)
        died = f"its worker {name} died ({describe(reason)})"
        self.asks.process_died(address, died, death, final=final)

    def peer_moved(self, peer: PeerInfo) -> None:
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
        before = self.directory.incarnation(address)
        if address in self._moving and self._silent.get(address) == before:
            self._move(self._moving.pop(address), before)

    def _move(self, peer: PeerInfo, before: int) -> None:
        self._silent.pop(peer.address, None)
        self.directory.peer_up(peer)
        if self._outbox is not None:
            self._outbox.moved(peer.address, before, peer.incarnation)
        self._shell.move(peer)

    def peer_departed(self, address: int, incarnation: int) -> None:
        """A process that was replaced has ended."""
        if address in self._moving:  # it has died before it said its last
            self._move(self._moving.pop(address), incarnation)
        self._shell.close_moved(address)
        self._core.arrays.pool.peer_down(Process(address, incarnation))

    # --- when this worker is replaced, or replaces another one ---

    def settle_credit(self) -> None:
        """Give back all places that were freed since the last credit."""
        for cell in self._core.cells.values():
            for source, places in cell.take_owed().items():
                self.give_credit(source, cell.key, places)

    def close(self) -> Legacy:
        """Let go of the journal; give what the next process of this place has to know."""
        lanes = self._outbox.positions() if self._outbox is not None else {}
        self.store = self._outbox = None
        return Legacy(self._credit.export(), lanes)

    def open(self, store: JournalStore | None, legacy: Legacy) -> None:
        """Go on from where the process before this one has stopped."""
        self._credit.adopt(legacy.credit)
        if store is None:
            return
        self.store = store
        self._outbox = Outbox(store, self._transmit)
        self._outbox.resume(legacy.lanes)
        for address in self.directory.named():
            self._outbox.located(address, self.directory.incarnation(address.home))

    # --- names ---

    def registered(self, address: Address) -> None:
        """A name stands for an actor now, whose process has announced itself before."""
        self.directory.add(address)
        if self._outbox is not None:
            self._outbox.located(address, self.directory.incarnation(address.home))

    def unregistered(self, key: int, name: str) -> None:
        """A name is free again."""
        if self.directory.remove(key, name) and self._outbox is not None:
            self._outbox.unlocated(name)

    def located(self, address: Address) -> None:
        """A keyed actor is here: what must reach it goes there."""
        if self._outbox is not None:
            self._outbox.located(address, self.directory.incarnation(address.home))

    def unlocated(self, name: str) -> bool:
        """A keyed actor leaves its place; give whether something must reach it still."""
        if self._outbox is None:
            return False
        self._outbox.unlocated(name)
        return self._outbox.has_open(name)

    def open_targets(self, prefix: str) -> list[str]:
        """Give the names that begin so of those that something must still reach."""
        return self._outbox.open_targets(prefix) if self._outbox is not None else []

    def feed(self, name: str) -> None:
        """Let those who wait for room with a keyed actor try again."""
        self._feed(actor_number(name))

    def subscribers(self, channel: str, targets: Iterable[tuple[int, int]]) -> None:
        """Take in who gets a channel's events."""
        homes: dict[int, list[int]] = {}
        for address, key in targets:
            homes.setdefault(address, []).append(key)
        self._subscribers[channel] = homes

    # --- tell ---

    def tell(self, to: Address, message: Command | Event, delivery: DeliveryGuarantee) -> None:
        """Send a message; without credit it waits, and with it its actor's next message."""
        journaled = delivery is _AT_LEAST_ONCE
        if journaled:
            self._check_journaled(to)
        begun = self.sent.begin()
        origin = self.origin
        size = -1
        try:
            codec = self._core.codec
            body = codec.encode_in_band(message) if journaled else codec.encode(message)
            if origin is not None and origin.durable:
                act = self._tell_journaled if journaled else self._tell_late
                origin.effects.append((act, to, body))
            elif journaled:
                self._tell_journaled(origin, to, body)
            else:
                self._tell(origin, to, body)
            size = len(body)
        finally:
            sender = origin.type if origin is not None else ""
            self.sent.end(begun, sender, to.type, type(message), size)

    def _tell(self, origin: Cell | None, to: Address, body: bytes) -> None:
        sent = self._core.counters
        if origin is not None and origin.blocked:
            if len(origin.blocked) >= _OUTBOX:
                raise MailboxFullError(
                    f"{origin.label} has {_OUTBOX:,} messages that wait for room, the first for "
                    f"{origin.blocked[0][0].label}; await ctx.tell(...) waits for each"
                )
            sent[_SENT] += 1
            origin.blocked.append((to, body))
        elif not self._tell_counted(origin, to, body):
            if to.mailbox.overflow is OverflowPolicy.FAIL or origin is None or origin.is_at(to):
                raise MailboxFullError(f"the mailbox of {to.label} is full")
            sent[_SENT] += 1
            origin.blocked.append((to, body))
            origin.busy = True
            self._starve(to, origin)
            self._core.starving.blocked(origin, to)

    def _tell_counted(self, origin: Cell | None, to: Address, body: bytes) -> bool:
        """Send a message if there is room for it, and count it; give whether there was."""
        self._core.counters[_SENT] += 1  # first: what leaves was sent
        if self._try_tell(origin, to, body):
            return True
        self._core.counters[_SENT] -= 1
        return False

    def _try_tell(self, origin: Cell | None, to: Address, body: bytes) -> bool:
        """Send a message if there is room for it; give whether there was."""
        place = to if to.home >= 0 else self._core.keyed.find(to)
        if place is None:
            if not self._core.keyed.has_room(to):
                return False
            self._hold_tell(origin, to, body)
            return True
        if not self._credit.take(place):
            return False
        self._post_tell(origin, place, body)
        return True

    def _hold_tell(self, origin: Cell | None, to: Address, body: bytes) -> None:
        def send(place: Address) -> None:
            self._credit.take(place)
            self._post_tell(origin, place, body)

        def refuse(error: GristmillError) -> None:
            self._core.failures.dead_letter(None, "", body, str(error))

        self._core.keyed.hold(to, Held(send, refuse))

    def _starve(self, to: Address, waiter: Cell | asyncio.Future[None]) -> None:
        """Let somebody wait for room in a mailbox."""
        self._starved[to.key].append(waiter)
        place = self._core.keyed.find(to)
        if place is not None and place is not to:
            self._keyed_as[place.key] = to.key

    def _tell_late(self, origin: Cell, to: Address, body: bytes) -> None:
        """Send what a handler told that has finished, and can't be told that there is no room."""
        try:
            self._tell(origin, to, body)
        except MailboxFullError as error:
            self._core.counters[_SENT] += 1
            self._core.failures.dead_letter(None, "", body, str(error))

    def _post_tell(self, origin: Cell | None, to: Address, body: bytes) -> None:
        sender = origin.key if origin is not None else 0
        if to.home == self._here:
            entry = Entry(TELL, to.home, sender, 0, 0.0, body, None, self._core.meter.last, True)
            self._core.deliver(to.key, [entry])
        elif to.home in self.directory.gone:
            self._core.failures.dead_letter(None, "", body, f"{to.label} has stopped")
        else:
            self.put(to.home, (TELL, to.key, sender), 0, body)

    def _check_journaled(self, to: Address) -> None:
        if self._outbox is None:
            raise UsageError(
                "delivery='at_least_once' needs a journal; start the node with journal=DIRECTORY"
            )
        if not to.name:
            raise UsageError(
                f"delivery='at_least_once' needs a named target, and {to.label} has no name"
            )

    def _tell_journaled(self, origin: Cell | None, to: Address, body: bytes) -> None:
        assert self._outbox is not None
        sender = origin.spec.name if origin is not None and origin.spec is not None else ""
        self._outbox.send(to, sender, body)
        if to.home == KEYED:
            self._core.keyed.want(to)

    def _transmit(self, to: Address, sender: str, number: int, body: bytes, *, again: bool) -> None:
        self._core.counters[_SENT] += 1
        self._core.counters[counters.RESENT] += again
        if to.home == self._here:
            entry = Entry(TELL, to.home, sender, number, 0.0, body, None, self._core.meter.last)
            self._core.deliver(to.key, [entry])
        else:
            self._shell.outbound(to.home).put((TELL, to.key, sender), number, body)

    async def tell_waiting(
        self,
        origin: Cell,
        to: Address,
        message: Command | Event,
        delivery: DeliveryGuarantee,
    ) -> None:
        """Send a message, waiting for credit."""
        if delivery is DeliveryGuarantee.AT_MOST_ONCE and not origin.durable:
            begun = self.sent.begin()
            size = -1
            try:
                body = self._core.codec.encode(message)
                size = len(body)
            finally:
                self.sent.end(begun, origin.type, to.type, type(message), size)
            await self.await_room(origin, to, lambda: self._tell_counted(origin, to, body))
        else:
            self.tell(to, message, delivery)

    def take_room(self, to: Address) -> bool:
        """Take a place in a mailbox, or among what waits for a keyed actor's place."""
        place = to if to.home >= 0 else self._core.keyed.find(to)
        return self._core.keyed.has_room(to) if place is None else self._credit.take(place)

    async def await_room(self, origin: Cell, to: Address, take: Callable[[], bool]) -> None:
        """Have an actor wait until ``take`` has found the room that it wants with another one."""
        while not take():
            if to.mailbox.overflow is OverflowPolicy.FAIL:
                raise MailboxFullError(f"the mailbox of {to.label} is full")
            waiter = self._shell.create_future()
            self._starve(to, waiter)
            with self._core.starving.awaiting(origin, to, waiter):
                await waiter

    def put(self, to: int, head: Head, number: int, body: bytes) -> None:
        """Send a message to another process, and lend its arrays."""
        if type(body) is bytes:
            self._shell.outbound(to).put(head, number, body)
        else:
            self._shell.post(to, pack(self._seal((*head, number, body), to)))

    def send_again(self, to: Address, head: Head, number: int, body: bytes) -> None:
        """Send a request once more, to the callee's next incarnation."""
        self._credit.take(to)
        self._core.counters[_SENT] += 1
        self._core.counters[counters.RESENT] += 1
        self.put(to.home, head, number, body)

    # --- replies, events, credit, acknowledgement ---

    def reply(self, to: int, number: int, body: bytes) -> None:
        """Send a reply to the process that asked."""
        if to == self._here:
            self.asks.on_reply(number, body)
        elif to and to not in self.directory.gone:
            if type(body) is bytes:
                self._shell.outbound(to).put(REPLY_HEAD, number, body)
            else:
                self._shell.post(to, pack(self._seal((REPLY, number, body), to)))

    def way_for_replies(self, to: int) -> Callable[[Head, int, bytes], None] | None:
        """Give what puts replies on their way to another process; None if that needs a look."""
        if to == self._here or to in self.directory.gone:
            return None
        return self._shell.outbound(to).put

    def reply_at_once(self, to: int, number: int, body: bytes) -> None:
        """Send a reply without waiting for the end of the turn."""
        if to == self._here or to in self.directory.gone or type(body) is not bytes:
            self.reply(to, number, body)
        else:
            self._shell.send_now(to, pack((REPLY, number, (body,))))

    def reply_error(self, to: int, number: int, body: bytes) -> None:
        """Send an error to the process that asked."""
        if to == self._here:
            self.asks.on_error(number, body)
        elif to and to not in self.directory.gone:
            self._shell.post(to, pack((ERROR, number, body)))

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
        self._shell.control(Subscribe(channel, self._here, subscriber, wanted))

    def _fan_out(self, origin: Cell | None, channel: str, body: bytes) -> None:
        counted = self._core.counters
        counted[counters.PUBLISHED] += 1
        sender = origin.key if origin is not None else 0
        for address, keys in self._subscribers.get(channel, {}).items():
            if address == self._here:
                counted[_SENT] += len(keys)
                for key in keys:
                    self._core.deliver_event(key, sender, body, self._core.meter.last)
            elif self._shell.waiting(address) < _EVENT_BACKLOG:
                counted[_SENT] += 1  # its receiver counts the other copies
                items = (EVENT, channel, keys, sender, body)
                sealed = items if type(body) is bytes else self._seal(items, address)
                self._shell.post(address, pack(sealed))
            else:
                counted[_SENT] += len(keys)
                counted[counters.OVERFLOW] += len(keys)

    def answer(self, ticket: Ticket, value: Any) -> None:  # noqa: ANN401 - the reply
        """Answer a deferred request; an effect of a durable actor's handler."""
        body = self._core.codec.encode(value)
        origin = self.origin
        if origin is not None and origin.durable:
            origin.effects.append((self._answer, ticket, body))
        else:
            self._answer(origin, ticket, body)

    def _answer(self, _origin: Cell | None, ticket: Ticket, body: bytes) -> None:
        key, home, process, number = msgspec.structs.astuple(ticket)
        if home == self._here:
            self.answered(key, process, number, body)
        elif home not in self.directory.gone:
            items = (ANSWER, key, process, number, body)
            self._shell.post(home, pack(items if type(body) is bytes else self._seal(items, home)))
        self._shell.request_turn()

    def answered(self, key: int, process: int, number: int, body: bytes) -> None:
        """Pass an answer on to the asker; drop a second one, and one that comes too late."""
        cell = self._core.cells.get(key)
        if cell is not None and cell.deferred.pop((process, number), None) is not None:
            self.reply(process, number, body)

    def release(self, cell: Cell, entry: Entry) -> None:
        """Let the effects of a finished handler happen, and have its message acknowledged."""
        effects, cell.effects = cell.effects, []
        for act, *arguments in effects:
            act(cell, *arguments)
        if entry.kind == REMINDER:
            self._core.reminding.handled(cell, entry)
        if effects and cell.history is not None:
            cell.history.snapshot_if_due()
        if entry.kind == RECORD:
            self._core.records.handled(cell, entry)
        elif entry.kind == TELL and entry.number:
            self._core.showing.journaled_is_done()
            if cell.durable and self.store is not None and cell.spec is not None:
                sender = self.directory.process_name(entry.source)
                cell.marks[sender] = entry.number
                self.store.mark(cell.spec.name, sender, entry.number)
            if cell.attempts:
                cell.attempts.pop((entry.source, entry.number), None)
            cell.acknowledged[entry.source] = entry.number

    def journal(self, cell: Cell, kind: str, payload: bytes) -> None:
        """Append an event to the journal of an actor (an effect)."""
        assert cell.history is not None
        cell.history.append(kind, payload)

    def has_persisted(self, cell: Cell) -> bool:
        """Tell whether the handler in progress has persisted an event, which waits for its end."""
        return any(act == self.journal for act, *_ in cell.effects)

    def acknowledge(self, cell: Cell) -> None:
        """Say which at-least-once messages an actor has handled: the last one of each sender."""
        name = cell.spec.name if cell.spec is not None else ""
        for source, number in cell.acknowledged.items():
            if source == self._here:
                self.on_ack(name, number)
            elif source not in self.directory.gone:
                self._shell.post(source, pack((ACK, name, number)))
        cell.acknowledged.clear()

    def on_ack(self, target: str, number: int) -> None:
        """A target has handled this process's messages up to ``number``."""
        if self._outbox is not None:
            self._outbox.acknowledged(target, number)

    def give_credit(self, source: int, key: int, places: int) -> None:
        """Give places of a mailbox back to a sending process."""
        if source == self._here:
            self.on_credit(source, key, places)
        elif source not in self.directory.gone:
            self._shell.send_now(source, pack((CREDIT, key, places)))

    def on_credit(self, home: int, key: int, places: int) -> None:
        """Places of a mailbox are free again."""
        self._credit.give(home, key, places)
        key = self._keyed_as.pop(key, key)
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
            if not self._try_tell(cell, to, body):
                self._starve(to, cell)
                self._core.starving.blocked(cell, to)
                return
            cell.blocked.popleft()
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
        return await self.asks.ask(self.origin, to, request, timeout)

    def ask_many(
        self,
        to: Address,
        requests: Iterable[Request[R]],  # noqa: ARG002 - the signature of Post
        window: int,  # noqa: ARG002
        timeout: float | None,  # noqa: ARG002
    ) -> Iterator[R]:
        """Refuse: it would stop this worker's core."""
        _refuse_blocking(to, "requests")

    def request(self, to: Address, request: Request[R]) -> Pending[R]:
        """Refuse: what a handler sends is its actor's, and goes through its context."""
        name = type(request).__qualname__
        raise UsageError(f"request {name} from {to.label} with ctx.request(ref, request)")

    def stop_actor(self, to: Address, reason: ExitReason | None, timeout: float) -> None:  # noqa: ARG002
        """Refuse: an actor stops itself with ``ctx.stop()``."""
        raise UsageError(f"{to.label} can't be stopped from a handler; tell it to ctx.stop()")


def _refuse_blocking(to: Address, what: str) -> NoReturn:
    raise UsageError(
        f"a synchronous handler can't ask {to.label} ({what}): it would stop its worker's core. "
        "Make the handler async and write await ctx.ask(ref, request)"
    )
