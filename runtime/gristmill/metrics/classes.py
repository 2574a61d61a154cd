"""The time classes: what a thread can be doing. Exhaustive and exclusive.

Exactly one class is current at any moment, so the times of all classes add up to wall time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import Final


class TimeClass(IntEnum):
    """One thing that a thread spends time on.

    Hot paths use ``TimeClass.X.value``: a plain int indexes a list faster than an enum member.
    """

    IDLE = 0
    """Blocked, with no runnable message and no suspended handler."""
    ASK_WAIT = 1
    """Nothing runnable, and a handler is suspended in an ask."""
    IO_WAIT = 2
    """Nothing runnable, no ask open, and a handler is suspended in another await."""
    POLL = 3
    """Readiness checks, timers, bookkeeping of the loop."""
    RECV = 4
    """Reading bytes and framing."""
    DESER = 5
    """Decoding and validating."""
    DISPATCH = 6
    """Mailbox, lookup, routing, supervision."""
    SER = 7
    """Encoding."""
    SEND = 8
    """Writing bytes."""
    COMPUTE = 9
    """The user's handler code, and nothing else."""
    GC_USER = 10
    """Garbage collection that interrupted compute."""
    GC_COORD = 11
    """Garbage collection that interrupted anything else."""
    PROBE = 12
    """The cost of this accounting itself."""
    STARTUP = 13
    """From the start of the process until it is ready."""
    OTHER = 14
    """What matches nothing above."""


WAIT: Final = frozenset({TimeClass.IDLE, TimeClass.ASK_WAIT, TimeClass.IO_WAIT})
COORD: Final = frozenset(
    {
        TimeClass.POLL,
        TimeClass.RECV,
        TimeClass.DESER,
        TimeClass.DISPATCH,
        TimeClass.SER,
        TimeClass.SEND,
        TimeClass.GC_COORD,
        TimeClass.PROBE,
    }
)
USEFUL: Final = frozenset({TimeClass.COMPUTE})
BUSY: Final = USEFUL | COORD | {TimeClass.GC_USER}
OVERHEAD: Final = frozenset({TimeClass.STARTUP, TimeClass.OTHER})
COUNT: Final = len(TimeClass)
NAMES: Final = tuple(member.name.lower() for member in TimeClass)
"""The names in JSON, in the order of the classes."""


def total(classes: Sequence[int], which: Iterable[TimeClass]) -> int:
    """Give the time, in ns, that ``classes`` holds in the classes ``which``."""
    return sum(classes[member] for member in which)


def named(classes: Sequence[int]) -> dict[str, int]:
    """Give the times by name, as JSON has them."""
    return dict(zip(NAMES, classes, strict=True))


def unnamed(times: Mapping[str, int]) -> tuple[int, ...]:
    """Give the times in the order of the classes; a class that is not named holds none."""
    return tuple(times.get(name, 0) for name in NAMES)
