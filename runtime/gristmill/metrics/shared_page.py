"""A page of counters in a mapped file that outlives the process that writes it.

The worker writes, the supervisor reads, also after a SIGKILL. The times are one picture, written
as a whole into the older of two blocks that take turns: a process killed while it writes leaves
the block before. The delivery counters are single cells, each exact on its own.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from gristmill.errors import GristmillError, UsageError
from gristmill.metrics.classes import NAMES

FIELDS: Final = (
    *NAMES,
    "current",
    "last",
    "start",
    "transitions",
    "probe_ns",
    "stood_still",
    "cpu_ns",
    "messages",
)
"""What :meth:`CounterPage.write` takes, in this order: the times of the classes, the meter's
attributes, the cost of all probes, time without a core, CPU time and messages handled."""

_MAGIC: Final = int.from_bytes(b"GRISTPG2", "little")
_CELL: Final = 8
_HEADER: Final = 4  # cells: magic, number of counters, bytes of their names, blocks written
_SEQUENCE: Final = 3
_BLOCK: Final = len(FIELDS)
_COUNTERS: Final = _HEADER + 2 * _BLOCK
_PACK: Final = struct.Struct(f"={_BLOCK}q").pack_into


class CounterPageError(GristmillError):
    """A file is no counter page, or not one of this version."""


class CounterPage:
    """One process's counters in a file; made by :meth:`create` or :meth:`open`.

    Attributes:
        names: the delivery counters, in the order of ``counters``.
        counters: one writable int64 cell a counter: ``page.counters[i] = n`` is seen at once,
            and is never torn.
    """

    __slots__ = ("_cells", "_map", "counters", "names")

    def __init__(self, mapped: mmap.mmap, names: tuple[str, ...]) -> None:
        self._map = mapped
        self._cells = memoryview(mapped)[: _CELL * (_COUNTERS + len(names))].cast("q")
        self.names = names
        self.counters = self._cells[_COUNTERS:]

    @classmethod
    def create(cls, path: str | os.PathLike[str], names: Sequence[str]) -> CounterPage:
        """Make the file, readable by this user only, with everything at zero.

        Raises:
            FileExistsError: there is a file of that name.
            UsageError: a counter's name is used twice, or is empty, or holds a newline.
        """
        names = tuple(names)
        known = [*FIELDS, *names]
        if len(set(known)) != len(known) or any(not n or "\n" in n for n in names):
            raise UsageError(
                f"counter names {names!r} must be unique, not empty, without newlines, and none "
                f"of the fields that every page has ({', '.join(FIELDS)})"
            )
        text = "\n".join(names).encode()
        begin = _CELL * (_COUNTERS + len(names))
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, begin + len(text))
            mapped = mmap.mmap(descriptor, begin + len(text))
        finally:
            os.close(descriptor)
        mapped[begin:] = text
        page = cls(mapped, names)
        page._cells[1:3] = memoryview(struct.pack("=2q", len(names), len(text))).cast("q")
        page._cells[0] = _MAGIC  # last, so that a page is whole or none
        return page

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> CounterPage:
        """Map the page of another process, read-only.

        Raises:
            FileNotFoundError: there is no such file.
            CounterPageError: the file is no counter page.
        """
        with Path(path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            header = file.read(_CELL * _SEQUENCE)
            if len(header) == _CELL * _SEQUENCE:
                magic, count, length = struct.unpack("=3q", header)
                begin = _CELL * (_COUNTERS + count)
                if magic == _MAGIC and size == begin + length:
                    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                    text = mapped[begin:].decode()
                    return cls(mapped, tuple(text.split("\n")) if count else ())
        raise CounterPageError(
            f"{os.fspath(path)} is no counter page of this version of gristmill; "
            "it was left by another version, or its worker died while it made it"
        )

    def write(self, values: Sequence[int]) -> None:
        """Publish the times, one value for each of ``FIELDS``; only on a page made here."""
        sequence = self._cells[_SEQUENCE] + 1
        _PACK(self._map, _CELL * (_HEADER + _BLOCK * (sequence & 1)), *values)
        self._cells[_SEQUENCE] = sequence

    def read(self) -> dict[str, int]:
        """Give what was last published, by name: ``FIELDS`` and the counters.

        Exact for a process that is dead. For a living one the values may be of two writes.
        """
        begin = _HEADER + _BLOCK * (self._cells[_SEQUENCE] & 1)
        times = self._cells[begin : begin + _BLOCK].tolist()
        return dict(zip((*FIELDS, *self.names), times + self.counters.tolist(), strict=True))

    def close(self) -> None:
        """Unmap the page; the file stays."""
        self.counters.release()
        self._cells.release()
        self._map.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
