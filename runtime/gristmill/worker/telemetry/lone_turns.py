"""What a message costs whose receiver sleeps: the ping-pong of a worker's first lone messages.

A receiver that sleeps between messages has cold caches and pays for being woken. Batches make
messages rarer, so this is what their fixed cost becomes, and not what it was back to back.
"""

from __future__ import annotations

from typing import Final

from gristmill.metrics import Meter, TimeClass, histogram
from gristmill.worker.telemetry import counters

_CLASSES: Final = tuple(
    map(
        int,
        (
            TimeClass.POLL,
            TimeClass.RECV,
            TimeClass.DESER,
            TimeClass.DISPATCH,
            TimeClass.SER,
            TimeClass.SEND,
        ),
    )
)
_ENOUGH: Final = 256
"""Turns that are looked at in the life of a worker: it costs about a microsecond each."""


class LoneTurns:
    """Measures the turns between two sleeps in which one message was handled.

    Args:
        meter: of the worker; it has been switched when :meth:`wake` or :meth:`sleep` is called.
        counted: the delivery counters of the worker.
    """

    def __init__(self, meter: Meter, counted: counters.Cells) -> None:
        self._meter = meter
        self._counted = counted
        self._handled = 0
        self._spent = 0
        self._mixed = 0
        self._left = _ENOUGH
        self.hist = histogram.empty()
        """Coordination of such a turn, in ns."""

    def wake(self) -> None:
        """The worker has slept, and something has come."""
        if self._left:
            classes = self._meter.classes
            self._handled = self._counted[counters.HANDLED]
            self._spent = sum([classes[each] for each in _CLASSES])
            self._mixed = classes[-1]

    def sleep(self) -> None:
        """The worker has nothing to do."""
        if not self._left or self._counted[counters.HANDLED] != self._handled + 1:
            return
        classes = self._meter.classes
        if classes[-1] == self._mixed:  # everything was stamped
            self._left -= 1
            spent = sum([classes[each] for each in _CLASSES]) - self._spent
            self.hist[histogram.bucket(spent)] += 1
