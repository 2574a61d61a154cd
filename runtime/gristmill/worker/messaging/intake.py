"""``Intake``: what comes in, from a frame's bytes to whom each envelope concerns."""

from __future__ import annotations

from itertools import count, islice, repeat
from typing import TYPE_CHECKING

import msgspec

from gristmill.errors import DecodeError
from gristmill.transport.envelope import (
    ACK,
    ANSWER,
    ARRAYS,
    ASK,
    CANCEL,
    CREDIT,
    ERROR,
    EVENT,
    FENCE,
    INSPECT,
    LAST,
    MESSAGES,
    NOTICE,
    PROBE,
    RELEASE,
    REPLY,
    SIGNAL,
    TELL,
    Envelope,
    is_lone_ask,
    read_frame,
)
from gristmill.worker.actors.cell import Entry
from gristmill.worker.instructions import carry_out
from gristmill.worker.telemetry import counters

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore


class Intake:
    """Reads frames and takes them in, on behalf of a worker's core."""

    def __init__(self, core: WorkerCore) -> None:
        self._core = core
        self._wires = core.shell.wires

    def on_frame(self, frame: bytes) -> None:
        """Read a frame, and take it in."""
        self.take_in(self.read(frame))

    def read(self, frame: bytes) -> list[Envelope]:
        """Read a frame, and count the messages in it.

        Gives nothing if it can't be read, and if it is too early: see :meth:`Peers.keeps`.
        """
        core = self._core
        try:
            envelopes = read_frame(frame)
        except DecodeError as error:
            core.failures.bury(None, "", b"", f"undecodable: {error}")
            return []
        header = envelopes[0]
        try:
            if header[6]:
                self._wires.received(header[1], header[2], header[3], header[6])
            if core.peers.keeps(envelopes):
                return []
        except (TypeError, ValueError) as error:  # a field of the header has a wrong type
            core.failures.malformed(None, error, is_message=False)
            return []
        return envelopes

    def take_in(self, envelopes: list[Envelope]) -> None:
        """Take in a frame of the data plane that was read, or a notice of the control thread."""
        core = self._core
        source = envelopes[0][1] if envelopes else 0
        arrived = core.meter.last
        for envelope in islice(envelopes, 1, None):
            try:
                if envelope[0] == ASK:
                    _, target, sender, deadline, first, bodies = envelope
                    entries = [
                        Entry(ASK, source, sender, request, deadline, body, None, arrived, True)
                        for request, body in enumerate(bodies, first)
                    ]
                    core.deliver(target, entries)
                elif envelope[0] == TELL:
                    _, target, sender, first, bodies = envelope
                    numbers = count(first) if first else repeat(0)
                    entries = [
                        Entry(TELL, source, sender, number, 0.0, body, None, arrived, not first)
                        for number, body in zip(numbers, bodies)  # noqa: B905 - numbers never end
                    ]
                    core.deliver(target, entries)
                else:
                    self._on_other(envelope, envelopes[0], arrived)
            except (ValueError, IndexError, TypeError, msgspec.MsgspecError) as error:
                message = bool(envelope) and envelope[0] in MESSAGES
                core.failures.malformed(None, error, is_message=message)

    def take_in_alone(self, envelopes: list[Envelope]) -> None:
        """Take in a frame and have a turn; a lone ask of an idle actor is answered at once.

        It comes to the same as :meth:`take_in` and a turn, with less to do before the reply
        leaves, for who asks one thing after another.
        """
        core = self._core
        alone = len(envelopes) == 2 and is_lone_ask(envelopes) and not core.ready
        core.handling.at_once = alone
        try:
            self.take_in(envelopes)
            core.turn()
        finally:
            core.handling.at_once = False

    def _on_other(self, envelope: Envelope, header: Envelope, arrived: int) -> None:
        core = self._core
        kind = envelope[0]
        if kind == REPLY:
            for request, body in enumerate(envelope[2], envelope[1]):
                core.asks.on_reply(request, body)
        elif kind == ERROR:
            core.asks.on_error(envelope[1], envelope[2])
        elif kind == EVENT:
            _, _channel, targets, sender, _, bodies = envelope
            entries = [Entry(EVENT, 0, sender, 0, 0.0, body, None, arrived) for body in bodies]
            core.counters[counters.SENT] += (len(targets) - 1) * len(entries)  # each came as one
            for target in targets:
                for entry in entries:
                    core.deliver_event(target, entry)
        elif kind == CREDIT:
            core.sending.on_credit(header[1], envelope[1], envelope[2])
        elif kind == ACK:
            core.delivery.on_ack(envelope[1], envelope[2])
        elif kind == NOTICE:
            carry_out(core, envelope[1])
        elif kind == SIGNAL:
            core.bonds.on_signal(header[1], envelope[1], envelope[2])
        elif kind == ANSWER:
            core.replying.answered(*envelope[1:])
        elif kind == INSPECT:
            core.inspecting.take(header[1], *envelope[1:])
        elif kind == ARRAYS:
            self.take_in([header, core.arrays.open(envelope)])
        elif kind == FENCE:
            core.keyed.fence(header[1], envelope[1])
        elif kind == CANCEL:
            core.cancelling.cancel(header[1], envelope[1], envelope[2])
        elif kind == PROBE:
            core.cycles.probed(envelope[1], envelope[2])
        elif kind == RELEASE:
            core.arrays.take_back(header, envelope)
        elif kind == LAST:
            core.peers.on_last(header[1], header[2])
        else:
            raise ValueError(f"kind {kind!r} is unknown")
