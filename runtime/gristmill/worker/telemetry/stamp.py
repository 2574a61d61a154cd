"""``Stamp``: the times of the message in hand, taken as it passes from one step to the next.

What is stamped takes the same way as what is not, so that it speaks for that: of two pieces of code
that do the same, the one that seldom runs takes two to three times as long. What it costs to take
the times is measured like the rest, as ``PROBE``, and is in none of them.
"""

from __future__ import annotations

from time import thread_time_ns
from typing import NamedTuple

from gristmill.messages import Message
from gristmill.metrics import Meter, TimeClass
from gristmill.worker.actors.cell import Cell, Entry
from gristmill.worker.telemetry.stamping import Stamping

_DESER = int(TimeClass.DESER)
_DISPATCH = int(TimeClass.DISPATCH)
_COMPUTE = int(TimeClass.COMPUTE)
_SER = int(TimeClass.SER)
_GC_USER = int(TimeClass.GC_USER)
_PROBE = int(TimeClass.PROBE)
_STOOD_STILL = 20_000
"""A reading of the clock of CPU time that took more ns had the kernel run somebody else: that is
when it looks whose turn it is. A reading takes 500."""
_STEPS = 5
"""Calls of a stamp for each message: what they cost is measured, but for the call itself."""


class Spent(NamedTuple):
    """What a call has taken so far, in ns."""

    begun: int
    """When it was begun, perf_counter ns."""
    compute: int
    deser: int
    dispatch: int
    encoded: int
    collected: int
    """What had been spent on encoding, and on collections in handlers, when it began."""


class Stamp:
    """The times of one stamped message after the other; on the hot path.

    Args:
        meter: of the worker.
        stamping: counts what is recorded.
    """

    __slots__ = ("_clock", "_collected", "_compute", "_cpu", "_decoding", "_deser", "_dispatch",
                 "_elapsed", "_encoded", "_meter", "_ser", "_since", "_size",
                 "_stamping")  # fmt: skip

    def __init__(self, meter: Meter, stamping: Stamping) -> None:
        self._meter = meter
        self._clock = meter.clock
        self._stamping = stamping
        self._since = self._decoding = 0
        self._dispatch = self._deser = self._compute = self._ser = 0
        """What the message has spent in each class; what the class had before, while it runs."""
        self._encoded = self._collected = self._elapsed = self._cpu = 0
        self._size = 0

    def dispatching(self) -> None:
        """From now on the next message is looked for."""
        meter = self._meter
        classes = meter.classes
        if meter.paused:
            meter.resume(_PROBE)
        else:
            self._end()
        self._stamping.begin_call()
        self._dispatch = classes[_DISPATCH]
        self._encoded, self._collected = classes[_SER], classes[_GC_USER]
        self._begin(_DISPATCH)

    def begin_late(self) -> None:
        """Only now that it is decoded it has turned out that the message is to be stamped."""
        self.dispatching()
        self.decoding()

    def decoding(self) -> None:
        """From now on it is decoded."""
        classes = self._end()
        self._dispatch = classes[_DISPATCH] - self._dispatch
        self._deser = classes[_DESER]
        self._begin(_DESER)
        self._decoding = self._since

    def computing(self) -> None:
        """From now on its handler runs."""
        classes = self._end()
        self._deser = classes[_DESER] - self._deser
        self._cpu = self._cpu_time() if self._stamping.takes_cpu_time() else 0
        self._compute = classes[_COMPUTE]
        self._begin(_COMPUTE)

    def returned(self, *, asked: bool) -> None:
        """Its handler has returned; if it was asked, the reply is encoded from now on."""
        classes = self._end()
        self._compute = classes[_COMPUTE] - self._compute
        if self._cpu:
            self._elapsed = self._meter.last - self._since
            self._cpu = self._cpu_time() - self._cpu
        self._dispatch -= classes[_DISPATCH]
        self._ser = self._size = 0
        if asked:
            self._ser = classes[_SER]
        self._begin(_SER if asked else _DISPATCH)

    def answered(self, size: int) -> None:
        """A reply of so many bytes is on its way."""
        self._ser = self._end()[_SER] - self._ser
        self._size = size
        self._begin(_DISPATCH)

    def spent(self) -> Spent:
        """Give what a handler has taken that has returned something to wait for."""
        dispatch = self._dispatch + self._meter.classes[_DISPATCH]
        return Spent(
            self._decoding, self._compute, self._deser, dispatch, self._encoded, self._collected
        )

    def record(self, cell: Cell, entry: Entry, message: type[Message]) -> None:
        """Count the message, of which all is done."""
        classes, stamping = self._end(), self._stamping
        compute, deser = self._compute, self._deser
        dispatch = self._dispatch + classes[_DISPATCH]
        stats = stamping.stats_of(cell, message)
        wait = self._decoding - entry.arrived
        stats.record(compute, deser, dispatch, self._ser, len(entry.body), wait)
        stats.bytes_out += self._size
        if self._cpu and compute == self._elapsed:  # else it did not only compute
            stats.cpu_time.add(self._cpu, compute)
        collected = classes[_GC_USER] - self._collected
        stats.gc_ns += collected
        self._meter.transitions += _STEPS
        stamping.share(compute, deser, dispatch, classes[_SER] - self._encoded, collected)
        stamping.end_call(1)

    def _cpu_time(self) -> int:
        """Read the clock of CPU time; if the thread stands still meanwhile, that is ``OTHER``."""
        cpu_time = thread_time_ns()
        meter = self._meter
        now = self._clock()
        if now - meter.last > _STOOD_STILL:
            meter.stands_still_until(now)
        return cpu_time

    def _end(self) -> list[int]:
        """End what was going on; give the times of the classes up to now."""
        now = self._clock()
        meter = self._meter
        classes = meter.classes
        classes[meter.current] += now - meter.last
        meter.current, meter.last = _PROBE, now
        return classes

    def _begin(self, state: int) -> None:
        now = self._clock()
        meter = self._meter
        meter.classes[_PROBE] += now - meter.last
        meter.current, meter.last = state, now
        self._since = now
