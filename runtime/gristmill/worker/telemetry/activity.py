"""What a worker does now, in a mapped file that outlives it: who handles what, and its last lines.

The worker writes, the supervisor process reads, also while the worker computes and after a SIGKILL.
Times are perf_counter ns.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Final, NamedTuple, Self

from gristmill.death import Retried

ACTOR, MESSAGE, SINCE, WAITING, _NAMED, _PRINTED, RETRIED, SOURCE, NUMBER = range(9)
"""Cells: the actor whose code runs (0: none), the number of the message type in hand, since when it
has run, since when a limited handler awaits (0: none does), how much of both texts is written, and
which message is in hand if it is tried again when the worker dies: kind, sender and number."""
TOLD: Final = 1
"""The kind of an at-least-once message ..."""
ASKED: Final = 2
"""... and of an idempotent request; 0 for any other."""
START: Final = 1
"""The number that stands for the start of an actor ..."""
STARTING: Final = "the start"
"""... and what is shown in place of a message type."""

_CELL: Final = 8
_NAMES_AT: Final = 128
_NAMES: Final = 8192 - _NAMES_AT
_LINES_AT: Final = 8192
_LINES: Final = 4096
_SHOWN: Final = 10
"""Lines of output that are kept for people."""


class Sight(NamedTuple):
    """What was seen of a worker."""

    actor: int
    """The key of the actor whose code runs; 0 for none."""
    message: str
    """The type of the message in hand."""
    since_ns: int
    waiting_ns: int
    """Since when a handler with a time limit awaits something; 0 if none does."""
    lines: tuple[str, ...]
    """The last that it printed or logged."""
    retried: Retried | None = None
    """The message in hand, if it is tried again when the worker dies."""


class Activity:
    """One worker's activity; made by :meth:`create`, or without a file.

    Attributes:
        cells: what runs now; see :data:`ACTOR` and those beside it.
    """

    def __init__(self, mapped: mmap.mmap | None = None) -> None:
        self._map = mapped if mapped is not None else mmap.mmap(-1, _LINES_AT + _LINES)
        self.cells = memoryview(self._map)[:_NAMES_AT].cast("q")
        self._numbers: dict[str, int] = {}
        self.number(STARTING)

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make the file, readable by this user only.

        Raises:
            FileExistsError: there is a file of that name.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, _LINES_AT + _LINES)
            return cls(mmap.mmap(descriptor, _LINES_AT + _LINES))
        finally:
            os.close(descriptor)

    def number(self, message: str) -> int:
        """Give the number of a message type; 0 when there are too many to name."""
        number = self._numbers.get(message)
        if number is None:
            name, begin = f"{message}\n".encode(), self.cells[_NAMED]
            fits = begin + len(name) <= _NAMES
            number = self._numbers[message] = len(self._numbers) + 1 if fits else 0
            if fits:
                self._map[_NAMES_AT + begin : _NAMES_AT + begin + len(name)] = name
                self.cells[_NAMED] = begin + len(name)
        return number

    def keep(self, line: bytes) -> None:
        """Keep a line of output in place of the oldest ones."""
        line = line[-_LINES:]
        begin = self.cells[_PRINTED]
        first = line[: _LINES - begin % _LINES]
        place = _LINES_AT + begin % _LINES
        self._map[place : place + len(first)] = first
        self._map[_LINES_AT : _LINES_AT + len(line) - len(first)] = line[len(first) :]
        self.cells[_PRINTED] = begin + len(line)

    def sight(self) -> Sight:
        """Look at it from inside."""
        return _sight(self._map[:])


def read_activity(path: Path) -> Sight | None:
    """Look at a worker's activity; None if it has left no such file."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return _sight(data) if len(data) == _LINES_AT + _LINES else None


def _sight(data: bytes) -> Sight:
    cells = memoryview(data)[:_NAMES_AT].cast("q")
    names = data[_NAMES_AT : _NAMES_AT + cells[_NAMED]].decode(errors="replace").split("\n")
    number = cells[MESSAGE]
    message = names[number - 1] if 0 < number < len(names) else "a message"
    running = cells[ACTOR] or cells[WAITING]
    kind, retried = cells[RETRIED], None
    if cells[ACTOR] and kind:
        retried = Retried(kind == ASKED, cells[SOURCE], cells[NUMBER])
    return Sight(
        cells[ACTOR],
        message if running else "",
        cells[SINCE],
        cells[WAITING],
        _last_lines(data[_LINES_AT:], cells[_PRINTED]),
        retried,
    )


def _last_lines(ring: bytes, printed: int) -> tuple[str, ...]:
    cut = printed % _LINES
    text = ring[cut:] + ring[:cut] if printed > _LINES else ring[:printed]
    lines = text.decode(errors="replace").splitlines()
    whole = lines[1:] if printed > _LINES and len(lines) > 1 else lines
    return tuple(whole[-_SHOWN:])
