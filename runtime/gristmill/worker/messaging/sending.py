"""What a worker's actors send to each other, and the room that they wait for."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from gristmill.behaviours.actor_host import Timer
from gristmill.deferred import Ticket
from gristmill.durability import JournalStore
from gristmill.errors import GristmillError, MailboxFullError, UsageError
from gristmill.keyed import actor_number
from gristmill.messages import Command, Event, Request
from gristmill.metrics import MeteredTable
from gristmill.ref import Address, DeliveryGuarantee, OverflowPolicy, Pending
from gristmill.supervision import ExitReason
from gristmill.transport.control import Legacy
from gristmill.transport.credit import CreditBook
from gristmill.transport.envelope import CREDIT, TELL, pack
from gristmill.transport.outbound import Head
from gristmill.worker.actors.cell import Cell, Entry
from gristmill.worker.messaging.asking import fail
from gristmill.worker.messaging.keyed import Held
from gristmill.worker.telemetry import counters
from gristmill.worker.turns.effects import SEND

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore

R = TypeVar("R")

_SENT = counters.SENT
_AT_LEAST_ONCE = DeliveryGuarantee.AT_LEAST_ONCE
_OUTBOX = 100_000
"""Tells of one actor that may wait for room."""


class Sending:
    """The post of a worker: implements :class:`~gristmill.ref.Post` for the refs in it."""

    def __init__(self, core: WorkerCore) -> None:
        self._core = core
        self._shell = core.shell
        self._here = core.shell.address
        self.node = core.shell.node_id
        self._seal = core.shell.arrays.seal
        self._directory = core.directory
        self._delivery = core.delivery
        self.sent = MeteredTable(core.meter)
        """Who sends what to whom, and what that costs."""
        self.origin: Cell | None = None
        """The actor whose handler runs now."""
        self._credit = CreditBook()
        self._starved: defaultdict[int, deque[Cell | asyncio.Future[None]]] = defaultdict(deque)
        self._keyed_as: dict[int, int] = {}
        """Under which number others wait for room with a keyed actor, by its number there."""

    # --- tell ---

    def tell(self, to: Address, message: Command | Event, delivery: DeliveryGuarantee) -> None:
        """Send a message; without credit it waits, and with it its actor's next message."""
        journaled = delivery is _AT_LEAST_ONCE
        if journaled:
            self._delivery.check(to)
        core, origin = self._core, self.origin
        begun = self.sent.begin()
        size = -1
        try:
            codec = core.codec
            body = codec.encode_in_band(message) if journaled else codec.encode(message)
            if origin is not None and origin.durable:
                if origin.has_ended:  # what its handler tells now can't leave with its events
                    core.counters[_SENT] += 1
                    core.failures.dead_letter(None, "", body, f"{origin.label} has ended")
                elif journaled:
                    (origin.effects or origin.own("effects")).append((SEND, to, body))
                else:
                    core.effects.add(origin, self._tell_late, to, body)
            elif journaled:
                self._delivery.send(origin, to, [body])
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
            origin.own("blocked").append((to, body))
        elif not self._tell_counted(origin, to, body):
            if to.mailbox.overflow is OverflowPolicy.FAIL or origin is None or origin.is_at(to):
                raise MailboxFullError(f"the mailbox of {to.label} is full")
            sent[_SENT] += 1
            origin.own("blocked").append((to, body))
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
        for place in self._core.keyed.find_all(to):
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
        elif to.home in self._directory.gone:
            self._credit.give(to.home, to.key, 1)
            self._core.failures.dead_letter(None, "", body, f"{to.label} has stopped")
        else:
            self.put(to.home, (TELL, to.key, sender), 0, body)

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

    def has_room(self, to: Address) -> bool:
        """Tell whether there is room in a mailbox."""
        return self._credit.has_room(to)

    async def await_room(
        self, origin: Cell, to: Address, take: Callable[[], bool], deadline: float = 0.0
    ) -> None:
        """Have an actor wait until ``take`` has found the room that it wants with another one.

        Args:
            origin: who waits.
            to: for room with whom.
            take: takes it; gives whether there was any.
            deadline: monotonic seconds after which it waits no more; 0 for never.

        Raises:
            MailboxFullError: there was none in time, or it is not to be waited for.
        """
        while not take():
            if to.mailbox.overflow is OverflowPolicy.FAIL:
                raise MailboxFullError(f"the mailbox of {to.label} is full")
            waiter = self._shell.create_future()
            self._starve(to, waiter)
            timer = self._give_up_at(deadline, to, waiter) if deadline else None
            try:
                with self._core.starving.awaiting(origin, to, waiter):
                    await waiter
            except BaseException:
                self._leave(to, waiter)
                raise
            finally:
                if timer is not None:
                    timer.cancel()

    def _give_up_at(self, deadline: float, to: Address, waiter: asyncio.Future[None]) -> Timer:
        late = MailboxFullError(f"the mailbox of {to.label} got no room in time")
        left = max(deadline - self._shell.now(), 0.0)
        return self._shell.call_later(left, lambda: fail(waiter, late))

    def _leave(self, to: Address, waiter: asyncio.Future[None]) -> None:
        """Let somebody wait for room no longer."""
        waiters = self._starved.get(to.key)
        if waiters is not None and waiter in waiters:
            waiters.remove(waiter)
            if not waiters:
                del self._starved[to.key]

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

    # --- credit ---

    def process_died(self, address: int) -> None:
        """A process has died: its credit is void, and who waits for room tries again."""
        self._credit.reset(address)
        for key in [key for key, waiters in self._starved.items() if waiters]:
            self._feed(key)

    def feed(self, name: str) -> None:
        """Let those who wait for room with a keyed actor try again."""
        self._feed(actor_number(name))

    def give_credit(self, source: int, key: int, places: int) -> None:
        """Give places of a mailbox back to a sending process."""
        if not places:
            return
        if source == self._here:
            self.on_credit(source, key, places)
        elif source not in self._directory.gone:
            self._shell.send_now(source, pack((CREDIT, key, places)))

    def settle_credit(self, cell: Cell) -> None:
        """Give back all places that were freed since the last credit."""
        for source, places in cell.take_owed().items():
            self.give_credit(source, cell.key, places)

    def on_credit(self, home: int, key: int, places: int) -> None:
        """Places of a mailbox are free again."""
        self._credit.give(home, key, places)
        if key in self._keyed_as:
            self._feed(self._keyed_as.pop(key))
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

    # --- when this worker is replaced, or replaces another one ---

    def close(self) -> Legacy:
        """Let go of the journal; give what the next process of this place has to know."""
        return Legacy(self._credit.export(), self._delivery.close())

    def open(self, store: JournalStore | None, legacy: Legacy) -> None:
        """Go on from where the process before this one has stopped."""
        self._credit.adopt(legacy.credit)
        if store is not None:
            self._delivery.open(store, legacy.lanes)

    # --- the rest of Post: what a handler does through a ref, and what it must not do ---

    def answer(self, ticket: Ticket, value: Any) -> None:  # noqa: ANN401 - the reply
        """Answer a deferred request, from the handler that runs now."""
        self._core.replying.answer(self.origin, ticket, value)

    def ask(self, to: Address, request: Request[R], timeout: float | None) -> R:  # noqa: ARG002 - as in Post
        """Refuse: a synchronous ask would stop this worker's core."""
        _refuse_blocking(to, type(request).__qualname__)

    async def ask_async(self, to: Address, request: Request[R], timeout: float | None) -> R:
        """Send a request from the handler that runs now."""
        if self.origin is None:
            raise UsageError("ask from inside a handler, with await ctx.ask(...)")
        return await self._core.asks.ask(self.origin, to, request, timeout)

    def ask_many(
        self,
        to: Address,
        requests: Iterable[Request[R]],  # noqa: ARG002 - as in Post
        window: int,  # noqa: ARG002 - as in Post
        timeout: float | None,  # noqa: ARG002 - as in Post
    ) -> Iterator[R]:
        """Refuse: it would stop this worker's core."""
        _refuse_blocking(to, "requests")

    def request(self, to: Address, request: Request[R]) -> Pending[R]:
        """Refuse: what a handler sends is its actor's, and goes through its context."""
        name = type(request).__qualname__
        raise UsageError(f"request {name} from {to.label} with ctx.request(ref, request)")

    def stop_actor(self, to: Address, reason: ExitReason | None, timeout: float) -> None:  # noqa: ARG002 - as in Post
        """Refuse: an actor stops itself with ``ctx.stop()``."""
        raise UsageError(f"{to.label} can't be stopped from a handler; tell it to ctx.stop()")


def _refuse_blocking(to: Address, what: str) -> NoReturn:
    raise UsageError(
        f"a synchronous handler can't ask {to.label} ({what}): it would stop its worker's core. "
        "Make the handler async and write await ctx.ask(ref, request)"
    )
