"""What one worker counts for one (actor type, message type); on the hot path."""

from __future__ import annotations

from collections.abc import Sequence

from gristmill.metrics import histogram
from gristmill.metrics.cpu_time import CpuTime
from gristmill.metrics.governor import Governor
from gristmill.metrics.snapshot import Coordination, TypeSnapshot


class TypeStats:
    """Counts and times of one message type at one actor type, in ns and bytes.

    The receiver calls :meth:`record` once a message, or adds one to ``messages`` for one that was
    not stamped; :meth:`snapshot` then takes that one to be like the others. The other counters are
    added to directly, where the time is spent. A process at the other end of a message (the
    sender, or the asker that reads the reply) keeps a row of the same names, in which it only adds
    to ``peer_ns``: so merging the rows of all processes gives the full cost, and each message is
    counted once.
    """

    __slots__ = ("actor", "answered", "ask_wait_ns", "batches", "bytes_in", "bytes_out",
                 "compute_hist", "compute_ns", "cpu_time", "deser_ns", "dispatch_ns",
                 "extra_items", "gc_ns", "governor", "message", "messages", "peer_ns", "recv_ns",
                 "send_ns", "ser_ns", "stamped", "wait_hist")  # fmt: skip

    def __init__(self, actor: str, message: str, *, answered: bool = False) -> None:
        self.actor = actor
        self.message = message
        self.answered = answered
        """Whether each message gets a reply."""
        self.messages = 0
        self.stamped = 0
        """Messages of which the times are known."""
        self.extra_items = 0
        """Items beyond one a message, for messages that carry several."""
        self.compute_ns = self.deser_ns = self.dispatch_ns = self.ser_ns = 0
        self.send_ns = self.recv_ns = self.peer_ns = self.ask_wait_ns = self.gc_ns = 0
        self.bytes_in = self.bytes_out = 0
        self.batches = 0
        """Calls that took a list of messages."""
        self.governor: Governor | None = None
        """Who says how many messages these are."""
        self.cpu_time = CpuTime()
        self.compute_hist = histogram.empty()
        self.wait_hist = histogram.empty()

    def record(
        self,
        compute_ns: int,
        deser_ns: int,
        dispatch_ns: int,
        ser_ns: int,
        bytes_in: int,
        wait_ns: int,
    ) -> None:
        """Count one handled message; no argument may be negative.

        Args:
            compute_ns: time in the handler.
            deser_ns: time to decode the message.
            dispatch_ns: time to find and call the handler.
            ser_ns: time to encode the reply.
            bytes_in: size of the message.
            wait_ns: time in the mailbox; latency, and in no time class.
        """
        self.messages += 1
        self.stamped += 1
        self.compute_ns += compute_ns
        self.deser_ns += deser_ns
        self.dispatch_ns += dispatch_ns
        self.ser_ns += ser_ns
        self.bytes_in += bytes_in
        # histogram.bucket, written out: two calls would cost as much as all the rest
        shift = compute_ns.bit_length() - 4
        self.compute_hist[(shift << 3) + (compute_ns >> shift) if shift > 0 else compute_ns] += 1
        shift = wait_ns.bit_length() - 4
        self.wait_hist[(shift << 3) + (wait_ns >> shift) if shift > 0 else wait_ns] += 1

    def record_batch(
        self,
        compute_ns: int,
        deser_ns: int,
        dispatch_ns: int,
        ser_ns: int,
        bytes_in: int,
        waits_ns: Sequence[int],
    ) -> None:
        """Count the messages that one call of a batch handler took.

        Args:
            compute_ns: time of the whole call; each message counts as an equal part of it.
            deser_ns: time to decode all of them.
            dispatch_ns: time to collect them and call the handler.
            ser_ns: time to encode all replies.
            bytes_in: size of all of them.
            waits_ns: time in the mailbox, one for each message.
        """
        count = len(waits_ns)
        self.messages += count
        self.stamped += count
        self.compute_ns += compute_ns
        self.deser_ns += deser_ns
        self.dispatch_ns += dispatch_ns
        self.ser_ns += ser_ns
        self.bytes_in += bytes_in
        if count:
            self.compute_hist[histogram.bucket(compute_ns // count)] += count
        hist = self.wait_hist
        for wait_ns in waits_ns:  # histogram.bucket, written out as in record
            shift = wait_ns.bit_length() - 4
            hist[(shift << 3) + (wait_ns >> shift) if shift > 0 else max(wait_ns, 0)] += 1

    @property
    def all_dispatch_ns(self) -> int:
        """Time to find and call the handler, as if every message had been stamped."""
        return self.dispatch_ns * self.messages // (self.stamped or 1)

    def snapshot(self) -> TypeSnapshot:
        """Give what was counted so far, as if every message had been stamped."""
        all_, known = self.messages, self.stamped or 1

        def of_all(amount: int) -> int:
            return amount if all_ == known else amount * all_ // known

        return TypeSnapshot(
            actor=self.actor,
            message=self.message,
            messages=self.messages,
            items=self.messages + self.extra_items,
            compute_ns=of_all(self.compute_ns),
            compute_cpu_ns=of_all(self.cpu_time.of_all(self.compute_ns, self.compute_hist)),
            coord_ns=Coordination(
                deser=of_all(self.deser_ns),
                dispatch=of_all(self.dispatch_ns),
                ser=of_all(self.ser_ns),
                send=self.send_ns,
                recv=self.recv_ns,
                peer=self.peer_ns,
            ),
            ask_wait_ns=self.ask_wait_ns,
            gc_ns=of_all(self.gc_ns),
            bytes_in=of_all(self.bytes_in),
            bytes_out=of_all(self.bytes_out),
            replies=all_ if self.answered else 0,
            compute_hist=_scaled(self.compute_hist, all_, known),
            wait_hist=_scaled(self.wait_hist, all_, known),
            batches=self.batches,
            governed=self.governor.snapshot() if self.governor is not None else None,
        )


def _scaled(counts: list[int], all_: int, known: int) -> dict[int, int]:
    """Give a histogram whose counts add up to ``all_``, where ``known`` were counted."""
    found = histogram.sparse(counts)
    if all_ == known:
        return found
    scaled, seen, given = {}, 0, 0
    for place, count in found.items():
        seen += count
        scaled[place] = seen * all_ // known - given
        given += scaled[place]
    return {place: count for place, count in scaled.items() if count}
