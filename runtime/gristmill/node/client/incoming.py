"""``Incoming``: what a frame brings to a client."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import msgspec

from gristmill.errors import DecodeError
from gristmill.node.client.account import ClientAccount
from gristmill.node.client.delivery import Delivery
from gristmill.node.client.monitor import Monitor
from gristmill.node.client.outgoing import Outgoing
from gristmill.node.client.requests import PLACE_BITS, PLACES, OpenRequests
from gristmill.transport.envelope import (
    ACK,
    ARRAYS,
    CREDIT,
    ERROR,
    EVENT,
    LAST,
    RELEASE,
    REPLY,
    SIGNAL,
    Envelope,
    ErrorReply,
    read_frame,
    to_exception,
)
from gristmill.transport.signals import Ended, decode_signal
from gristmill.worker.telemetry import counters


class Incoming:
    """Brings replies to who waits for them, events to subscriptions, credit and acks home."""

    def __init__(
        self,
        pending: OpenRequests,
        outgoing: Outgoing,
        delivery: Delivery,
        account: ClientAccount,
    ) -> None:
        self._account = account
        self._pending = pending
        self._outgoing = outgoing
        self._delivery = delivery
        self.subscriptions: dict[str, list[Callable[[list[bytes]], None]]] = {}
        """Who takes the events of which channel."""
        self.monitors: dict[int, Monitor] = {}
        """Who wants to know of the ends of actors, by number."""
        self.on_last: Callable[[int, int], None] = _nobody
        """Is told of a worker that is replaced and says no more."""

    def take(self, frame: bytes) -> None:
        """Take in one frame. One thread at a time."""
        try:
            envelopes = read_frame(frame)
        except DecodeError:
            return  # nothing of ours; an asker gets its timeout
        _, source, incarnation, before, _, _, messages, _ = envelopes[0]
        if messages:
            self._outgoing.plane.wires.received(source, incarnation, before, messages)
        acknowledged: dict[str, int] | None = None
        for envelope in islice(envelopes, 1, None):
            kind = envelope[0]
            if kind in (REPLY, ERROR):
                begun = self._account.clock()
                (self._answer if kind == REPLY else self._fail)(envelope[1], envelope[2])
                self._account.took_replies(begun)
            elif kind == ARRAYS:
                self._take_arrays(envelope)
            elif kind == EVENT:
                self._publish(envelope)
            elif kind == CREDIT:
                with self._outgoing.lock:
                    self._outgoing.credit.give(envelopes[0][1], envelope[1], envelope[2])
            elif kind == ACK:
                acknowledged = acknowledged or {}
                acknowledged[envelope[1]] = envelope[2]
            elif kind == SIGNAL:
                self._ended(envelope[2])
            elif kind == LAST:
                self.on_last(envelopes[0][1], envelopes[0][2])
            elif kind == RELEASE:
                self._outgoing.arrays.take_back(envelopes[0], envelope)
        if acknowledged:
            begun = self._account.clock()
            self._delivery.acknowledged(acknowledged)
            self._account.took_others(begun)

    def _answer(self, request: int, bodies: list[bytes]) -> None:
        number = request >> PLACE_BITS
        waiter = self._pending.get(number)
        if waiter is not None and waiter.answer(request & PLACES, bodies):
            self._pending.pop(number, None)

    def _fail(self, request: int, body: bytes) -> None:
        number = request >> PLACE_BITS
        waiter = self._pending.get(number)
        if waiter is not None:
            try:
                error = to_exception(msgspec.msgpack.decode(body, type=ErrorReply))
            except msgspec.MsgspecError as malformed:
                error = DecodeError(f"the error in place of a reply can't be read: {malformed}")
            if waiter.fail(request & PLACES, error):
                self._pending.pop(number, None)

    def _ended(self, body: bytes) -> None:
        signal = decode_signal(body)
        if isinstance(signal, Ended):
            monitor = self.monitors.pop(signal.number, None)
            if monitor is not None:
                monitor.reason = signal.reason

    def _publish(self, envelope: Envelope) -> None:
        begun = self._account.clock()
        _, channel, _, _, _, bodies = envelope
        listeners = self.subscriptions.get(channel, ())
        fate = counters.HANDLED if listeners else counters.UNWANTED
        with self._outgoing.lock:
            self._outgoing.counters[fate] += len(bodies)
        for deliver in listeners:
            deliver(bodies)
        self._account.took_others(begun)

    def _take_arrays(self, envelope: Envelope) -> None:
        """Take in a reply or event whose arrays are in shared memory."""
        begun = self._account.clock()
        inner = self._outgoing.arrays.open(envelope)
        self._outgoing.took_arrays()
        if inner[0] == EVENT:
            self._publish(inner)
        else:
            self._answer(inner[1], inner[2])
            self._account.took_replies(begun)

    def close(self) -> None:
        """Let go of who is told, so that nothing waits for the garbage collector."""
        self.on_last = _nobody


def _nobody(_address: int, _incarnation: int) -> None:
    """Be nobody who is told."""
