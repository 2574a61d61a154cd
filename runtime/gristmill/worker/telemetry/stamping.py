"""``Stamping``: which messages are stamped for the accounting, and what each kind has cost.

Where messages are many and short, only some of them are stamped, see
:class:`~gristmill.metrics.Sampling`. All are handled alike.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from gristmill.messages import Message, Request
from gristmill.metrics import Meter, Sampling, TimeClass, TypeStats
from gristmill.metrics.meter import INTERRUPTION
from gristmill.worker.actors.cell import Cell
from gristmill.worker.telemetry import counters

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore

_DESER = int(TimeClass.DESER)
_DISPATCH = int(TimeClass.DISPATCH)
_COMPUTE = int(TimeClass.COMPUTE)
_SER = int(TimeClass.SER)
_GC_USER = int(TimeClass.GC_USER)
_PROBE = int(TimeClass.PROBE)
_CPU_TIME_EVERY = 600_000
"""Once in so many ns of compute CPU time is measured too: two readings of its clock, 1.2 us."""
_CPU_TIME_AT_LEAST = 64
"""Of so many messages, stamped or not, it is measured in one, however short they are."""
_CPU_TIME_AT_MOST = 4
"""Of so many messages it is measured in one, however long they are."""
_AT_LEAST = 8
"""Messages of each type that are stamped, so that a report knows what is rare."""
_ADAPT_EVERY = 128
"""Stamped messages after which the sampling is looked at, besides once a second."""


class Stamping:
    """Counts what a worker's messages cost, on behalf of its core."""

    def __init__(self, core: WorkerCore, meter: Meter) -> None:
        self._core = core
        self._meter = meter
        self.stats: dict[tuple[str, str], TypeStats] = {}
        """What each (actor type, message type) has cost."""
        self.sampling = Sampling(Random(core.shell.random.getrandbits(64)))
        self.unstamped = 0
        """How many messages go by before the next one that is stamped."""
        self._cost = 0
        """What the accounting had cost when the call in hand began, in ns."""
        self._until_cpu_time = 0
        """Compute that goes by before CPU time is measured again, in ns."""
        self._until_adapted = _ADAPT_EVERY
        self._adapted_at = meter.last

    def takes_cpu_time(self) -> bool:
        """Tell whether the CPU time of the message in hand is measured too; once is enough."""
        if self._until_cpu_time > 0:
            return False
        self._until_cpu_time = _CPU_TIME_EVERY
        return True

    def knows(self, cell: Cell, message: type[Message]) -> bool:
        """Tell whether enough messages of a type have been stamped to say what it costs."""
        return self.stats_of(cell, message).stamped >= _AT_LEAST

    def begin_call(self) -> None:
        """A call begins that is stamped."""
        self._cost = self._cost_so_far()

    def end_call(self, messages: int) -> None:
        """A stamped call of so many messages is over; say how many go by until the next."""
        meter = self._meter
        meter.enter(_PROBE)
        self.unstamped = self.sampling.gap(self._cost_so_far() - self._cost, messages)
        self._until_adapted -= messages
        if self._until_adapted <= 0:
            self.adapt()
        if self.unstamped:
            meter.interruptions += 1
            meter.pause()
        else:
            meter.enter(_DISPATCH)

    def pass_by(self, messages: int) -> None:
        """So many messages have been handled that were not stamped."""
        self.unstamped = max(0, self.unstamped - messages)

    def _cost_so_far(self) -> int:
        """Give what the accounting has cost so far in ns, but for the interruptions."""
        meter = self._meter
        return meter.classes[_PROBE] + meter.transitions * meter.probe_ns

    def share(self, compute: int, deser: int, dispatch: int, ser: int, collected: int) -> None:
        """Let a stamped call, in ns, speak for those that are not stamped."""
        least = _CPU_TIME_EVERY // _CPU_TIME_AT_LEAST * self.sampling.n
        self._until_cpu_time -= max(least, min(compute, _CPU_TIME_EVERY // _CPU_TIME_AT_MOST))
        if self.sampling.n > 1:
            shares = self._meter.shares
            shares[_COMPUTE] += compute
            shares[_DESER] += deser
            shares[_DISPATCH] += dispatch
            shares[_SER] += ser
            shares[_GC_USER] += collected

    def adapt(self) -> None:
        """Look whether more or fewer messages must be stamped."""
        now = self._meter.clock()
        elapsed, self._adapted_at = now - self._adapted_at, now
        self._until_adapted = _ADAPT_EVERY
        handled = self._core.counters[counters.HANDLED]
        interruption = INTERRUPTION * self._meter.probe_ns
        self.sampling.adapt(self._cost_so_far(), handled, interruption, elapsed)

    def stats_of(self, cell: Cell, message: type[Message]) -> TypeStats:
        """Find what is counted of a message's type at its actor's."""
        stats = cell.stats.get(message)
        if stats is not None:
            return stats
        name = (cell.type_name, message.__qualname__)
        stats = self.stats.get(name)
        if stats is None:
            stats = self.stats[name] = TypeStats(*name, answered=issubclass(message, Request))
        cell.own("stats")[message] = stats
        return stats
