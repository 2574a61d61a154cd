"""What one process counts for what it sends: who to whom, how many, and what that cost it."""

from __future__ import annotations

from typing import Final

import msgspec

from gristmill.metrics.classes import TimeClass
from gristmill.metrics.meter import Meter

_SER: Final = TimeClass.SER.value
_DESER: Final = TimeClass.DESER.value
CLIENT = "client"
"""What reports call the client as a sender."""


class SentSnapshot(msgspec.Struct, frozen=True):
    """Messages of one type from one actor type to another, as their sender sees them."""

    source: str
    target: str
    message: str
    messages: int = 0
    bytes: int = 0
    ser_ns: int = 0
    """Time to encode them and put them on their way."""
    deser_ns: int = 0
    """Time to decode the replies."""
    send_ns: int = 0
    """Their part of the time in which frames were sent."""
    recv_ns: int = 0
    """Their replies' part of the time in which frames were read."""
    replies: int = 0

    def cost(self) -> int:
        """Give the sum of the times."""
        return self.ser_ns + self.deser_ns + self.send_ns + self.recv_ns


class SentStats:
    """Counts and times behind a :class:`SentSnapshot`; on the hot path.

    ``messages`` is exact. Times and bytes are those of ``stamped`` messages, and ``deser_ns`` that
    of ``decoded`` replies; the snapshot takes the others to be like them.
    """

    __slots__ = ("bytes", "decoded", "deser_ns", "message", "messages", "replies", "ser_ns",
                 "source", "stamped", "target")  # fmt: skip

    def __init__(self, source: str, target: str, message: str) -> None:
        self.source = source
        self.target = target
        self.message = message
        self.messages = self.stamped = self.bytes = self.ser_ns = 0
        self.replies = self.decoded = self.deser_ns = 0

    def encoded(self, messages: int, size: int, ns: int) -> None:
        """Count messages that were encoded together and timed."""
        self.messages += messages
        self.stamped += messages
        self.bytes += size
        self.ser_ns += ns

    def snapshot(self) -> SentSnapshot:
        """Give what was counted so far."""
        all_, known = self.messages, self.stamped or 1
        return SentSnapshot(
            self.source,
            self.target,
            self.message,
            messages=all_,
            bytes=self.bytes * all_ // known,
            ser_ns=self.ser_ns * all_ // known,
            deser_ns=self.deser_ns * self.replies // (self.decoded or 1),
            replies=self.replies,
        )


class SentTable:
    """The rows of one process; a process that meters itself has a :class:`MeteredTable`.

    Args:
        source: who sends where nothing else is said.
    """

    def __init__(self, source: str = "") -> None:
        self._source = source
        self._rows: dict[tuple[str, str, type], SentStats] = {}

    def row(self, source: str, target: str, message: type) -> SentStats:
        """Give the row of a kind of message.

        Args:
            source: import path of the sending actor's class; empty where none sends.
            target: import path of the receiving actor's class.
            message: its type.
        """
        found = self._rows.get((source, target, message))
        if found is None:
            names = source.rpartition(":")[2] or self._source, target.rpartition(":")[2] or "?"
            found = SentStats(*names, message.__qualname__)
            self._rows[source, target, message] = found
        return found

    def snapshot(self) -> tuple[SentSnapshot, ...]:
        """Give all rows."""
        return tuple(row.snapshot() for row in self._rows.values())


class MeteredTable(SentTable):
    """The rows of a worker, whose meter knows what encoding and decoding took.

    Args:
        meter: of the worker's thread.
    """

    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self._meter = meter

    def begin(self) -> tuple[int, int] | None:
        """Begin to encode a message; give what :meth:`end` takes."""
        meter = self._meter
        if meter.paused:
            return None
        previous = meter.switch(_SER)
        return previous, meter.classes[_SER]

    def end(
        self, begun: tuple[int, int] | None, source: str, target: str, message: type, size: int
    ) -> None:
        """The message has been encoded, and is on its way if its size is not negative."""
        if begun is not None:
            self._meter.switch(begun[0])
        if size < 0:
            return
        row = self._rows.get((source, target, message)) or self.row(source, target, message)
        row.messages += 1
        if begun is not None:
            row.stamped += 1
            row.ser_ns += self._meter.classes[_SER] - begun[1]
            row.bytes += size

    def decoded(self, source: str, target: str, message: type, before: int) -> None:
        """A reply has been decoded; ``before``: ns in ``DESER`` when that began."""
        row = self.row(source, target, message)
        row.replies += 1
        row.decoded += 1
        row.deser_ns += self._meter.classes[_DESER] - before


def merge_sent(rows: list[SentSnapshot]) -> list[SentSnapshot]:
    """Add up the rows of each kind of message."""
    sums: dict[tuple[str, str, str], SentSnapshot] = {}
    for row in rows:
        key = (row.source, row.target, row.message)
        before = sums.get(key)
        if before is None:
            sums[key] = row
            continue
        names = SentSnapshot.__struct_fields__[3:]
        added = {name: getattr(before, name) + getattr(row, name) for name in names}
        sums[key] = SentSnapshot(*key, **added)
    return list(sums.values())
