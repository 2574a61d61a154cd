"""The meter: one current class and one timestamp for a thread.

Switching adds the time since the last stamp to the class that ends. So the classes add up to wall
time by construction, to the nanosecond.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from gristmill.metrics.classes import COUNT, TimeClass

Clock = Callable[[], int]

_COMPUTE: Final = TimeClass.COMPUTE.value
_STARTUP: Final = TimeClass.STARTUP.value
_GC_USER: Final = TimeClass.GC_USER.value
_GC_COORD: Final = TimeClass.GC_COORD.value
_PROBE: Final = TimeClass.PROBE.value
_ROUNDS: Final = 10
_PROBES: Final = 200
_CYCLE: Final = (
    TimeClass.COMPUTE,
    TimeClass.DISPATCH,
    TimeClass.DESER,
    TimeClass.SER,
    TimeClass.RECV,
    TimeClass.SEND,
    TimeClass.POLL,
)


class Meter:
    """Accounts for the time of one thread; starts in ``STARTUP``.

    A hot loop may write out :meth:`switch` in place, on these attributes::

        t = clock(); m.classes[m.current] += t - m.last; m.current = s; m.last = t

    and add its switches to ``transitions`` once a message. The attributes must stay current
    (no local copies), because the garbage collector's hook reads and writes them too.

    Args:
        clock: gives monotonic time in ns.
        start_ns: when the accounting begins, on the same clock; now if None. The process that
            started this one may have taken it, so that ``STARTUP`` holds the whole boot.
    """

    __slots__ = ("_interrupted", "_thread", "classes", "clock", "current", "last", "start",
                 "transitions")  # fmt: skip

    def __init__(self, clock: Clock = time.perf_counter_ns, start_ns: int | None = None) -> None:
        self.clock = clock
        self.start = clock() if start_ns is None else start_ns
        self.last = self.start
        self.classes = [0] * COUNT
        self.current = _STARTUP
        self.transitions = 0
        self._interrupted = _STARTUP
        self._thread = 0

    def switch(self, state: int) -> int:
        """End the current class, begin ``state``, and give the class that ended."""
        now = self.clock()
        previous = self.current
        self.classes[previous] += now - self.last
        self.current = state
        self.last = now
        self.transitions += 1
        return previous

    def read(self) -> tuple[int, ...]:
        """Give the time of every class in ns, the running one included; changes nothing."""
        classes = self.classes.copy()
        classes[self.current] += self.clock() - self.last
        return tuple(classes)

    def install_gc(self) -> None:
        """Account for the garbage collections of the calling thread as classes of their own."""
        self._thread = threading.get_ident()
        self._interrupted = self.current
        if self._on_gc not in gc.callbacks:
            gc.callbacks.append(self._on_gc)

    def remove_gc(self) -> None:
        """Undo :meth:`install_gc`; does nothing if it is not installed."""
        if self._on_gc in gc.callbacks:
            gc.callbacks.remove(self._on_gc)

    def _on_gc(self, phase: str, _info: Mapping[str, Any]) -> None:
        # Collections run in whichever thread allocates; only the metered one has a state here.
        if threading.get_ident() != self._thread:
            return
        if phase == "stop":
            self.switch(self._interrupted)
        elif self.current == _STARTUP:
            self._interrupted = _STARTUP
        else:
            self._interrupted = self.switch(_GC_USER if self.current == _COMPUTE else _GC_COORD)


class Calibration(msgspec.Struct, frozen=True):
    """What measuring costs on this machine, in ns. None: not measured."""

    clock_ns: int | None = None
    """One reading of the clock."""
    probe_ns: int | None = None
    """One switch of the meter."""
    noop_bias_ns: int | None = None
    """Compute that is measured for an empty handler."""
    cold_fixed_ns: int | None = None
    """Fixed coordination of a message whose receiver sleeps."""
    warm_fixed_ns: int | None = None
    """Fixed coordination of a message whose receiver is awake."""


def calibrate(clock: Clock = time.perf_counter_ns) -> Calibration:
    """Measure the clock and the probe; takes about 2 ms.

    Each is timed in ten rounds of 200, and the fastest round counts: noise only ever adds.
    """
    meter = Meter(clock)
    return Calibration(
        clock_ns=_fastest(clock, clock), probe_ns=_fastest(clock, partial(meter.switch, _COMPUTE))
    )


def _fastest(clock: Clock, probe: Callable[[], object]) -> int:
    return min(_round(clock, probe) for _ in range(_ROUNDS)) // _PROBES


def _round(clock: Clock, probe: Callable[[], object]) -> int:
    begin = clock()
    for _ in range(_PROBES):
        probe()
    return clock() - begin


def move_probes(classes: Sequence[int], probe_ns: int) -> tuple[int, ...]:
    """Move the cost of the probes into ``PROBE``; the sum stays what it was.

    A message passes each class of its cycle about once, so each class that holds time gives an
    equal share, and at most what it has.

    Args:
        classes: the times as metered, in ns.
        probe_ns: cost of all probes in them, in ns.
    """
    moved = list(classes)
    rest = probe_ns
    givers = sorted((c for c in _CYCLE if moved[c] > 0), key=lambda c: moved[c])
    for position, giver in enumerate(givers):
        share = min(moved[giver], rest // (len(givers) - position))
        moved[giver] -= share
        rest -= share
    moved[_PROBE] += probe_ns - rest
    return tuple(moved)
