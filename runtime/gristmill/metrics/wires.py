"""Wires: how many messages a process has exchanged with each incarnation of each other process.

Both ends count, in a mapped file that outlives them: what was sent and not received when one of
them has died was lost between them. Frames are numbered too, so a receiver also sees at once when
one is missing.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
from pathlib import Path
from typing import Any, Final, NamedTuple

_HEADER: Final = 2
"""Cells before the rows: the magic, and how many rows there are."""
_MAGIC: Final = int.from_bytes(b"GRISTWR1", "little")
_ROW: Final = 5
_SENT, _RECEIVED, _MISSING = 2, 3, 4
_ROWS: Final = 4096
"""The file is sparse. What does not fit shares the last row, which stands for nobody."""
_CELLS: Final = _HEADER + _ROWS * _ROW


class Wire(NamedTuple):
    """What was exchanged with one incarnation of a process, in messages."""

    address: int
    incarnation: int
    sent: int
    received: int
    missing: int
    """How many of those sent here never came, as the numbers of later frames show."""


class Wires:
    """One process's counts, in a file if it is given one."""

    def __init__(self, path: Path | None = None) -> None:
        self._cells: Any = _create(path) if path is not None else [0] * _HEADER
        self._fixed = path is not None
        self._rows: dict[tuple[int, int], int] = {}
        self._adding = threading.Lock()

    def sent(self, address: int, incarnation: int, messages: int) -> None:
        """Messages leave for a process. Called before they do."""
        peer = (address, incarnation)
        row = self._rows.get(peer) or self._add(peer)
        self._cells[row + _SENT] += messages

    def received(self, address: int, incarnation: int, before: int, messages: int) -> None:
        """Messages have come.

        Args:
            address: of their sender.
            incarnation: its incarnation.
            before: how many it has sent here before them.
            messages: how many have come.
        """
        peer = (address, incarnation)
        cells, row = self._cells, self._rows.get(peer) or self._add(peer)
        missing = before - cells[row + _RECEIVED] - cells[row + _MISSING]
        if missing > 0:
            cells[row + _MISSING] += missing
        cells[row + _RECEIVED] += messages

    def close(self) -> None:
        """Let go of the file; what is counted from now on nobody else sees."""
        self._cells, self._fixed = list(self._cells), False

    def read(self) -> tuple[Wire, ...]:
        """Give all counts."""
        return _rows_of(list(self._cells))

    def _add(self, peer: tuple[int, int]) -> int:
        with self._adding:
            row = self._rows.get(peer)
            if row is not None:
                return row
            cells, count = self._cells, len(self._rows)
            full = self._fixed and count >= _ROWS - 1
            row = _HEADER + (_ROWS - 1 if full else count) * _ROW
            if not self._fixed:
                cells.extend([0] * _ROW)
            cells[row], cells[row + 1] = (0, 0) if full else peer
            cells[1] = min(count + 1, _ROWS)  # last, so that a row is whole or none
            self._rows[peer] = row
            return row


def read_wires(path: Path) -> tuple[Wire, ...]:
    """Read what a process has counted; nothing if it has left no such file."""
    try:
        with path.open("rb") as file:
            magic, count = struct.unpack("=2q", file.read(8 * _HEADER))
            data = file.read(8 * _ROW * count)
    except (OSError, struct.error):
        return ()
    return _rows_of([magic, count, *memoryview(data).cast("q")]) if magic == _MAGIC else ()


def _create(path: Path) -> memoryview[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(descriptor, 8 * _CELLS)
        cells = memoryview(mmap.mmap(descriptor, 8 * _CELLS)).cast("q")
    finally:
        os.close(descriptor)
    cells[0] = _MAGIC
    return cells


def _rows_of(cells: list[int]) -> tuple[Wire, ...]:
    rows = range(_HEADER, _HEADER + _ROW * cells[1], _ROW)
    return tuple(Wire(*cells[row : row + _ROW]) for row in rows)
