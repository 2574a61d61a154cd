"""What a client sends that nobody answers, and how it waits for room and for the end.

What it is made of: ``Outgoing`` sends, ``Reading`` reads, ``Incoming`` takes in what was read,
``Delivery`` makes sure of at-least-once messages, ``Peers`` knows who lives.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from gristmill.deferred import Ticket
from gristmill.durability import JournalStore
from gristmill.errors import GristmillError, MailboxFullError, NodeStoppedError, UsageError
from gristmill.messages import Command, Event
from gristmill.node.client.account import SEND, SER, ClientAccount
from gristmill.node.client.delivery import Delivery
from gristmill.node.client.incoming import Incoming
from gristmill.node.client.keyed_sending import KeyedSending
from gristmill.node.client.outgoing import Outgoing
from gristmill.node.client.peers import Peers
from gristmill.node.client.plane import Plane, Wake
from gristmill.node.client.reading import BLOCKED_WAIT, Reading
from gristmill.node.client.requests import OpenRequests
from gristmill.node.client.telling import TOGETHER, Telling
from gristmill.node.tallies import ClientCounters
from gristmill.ref import AT_MOST_ONCE, KEYED, Address, DeliveryGuarantee, OverflowPolicy
from gristmill.supervision import ExitReason
from gristmill.transport.arrays import SharedArray
from gristmill.transport.codec import Codec
from gristmill.transport.control import ControlMessage
from gristmill.transport.envelope import ANSWER, EVENT, TELL, pack
from gristmill.transport.exchange import ArrayExchange
from gristmill.worker.telemetry import counters

if TYPE_CHECKING:
    from gristmill.transport.arrays.layout import Array

_SEND_TIMEOUT = 30.0
"""Seconds that a tell without a timeout of its own waits for room."""
_WAYS = 1000
"""Short ways that are kept at most."""


class ControlSide(Protocol):
    """What the post needs of the control plane."""

    def stop_actor(self, to: Address, reason: ExitReason, timeout: float) -> None:
        """Stop an actor in order."""

    def bury(self, to: Address, body: bytes, reason: str = "") -> None:
        """Make a message a dead letter; without a reason, because its actor has stopped."""

    def send(self, message: ControlMessage) -> None:
        """Send a message to the supervisor process."""


class ClientSending:
    """The part of a client's post that tells and publishes; asks stand on it."""

    codec: Codec

    def __init__(
        self,
        plane: Plane,
        wake: Wake,
        control: ControlSide,
        arrays: ArrayExchange,
        counted: ClientCounters | None = None,
        account: ClientAccount | None = None,
    ) -> None:
        self._control = control
        self.account = account or ClientAccount()
        self.plane = plane
        self.arrays = arrays
        self.now = plane.now
        self.node = ""
        """The node's id, once this client has been welcomed."""
        self._pending: OpenRequests = {}
        self._outgoing = Outgoing(plane, wake, arrays, counted)
        self._delivery = Delivery(self._outgoing)
        self._incoming = Incoming(self._pending, self._outgoing, self._delivery, self.account)
        self._reading = Reading(self._outgoing, self._incoming.take, self.account)
        self._outgoing.read = partial(self._reading.once, 0.0)
        self._monitors = self._incoming.monitors
        self.peers = Peers(
            self._outgoing, self._reading, self._pending, self._delivery, self._monitors
        )
        self._incoming.on_last = self.peers.on_last
        self._send_lock = self._outgoing.lock
        self._credit = self._outgoing.credit
        self._gone = self.peers.gone
        self.keyed = KeyedSending(
            self._outgoing,
            self._delivery,
            self._pending,
            self._reading.available,
            control.send,
            self._bury,
        )
        self._telling: Telling | None = None
        """The way to whom was told last."""
        self._tellings: dict[tuple[int, type], Telling] = {}
        """The ways by actor and type."""
        self._barred: GristmillError | None = None
        """Why nothing can be sent any more."""
        self.counters = self._outgoing.counters
        self.flush = self._outgoing.flush
        self.read_available = self._reading.available
        self.wait_for = self._reading.until
        self.located = self._delivery.located
        self.unlocated = self._delivery.unlocated
        self.subscriptions = self._incoming.subscriptions
        self.wake = self._outgoing.wake_reader
        _all.add(self)

    # --- tell ---

    def tell(self, to: Address, message: Command | Event, delivery: DeliveryGuarantee) -> None:
        """Send a message; waits for room when there is none."""
        telling = self._telling
        if telling is None or to is not telling.to or type(message) is not telling.kind:
            telling = self._way_to(to, type(message))
        if telling is None or delivery is not AT_MOST_ONCE or not telling.tell(message):
            self._tell_otherwise(to, message, delivery)

    def _tell_otherwise(
        self, to: Address, message: Command | Event, delivery: DeliveryGuarantee
    ) -> None:
        """Tell at least once, or a keyed actor, or something large, or where there is no room."""
        self.check()
        if delivery is not AT_MOST_ONCE:
            self._tell_journaled(to, message)
            return
        account, out = self.account, self._outgoing
        began = account.clock()
        body = self.codec.encode(message)
        encoded = posting = account.clock()
        if to.home in self._gone:
            self._bury(to, body)
            return
        with self._send_lock:
            if to.home < 0:
                waited = self._wait_for_room(
                    to, self.now() + _SEND_TIMEOUT, lambda: self.keyed.tell(to, body), wait=True
                )
                posting = waited or posting
            else:
                if not self._credit.take(to):
                    deadline = self.now() + _SEND_TIMEOUT
                    posting = self._wait_for_credit(to, deadline, wait=True) or posting
                out.put(to.home, (TELL, to.key, 0), 0, body)
            row = account.row(to, type(message))
            row.messages += 1
            account.stamp(row, len(body), began, encoded, posting)
            out.left += 1
            due = out.left >= TOGETHER or not out.stragglers.awake
        if due:
            self._flush_tells()

    def _way_to(self, to: Address, kind: type) -> Telling | None:
        """Give the short way of tells of a type to an actor, at hand from now on; None: no such."""
        if self._barred is not None or to.home < 0:  # in a forked process nobody may have the lock
            return None
        with self._send_lock:
            self.check()  # it may have ended meanwhile
            telling = self._tellings.get((to.key, kind))
            if telling is None or telling.to != to:
                if len(self._tellings) >= _WAYS:
                    self._tellings.clear()
                out, flush = self._outgoing, self._flush_tells
                telling = Telling(to, kind, out, self.codec, self.account, self._gone, flush)
                self._tellings[to.key, kind] = telling
            telling.to = to
            self._telling = telling
            return telling

    def _flush_tells(self) -> None:
        """Send the tells that wait; those of the next moment go together."""
        out, begun = self._outgoing, self.account.clock()
        with self._send_lock:
            out.left = 0
            if not out.stragglers.awake:
                out.stragglers.wake()
            blocked = self.plane.flush()
        self.account.add(SEND, begun)
        if blocked:
            self._flush_fully(self.now() + _SEND_TIMEOUT)

    def send_again(self, to: Address, body: bytes) -> None:
        """Send the encoded message of a dead letter as a tell; waits for room, and to be off."""
        deadline = self.now() + _SEND_TIMEOUT
        with self._send_lock:
            self.check()
            if not self._credit.take(to):
                self._wait_for_credit(to, deadline, wait=True)
            self.counters[counters.RESENT] += 1
            self._outgoing.put(to.home, (TELL, to.key, 0), 0, body)
        self._flush_fully(deadline)

    def _bury(self, to: Address, body: bytes, reason: str = "") -> None:
        """Make a message a dead letter; without a reason, because its actor has stopped."""
        with self._send_lock:
            self.counters[counters.SENT] += 1
            self.counters[counters.DEAD_LETTERED] += 1
        self._control.bury(to, body, reason)

    def publish(
        self, channel: str, homes: dict[int, list[int]], event: Event, *, heard_here: bool
    ) -> None:
        """Publish an event to subscribers, given as keys by process, and to this process's own."""
        self.check()
        begun = self.account.clock()
        body = self.codec.encode(event)
        begun = self.account.add(SER, begun)
        with self._send_lock:
            self.counters[counters.PUBLISHED] += 1
            if heard_here:
                self.counters[counters.SENT] += 1
                self.counters[counters.HANDLED] += 1
                for deliver in self.subscriptions.get(channel, ()):
                    deliver([body])
                self._outgoing.wake_reader()
            for address, keys in homes.items():
                self._outgoing.put(address, (EVENT, channel, keys, 0), 0, body)
            blocked = self.plane.flush()
        self.account.add(SEND, begun)
        if blocked:
            self._flush_fully(self.now() + _SEND_TIMEOUT)

    def answer(self, ticket: Ticket, value: Any) -> None:  # noqa: ANN401 - the reply
        """Answer a request that an actor has deferred, through that actor."""
        self.check()
        begun = self.account.clock()
        body = self.codec.encode(value)
        begun = self.account.add(SER, begun)
        key, home, process, number = msgspec.structs.astuple(ticket)
        if home in self._gone:
            return  # its asker was told when the actor ended
        with self._send_lock:
            self.plane.post(home, pack((ANSWER, key, process, number, body)))
            blocked = self.plane.flush()
        self.account.add(SEND, begun)
        if blocked:
            self._flush_fully(self.now() + _SEND_TIMEOUT)

    # --- at least once ---

    def open_journal(self, store: JournalStore) -> None:
        """Journal at-least-once messages from now on, and send what an earlier run left."""
        self._delivery.open_journal(store)

    def _tell_journaled(self, to: Address, message: Command | Event) -> None:
        """Tell at least once: now, or with what else this thread tells together."""
        self._delivery.check(to)
        begun = self.account.clock()
        body = self.codec.encode_in_band(message)
        self.account.journaled(to, type(message), len(body), begun)
        if not self._delivery.hold(to, body):
            self._send_journaled([(to, body)])
        if to.home == KEYED:
            with self._send_lock:
                self.keyed.want(to.name)

    def _send_journaled(self, batch: list[tuple[Address, bytes]]) -> None:
        begun = self.account.clock()
        self._delivery.send(batch)
        self.account.add(SEND, begun)
        self.read_available()  # who only tells has nobody else to read the acknowledgements

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Journal and send what this thread tells at least once in the block at its end, as one."""
        if not self._delivery.gather():
            yield
            return
        try:
            yield
        finally:
            batch = self._delivery.gathered()
            if batch:
                self._send_together(batch)

    def _send_together(self, batch: list[tuple[Address, bytes]]) -> None:
        self._send_journaled(batch)

    @property
    def undelivered(self) -> int:
        """How many at-least-once messages are not acknowledged yet."""
        return self._delivery.undelivered

    # --- wait ---

    def _wait_for_credit(self, to: Address, deadline: float | None, *, wait: bool) -> int:
        """Wait for a place in a mailbox as :meth:`_wait_for_room` does."""
        return self._wait_for_room(to, deadline, lambda: self._credit.take(to), wait=wait)

    def _wait_for_room(
        self, to: Address, deadline: float | None, take: Callable[[], bool], *, wait: bool
    ) -> int:
        """Wait until ``take`` finds room with an actor, without the lock that the caller holds.

        Gives when that wait ended, perf_counter ns, and 0 if there was none: it is no sending.
        """
        if take():
            return 0
        clock = self.account.clock
        if to.mailbox.overflow is OverflowPolicy.FAIL or not wait:
            self.read_available()  # room may have been given back already
            ended = clock()
            if take():
                return ended
            raise MailboxFullError(f"the mailbox of {to.label} has no room")
        self.plane.flush()
        ended = 0
        while not take():
            self.check()
            if deadline is not None and self.now() > deadline:
                raise MailboxFullError(f"the mailbox of {to.label} got no room in time")
            self._send_lock.release()
            try:
                self._reading.once(0.01)
            finally:
                self._send_lock.acquire()
            ended = clock()
        return ended

    def _flush_fully(self, deadline: float) -> None:
        """Flush until nothing is blocked: who tells and never waits has nobody to flush later."""
        while True:
            with self._send_lock:
                if not self.plane.flush():
                    return
            self.check()
            if self.now() > deadline:
                raise MailboxFullError("the workers take no messages: the wire is full")
            self._reading.once(BLOCKED_WAIT)

    def wait_until(self, condition: Callable[[], bool], timeout: float | None) -> bool:
        """Read for all until ``condition`` holds, ``timeout`` seconds at most; give it."""
        deadline = None if timeout is None else self.now() + timeout
        while not condition():
            self.check()
            remaining = 0.1 if deadline is None else deadline - self.now()
            if remaining <= 0:
                return False
            self._reading.once(min(remaining, 0.1))
            self.flush()
        return True

    # --- the end ---

    def stopped(self, error: GristmillError) -> None:
        """The node has ended: everything that waits is told."""
        with self._send_lock:
            self.bar(error)
            pending = list(self._pending.copy().items())  # at once: others take theirs out
        for number, waiter in pending:
            self._pending.pop(number, None)
            waiter.settle(None, error)
        self._outgoing.wake_reader()

    def close(self) -> None:
        """Close the sockets."""
        if self._barred is None:
            self.stopped(NodeStoppedError("the node was closed"))
        self._reading.end()
        self._outgoing.close(self._delivery.close)
        self.counters.close()
        self.plane.wires.close()
        self._incoming.close()

    def bar(self, error: GristmillError) -> None:
        """Refuse to send anything from now on."""
        self._barred = error
        self._telling = None
        self._tellings.clear()

    def check(self) -> None:
        """Refuse to send anything when that is over, or in a forked process."""
        if self._barred is not None:
            raise self._barred


class ClientExporter:
    """Exports the arrays of what a client sends, once it has read what came back.

    Who only tells has nobody else to read that.
    """

    def __init__(self, sending: ClientSending) -> None:
        self._pool = sending.arrays.pool
        self._read_available = sending.read_available

    def export(self, array: Array) -> SharedArray:
        """Give the array in shared memory."""
        if self._pool.lent:
            self._read_available()
        return self._pool.export(array)


_all: weakref.WeakSet[ClientSending] = weakref.WeakSet()


def _bar_after_fork() -> None:
    for sending in _all:
        sending.bar(
            UsageError(
                "this process was forked from a client; refs and nodes can't be used in it. "
                "Start a node of its own here"
            )
        )


os.register_at_fork(after_in_child=_bar_after_fork)
