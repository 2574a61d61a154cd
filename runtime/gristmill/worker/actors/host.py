"""``CellHost``: what one actor's context is made of inside a worker."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import numpy.typing as npt

from gristmill.behaviours.actor_host import AwaitedReply, Timer
from gristmill.behaviours.children import Child
from gristmill.behaviours.context import Postponed, check_delay
from gristmill.behaviours.facet_set import FacetSet
from gristmill.behaviours.links import MonitorRef
from gristmill.channels.contract import Listen
from gristmill.deferred import Reply, Ticket
from gristmill.errors import Reject, UsageError
from gristmill.facets import CircuitBreaker, Guard, ReminderSet
from gristmill.facets.specs import Breaker
from gristmill.importing import import_path
from gristmill.keyed import KeyedGroup, keyed_address
from gristmill.messages import Command, Event, Request
from gristmill.metrics import TimeClass
from gristmill.ref import Address, AnyRef, DeliveryGuarantee, Ref
from gristmill.supervision import ChildCounts, ExitReason
from gristmill.transport.codec import Codec
from gristmill.transport.envelope import ASK, TELL
from gristmill.ulid import ulid
from gristmill.worker.actors.breakers import service_of
from gristmill.worker.actors.cell import CONTINUE, Cell, Entry
from gristmill.worker.actors.idle import arm_idle_timeout, cancel_idle_timeout
from gristmill.worker.actors.own_timer import OwnTimer
from gristmill.worker.telemetry import counters
from gristmill.worker.turns.effects import JOURNAL

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore

A = TypeVar("A")
R = TypeVar("R")

_SER = int(TimeClass.SER)
_kinds: dict[type, str] = {}
"""The kinds under which events are journaled, by class."""


class CellHost:
    """One incarnation's way to the worker; journals nothing once the incarnation has ended."""

    __slots__ = (
        "_cell",
        "_core",
        "_facets",
        "_incarnation",
        "_random",
        "now",
        "sleep",
        "wall_time",
    )

    def __init__(self, core: WorkerCore, cell: Cell) -> None:
        self._core = core
        self._cell = cell
        self._incarnation = cell.incarnation
        self.now = core.shell.now
        self.wall_time = core.shell.wall_time
        self.sleep = core.shell.sleep
        self._random: Random | None = None
        self._facets: FacetSet | None = None

    @property
    def random(self) -> Random:
        """The actor's source of randomness, made when it is first wanted."""
        if self._random is None:
            self._random = Random(_seed(self._core.shell.random, self._cell.label))
        return self._random

    @property
    def facets(self) -> FacetSet:
        """The actor's facets, made when they are first wanted."""
        if self._facets is None:
            spec = self._cell.spec
            assert spec is not None
            self._facets = FacetSet(
                spec.facets,
                owner=self._cell.label,
                wall_time=self.wall_time,
                persist=self._journal,
                guard=self._guard,
                encode=self._encode_own,
                later=self._remind,
            )
        return self._facets

    def _remind(self, reminder: ReminderSet | int) -> None:
        """Arm a reminder, or cancel the timer of one, when the handler is done."""
        reminding = self._core.reminding
        if isinstance(reminder, int):
            self._core.effects.add(self._cell, reminding.disarm, reminder)
        else:
            self._core.effects.add(self._cell, reminding.arm, reminder)

    def _encode_own(self, message: Command | Event) -> bytes:
        """Check and encode a message to the actor itself."""
        self._check_own(message)
        return self._core.codec.encode_in_band(message)

    def _guard(self, facet: Breaker) -> Guard:
        """Give a circuit breaker: the service's, or of an actor without a name its own."""
        cell, spec = self._cell, self._cell.spec
        assert spec is not None
        if not spec.name:
            return Guard(CircuitBreaker(facet.name, facet.spec), self.now)
        service = service_of(spec.name, cell.path, spec.key)
        return self._core.breakers.guard(service, facet)

    @property
    def codec(self) -> Codec:
        """The worker's, which binds the refs that it decodes."""
        return self._core.codec

    def empty(self, shape: int | tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Give a writable array that can be sent without a copy."""
        return self._core.arrays.pool.empty(shape, dtype)

    def new_id(self) -> str:
        """Make a ULID."""
        return ulid(self.wall_time(), self.random.getrandbits(80))

    def self_ref(self) -> AnyRef:
        """Give the actor's own address."""
        spec = self._cell.spec
        assert spec is not None
        group = self._core.keyed.groups.get(spec.name.removesuffix(f"/{spec.key}"))
        if spec.key and group is not None:
            return Ref(keyed_address(group, spec.key), self._core.sending)
        address = Address(
            self._cell.key, self._core.shell.address, spec.type, spec.name, spec.mailbox
        )
        return Ref(address, self._core.sending)

    def sender_ref(self) -> AnyRef | None:
        """Give the actor that sent the message in hand."""
        self._refuse_in_batch("ctx.sender", "; ctx.senders has one for each message")
        entry = self._cell.current
        return self._sender_of(entry) if entry is not None else None

    def sender_refs(self) -> list[AnyRef | None]:
        """Give who sent each message of the batch in hand."""
        cell = self._cell
        if cell.current is not None:
            return [self._sender_of(cell.current)]
        return [self._sender_of(entry) for entry in cell.in_hand]

    def _sender_of(self, entry: Entry) -> AnyRef | None:
        if not entry.sender:
            return None
        sender = entry.sender[0][0] if isinstance(entry.sender, list) else entry.sender
        return Ref(self._core.directory.address_of(sender, entry.source), self._core.sending)

    def _refuse_in_batch(self, what: str, instead: str) -> None:
        """Refuse what is about one message while there are several in hand."""
        if self._cell.plans and self._cell.in_hand:
            raise UsageError(
                f"{self._cell.label}: {what} is about one message, and a batch handler has "
                f"several in hand{instead}"
            )

    def lookup(self, name: str) -> AnyRef | None:
        """Find an actor by its name."""
        address = self._core.directory.find(name)
        return Ref(address, self._core.sending) if address is not None else None

    def lookup_keyed(self, name: str) -> KeyedGroup[Any] | None:
        """Find a group of keyed actors by its name."""
        address = self._core.keyed.groups.get(name)
        return KeyedGroup(address, self._core.sending) if address is not None else None

    def lookup_pool(self, name: str) -> AnyRef | None:
        """Find an elastic pool by its name."""
        address = self._core.keyed.pools.addresses.get(name)
        return Ref(address, self._core.sending) if address is not None else None

    def tell(self, to: AnyRef, message: Command | Event, delivery: DeliveryGuarantee) -> None:
        """Send a message."""
        self._core.sending.tell(to.address, message, delivery)

    async def tell_waiting(
        self, to: AnyRef, message: Command | Event, delivery: DeliveryGuarantee
    ) -> None:
        """Send a message, waiting for room."""
        await self._core.sending.tell_waiting(self._cell, to.address, message, delivery)

    async def ask(self, to: AnyRef, request: Request[R], timeout: float | None) -> R:
        """Send a request and await its reply."""
        return await self._core.asks.ask(self._cell, to.address, request, timeout)

    def monitor(self, to: AnyRef) -> MonitorRef:
        """Watch an actor."""
        return self._core.bonds.monitor(self._cell, to)

    def demonitor(self, monitor: MonitorRef, *, flush: bool) -> None:
        """Watch no longer."""
        self._core.bonds.demonitor(self._cell, monitor, flush=flush)

    def link(self, to: AnyRef) -> None:
        """Link to an actor."""
        self._core.bonds.link(self._cell, to)

    def unlink(self, to: AnyRef) -> None:
        """Break a link."""
        self._core.bonds.unlink(self._cell, to)

    def send_exit(self, to: AnyRef, reason: ExitReason) -> None:
        """Send an exit signal."""
        self._core.bonds.exit(self._cell, to, reason)

    async def spawn(
        self,
        kind: type[A],
        args: Sequence[Any],
        kwargs: Mapping[str, Any] | None,
        child: Mapping[str, Any],
        actor: Mapping[str, Any],
    ) -> Ref[A]:
        """Start a child."""
        return await self._core.spawns.spawn(self._cell, kind, args, kwargs, child, actor)

    async def terminate_child(self, child: str | AnyRef) -> None:
        """Stop a child."""
        await self._core.spawns.terminate(self._cell, child)

    async def which_children(self) -> list[Child]:
        """List the children."""
        return await self._core.spawns.which(self._cell)

    async def count_children(self) -> ChildCounts:
        """Count the children."""
        return await self._core.spawns.count(self._cell)

    def request(self, to: AnyRef, request: Request[R]) -> AwaitedReply[R]:
        """Send a request whose reply is fetched later."""
        return self._core.asks.request(self._cell, to.address, request)

    def flush(self) -> None:
        """Let what was told so far leave now."""
        self._core.shell.flush_midway()

    def watch(self, to: AnyRef, make: Callable[[ExitReason], Event]) -> MonitorRef:
        """Handle what ``make`` gives when the incarnation of another actor has ended."""
        return self._core.bonds.watch(self._cell, to, make)

    def publish(self, channel: str, event: Event, key: str) -> None:
        """Publish an event."""
        self._core.channels.publish(channel, event, key)

    def subscribe(self, listen: Listen, *, wanted: bool) -> None:
        """Begin or end a subscription."""
        self._core.channels.subscribe(listen, self._cell.key, wanted=wanted)

    def send_after(self, delay: float, message: Command | Event) -> Timer:
        """Put a message into the actor's own mailbox after ``delay`` seconds."""
        check_delay(delay)
        timer = OwnTimer(self._core, self._cell, message)
        if not self._is_over:
            timer.arm(delay)
        return timer

    def idle_timeout(self, seconds: float | None, message: Command | Event | None) -> None:
        """Wait for other messages from the end of the handler on."""
        if self._is_over:
            return
        if seconds is None:
            self._core.effects.add(self._cell, cancel_idle_timeout)
            return
        check_delay(seconds)
        self._check_own(message)
        self._core.effects.add(self._cell, arm_idle_timeout, seconds, message)

    @property
    def _is_over(self) -> bool:
        """Whether the incarnation has ended, and only a handler that was cut off still runs."""
        return self._cell.incarnation != self._incarnation or self._cell.has_ended

    def _check_own(self, message: object) -> None:
        """Refuse a message to oneself that nobody would handle."""
        cell = self._cell
        if type(message) not in cell.handlers:
            raise UsageError(
                f"{cell.label} has no handler for {type(message).__qualname__}, which it sends to "
                "itself; add one with @handles"
            )

    def persist(self, event: Any) -> None:  # noqa: ANN401 - any tagged Struct
        """Apply an event to the actor, and journal it when the handler has finished."""
        self._journal(event)
        assert self._cell.actor is not None
        self._cell.actor.apply(event)

    def _journal(self, event: Any) -> None:  # noqa: ANN401 - any tagged Struct
        cell = self._cell
        if not cell.durable:
            raise UsageError(
                f"{cell.label} is not durable, so there is nothing to persist to; start it with "
                "facets=[Durable()] and a name, on a node with a journal"
            )
        if self._is_over:
            raise UsageError(
                f"a handler of {cell.label} persists when its incarnation has ended; nothing of it "
                "is kept"
            )
        core, meter = self._core, self._core.meter
        previous = meter.switch(_SER)
        kind = _kinds.get(type(event)) or _kinds.setdefault(type(event), import_path(type(event)))
        payload = core.codec.encode_in_band(event)
        (cell.effects or cell.own("effects")).append((JOURNAL, kind, payload))
        meter.switch(previous)

    def continue_with(self, message: Command | Event) -> None:
        """Put a message in front of the mailbox, behind those put there before."""
        cell = self._cell
        if self._is_over:
            return
        self._check_own(message)
        entry = Entry(CONTINUE, 0, cell.key, 0, 0.0, b"", message, self._core.meter.last)
        self._core.counters[counters.SENT] += 1
        cell.own("queue").insert(cell.inserted, entry)
        cell.inserted += 1
        self._core.schedule(cell)

    def postpone(self) -> NoReturn:
        """Lay the message in hand aside."""
        cell = self._cell
        self._refuse_in_batch("ctx.postpone()", "; leave batch=... out of @handles")
        entry = cell.current
        capacity = cell.spec.mailbox.capacity if cell.spec is not None else 0
        if entry is None:
            raise UsageError("there is no message in hand that could be postponed")
        if entry.kind == TELL and entry.number:
            raise UsageError(
                f"{cell.label} can't postpone an at-least-once message: those are handled in the "
                "order in which they were sent"
            )
        if len(cell.postponed) >= capacity:
            raise Reject(f"{cell.label} has {capacity} messages postponed", code="mailbox_full")
        raise Postponed

    def retry_postponed(self) -> None:
        """Put the postponed messages in front of the mailbox, behind continuations."""
        cell = self._cell
        for entry in cell.postponed:
            cell.own("queue").insert(cell.inserted, entry)
            cell.inserted += 1
        cell.postponed.clear()
        self._core.schedule(cell)

    def stop(self, reason: ExitReason) -> None:
        """End the actor when its handler has finished."""
        if not self._is_over:
            self._cell.stop_reason = reason

    def defer(self) -> Reply[Any]:
        """Give what answers the request in hand later."""
        self._refuse_in_batch("ctx.defer_reply()", "; leave batch=... out of @handles")
        entry = self._cell.current
        if entry is None or entry.kind != ASK:
            raise UsageError("there is no request in hand whose reply could be deferred")
        self._cell.own("deferred")[entry.source, entry.number] = entry
        sending = self._core.sending
        home = self._core.shell.address
        return Reply(Ticket(self._cell.key, home, entry.source, entry.number), sending)

    def switch_accounting(self, *, compute: bool) -> Callable[[], None]:
        """Change the time class until the returned function is called."""
        meter = self._core.meter
        previous = meter.switch(int(TimeClass.COMPUTE if compute else TimeClass.DISPATCH))

        def restore() -> None:
            meter.switch(previous)

        return restore


def _seed(source: Random, label: str) -> int:
    digest = hashlib.blake2b(f"{source.random()}/{label}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")
