"""The meter: one current class and one timestamp for a thread.

Switching adds the time since the last stamp to the class that ends. So the classes add up to wall
time by construction, to the nanosecond.

Where messages are so short that the stamps would cost more than a part in a hundred, only one
message in so many is stamped (:class:`Sampling`). The time of the others is measured as a whole,
and split like that of the stamped ones.
"""

from __future__ import annotations

import gc
import operator
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from gristmill.metrics.classes import COUNT, TimeClass

Clock = Callable[[], int]

_COMPUTE: Final = TimeClass.COMPUTE.value
_DISPATCH: Final = TimeClass.DISPATCH.value
_STARTUP: Final = TimeClass.STARTUP.value
_MIXED: Final = COUNT
"""The place of the time that is still to be split."""
_GC_USER: Final = TimeClass.GC_USER.value
_GC_COORD: Final = TimeClass.GC_COORD.value
_PROBE: Final = TimeClass.PROBE.value
_OTHER: Final = TimeClass.OTHER.value
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


INTERRUPTION: Final = 25
"""Switches that cost as much as what is not measured of a stamped call, where others are not
stamped: it runs with cold caches, and so do those behind it.

By the CPU time of a worker whose messages compute for 50 or 150 us: 12 to 14 us more for each that
is stamped if one in 4 to 16 is, of which 8 to 10 are in ``PROBE``. A switch cost 0.17 us there.
"""


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
        probe_ns: what a switch costs; 0 where that is not measured.
    """

    __slots__ = ("_interrupted", "_thread", "classes", "clock", "current", "interruptions",
                 "last", "paused", "probe_ns", "shares", "start", "stood_still", "switch",
                 "transitions")  # fmt: skip

    def __init__(
        self,
        clock: Clock = time.perf_counter_ns,
        start_ns: int | None = None,
        probe_ns: int = 0,
    ) -> None:
        self.clock = clock
        self.probe_ns = probe_ns
        self.start = clock() if start_ns is None else start_ns
        self.last = self.start
        self.classes = [0] * (COUNT + 1)
        """The time of each class in ns, and behind them what is still to be split among them."""
        self.shares = [0] * COUNT
        """The time of stamped messages by class, while others are not stamped."""
        self.current = _STARTUP
        self.transitions = 0
        self.stood_still = 0
        """The part of ``OTHER``, in ns, in which the thread is known to have had no core."""
        self.interruptions = 0
        """Calls of handlers that were stamped while others were not."""
        self.switch: Callable[[int], int] = self.enter
        """:meth:`enter`, or nothing while messages go by that are not stamped."""
        self.paused = False
        self._interrupted = _STARTUP
        self._thread = 0

    def enter(self, state: int) -> int:
        """End the current class, begin ``state``, and give the class that ended."""
        now = self.clock()
        previous = self.current
        self.classes[previous] += now - self.last
        self.current = state
        self.last = now
        self.transitions += 1
        return previous

    def stands_still_until(self, now: int) -> None:
        """The thread has had no core since the last stamp: that belongs to nothing it does."""
        stood_still = now - self.last
        self.classes[_OTHER] += stood_still
        self.stood_still += stood_still
        self.last = now

    def pause(self) -> None:
        """From now on nothing is stamped, until :meth:`resume`."""
        self.enter(_MIXED)
        self.switch = operator.index  # which gives back the state that it is given
        self.paused = True

    def resume(self, state: int) -> None:
        """Begin ``state``, and stamp again."""
        self.enter(state)
        self.switch = self.enter
        self.paused = False

    @property
    def probes(self) -> int:
        """What the accounting has cost so far beside the time in ``PROBE``, in switches."""
        return self.transitions + INTERRUPTION * self.interruptions

    def read(self) -> tuple[int, ...]:
        """Give the time of every class in ns, the running one included; changes nothing."""
        classes = self.classes.copy()
        classes[self.current] += self.clock() - self.last
        return split(classes, self.shares)

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
            self.enter(self._interrupted)
        elif self.current == _STARTUP:
            self._interrupted = _STARTUP
        else:
            self._interrupted = self.enter(_GC_USER if self._computes() else _GC_COORD)

    def _computes(self) -> bool:
        if self.current == _MIXED:  # then what takes most of the time is most likely
            return 2 * self.shares[_COMPUTE] > sum(self.shares)
        return self.current == _COMPUTE


def split(classes: Sequence[int], shares: Sequence[int]) -> tuple[int, ...]:
    """Split the time of messages that were not stamped like that of those that were.

    Args:
        classes: the times as metered, the last of them to be split, in ns.
        shares: the times of stamped messages by class.

    Returns:
        The times of the classes; their sum is that of ``classes``.
    """
    mixed = classes[_MIXED]
    whole = list(classes[:_MIXED])
    total = sum(shares)
    if mixed and total:
        for place, share in enumerate(shares):
            whole[place] += mixed * share // total
    whole[_DISPATCH] += sum(classes) - sum(whole)
    return tuple(whole)


class Calibration(msgspec.Struct, frozen=True):
    """What measuring costs on this machine, in ns. None: not measured."""

    clock_ns: int | None = None
    """One reading of the clock."""
    probe_ns: int | None = None
    """One switch of the meter."""
    noop_bias_ns: int | None = None
    """Compute that is measured for an empty handler."""
    cold_fixed_ns: int | None = None
    """Coordination of a small message whose receiver has slept: measured on lone messages."""
    warm_fixed_ns: int | None = None
    """Fixed coordination of a message whose receiver is awake."""


def calibrate(clock: Clock = time.perf_counter_ns) -> Calibration:
    """Measure the clock and the probe; takes about 2 ms.

    Each is timed in ten rounds of 200, and the fastest round counts: noise only ever adds.
    """
    meter = Meter(clock)
    return Calibration(
        clock_ns=_fastest(clock, clock), probe_ns=_fastest(clock, partial(meter.enter, _COMPUTE))
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
