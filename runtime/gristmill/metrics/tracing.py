"""What a process records of its single messages: slices of time, and what it has sent when.

A ring keeps the newest records; an older one is overwritten. All times are ns of the clock that
the processes of a host share, so what was recorded in several of them can be put side by side.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from gristmill.metrics.classes import TimeClass
from gristmill.metrics.meter import Clock, Meter
from gristmill.metrics.snapshot import Kind

EVENTS: Final = 65_536
"""Records that a process keeps."""
_IDLE: Final = TimeClass.IDLE.value

MessageId = tuple[int, int]
"""The address of the process that has sent a message, and its number there: above 0 that of a
request, below 0 that of another message."""


class Slice(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=0):
    """Something took from ``begin`` to ``end``."""

    begin: int
    end: int
    what: int | str
    """A time class, or the name of what was done: ``Pricer.GetQuote``."""
    thread: int = 0
    of: tuple[MessageId, ...] = ()
    """The messages that were handled."""
    waited: int = -1
    """How long the first of them waited in its mailbox; below 0 where that is not known."""


class Sent(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=1):
    """Messages with consecutive numbers were sent."""

    at: int
    first: int
    count: int = 1
    thread: int = 0


class Backlog(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=2):
    """So many messages wait in the mailboxes of a worker."""

    at: int
    messages: int


Record = Slice | Sent | Backlog


class ProcessTrace(msgspec.Struct, frozen=True, array_like=True):
    """What one process has recorded of a window."""

    name: str
    kind: Kind
    pid: int
    address: int
    records: list[Record]
    """Each behind those that it has ended after; a slice behind those inside of it."""
    dropped: int = 0
    """Records that were overwritten, if the ring does not reach back to the window's begin."""
    threads: dict[int, str] = {}
    """The names of its threads, if it has several."""

    @property
    def oldest(self) -> int:
        """When the oldest record ended; 0 if there is none."""
        return min(map(_ended, self.records), default=0)


class Recorder:
    """The ring of one process. Any thread may add to it.

    Args:
        incarnation: of the process; it makes the numbers of messages unique.
        thread: gives what tells the calling thread from others; none where there is one.
        clock: gives ns.
        events: how many records it keeps.
    """

    def __init__(
        self,
        incarnation: int = 1,
        thread: Callable[[], int] | None = None,
        clock: Clock = time.perf_counter_ns,
        events: int = EVENTS,
    ) -> None:
        self.clock = clock
        self.thread = thread or _only_thread
        self._numbers = itertools.count((incarnation << 40) + 1)
        self._ring: deque[Record] = deque(maxlen=events)
        self._added = 0

    def add(self, record: Record) -> None:
        """Keep a record, in place of the oldest one if there is no room."""
        self._ring.append(record)
        self._added += 1

    def slice(
        self, begin: int, what: int | str, of: tuple[MessageId, ...] = (), waited: int = -1
    ) -> None:
        """Record that something that began at ``begin`` has just ended."""
        self.add(Slice(begin, self.clock(), what, self.thread(), of, waited))

    def sent(self, first: int, count: int = 1) -> None:
        """Record that messages are about to be sent; said before they can arrive."""
        self.add(Sent(self.clock(), first, count, self.thread()))

    def number(self) -> int:
        """Give a number for a message that has none of its own."""
        return -next(self._numbers)

    def since(self, begin: int) -> tuple[list[Record], int]:
        """Give what ended after ``begin``, and how many records were overwritten if some are lost.

        The second figure counts all that were overwritten ever; it is 0 as long as the ring
        reaches back to ``begin``.
        """
        kept = list(self._ring)
        overwritten = self._added - len(kept)
        lost = overwritten if kept and _ended(kept[0]) > begin else 0
        return [record for record in kept if _ended(record) > begin], lost


class TracedMeter(Meter):
    """A meter that also records each stretch of a class, but for idle ones.

    Hot loops write out switches on ``current`` and ``last``, in this order, so here these two see
    every switch. A class that is written over before the time is (a stamp that was saved) counts
    for nothing, as in :class:`Meter`.
    """

    __slots__ = ("_before", "_current", "_last", "recorder")

    def __init__(
        self,
        recorder: Recorder,
        clock: Clock = time.perf_counter_ns,
        start_ns: int | None = None,
        probe_ns: int = 0,
    ) -> None:
        self.recorder = recorder
        self._last = self._current = self._before = 0
        super().__init__(clock, start_ns, probe_ns)

    @property
    def current(self) -> int:
        """The class that runs."""
        return self._current

    @current.setter
    def current(self, state: int) -> None:
        self._before, self._current = self._current, state

    @property
    def last(self) -> int:
        """When the last switch was."""
        return self._last

    @last.setter
    def last(self, now: int) -> None:
        # All is in order before anything is added: a collection may switch in the middle of that.
        began, self._last = self._last, now
        state, self._before = self._before, self._current
        if began and now > began and state != _IDLE:
            self.recorder.add(Slice(began, now, state))

    def mark(self) -> int:
        """End the running stretch and begin another one of the same class; give when."""
        self.enter(self._current)
        return self._last


def _ended(record: Record) -> int:
    return record.end if isinstance(record, Slice) else record.at


def _only_thread() -> int:
    return 0
