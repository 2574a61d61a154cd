"""The externals' own books: append-only files of charges, refunds and labels, as JSON lines.

A file outlives every process, as the books of a real gateway would, and is what the audit holds
our journal against. Any number of processes may share one: a look-up and the entry that follows
from it happen under one file lock, which the kernel drops when its holder is killed.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Self
from weakref import finalize

import msgspec

from gristmill.errors import GristmillError


class LedgerError(GristmillError):
    """A ledger file can't be opened, read or written. Nothing was recorded."""


class Charge(msgspec.Struct, frozen=True, tag_field="entry", tag="charge"):
    """A card was charged."""

    key: str
    order_id: str
    cents: int


class Refund(msgspec.Struct, frozen=True, tag_field="entry", tag="refund"):
    """A part of a charge, or all of it, was given back."""

    key: str
    charge_key: str
    order_id: str
    cents: int


class Label(msgspec.Struct, frozen=True, tag_field="entry", tag="label"):
    """A carrier made a label."""

    key: str
    order_id: str
    carrier: str
    service: str
    tracking_number: str
    cost_cents: int


LedgerEntry = Charge | Refund | Label

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[LedgerEntry] = msgspec.json.Decoder(LedgerEntry)


class _Lock:
    """A lock on a file. It is taken for every entry: a generator would cost more than the lock."""

    def __init__(self, fd: int, once_locked: Callable[[], None]) -> None:
        self._fd = fd
        self._once_locked = once_locked

    def __enter__(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            self._once_locked()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)


class Ledger:
    """A ledger file with an index in memory. Not safe from several threads.

    Args:
        path: the file; it and its folder are made if they don't exist.

    Raises:
        LedgerError: the file can't be opened.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(mode=0o700, exist_ok=True)
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._fd = os.open(self.path, flags, 0o600)
        except OSError as error:
            raise LedgerError(f"can't open the ledger {self.path}: {error.strerror}") from error
        self._close = finalize(self, os.close, self._fd)  # an actor that crashes closes nothing
        self._lock = _Lock(self._fd, self._repair)
        self._read_to = 0
        self._entries: dict[str, LedgerEntry] = {}
        self._refunded: dict[str, int] = {}

    def locked(self) -> AbstractContextManager[None]:
        """Keep all others out of a block, having read what they have written.

        Entering it raises LedgerError if the file has a line that is no entry.
        """
        return self._lock

    def _repair(self) -> None:
        # Whoever left a line half written was killed before it could answer for it.
        if self._catch_up():
            os.ftruncate(self._fd, self._read_to)

    def find(self, key: str) -> LedgerEntry | None:
        """Give the entry with this key, if there is one. Call it under ``locked``."""
        return self._entries.get(key)

    def look_up(self, key: str) -> LedgerEntry | None:
        """Give the entry with this key, as recorded so far. It needs no lock, and gives none.

        Raises:
            LedgerError: the file has a line that is no entry.
        """
        if key not in self._entries:
            self._catch_up()
        return self._entries.get(key)

    def refunded(self, charge_key: str) -> int:
        """Give the cents refunded of a charge so far. Call it under ``locked``."""
        return self._refunded.get(charge_key, 0)

    def append(self, entry: LedgerEntry) -> None:
        """Record an entry for good. Call it under ``locked``, and answer only afterwards.

        Raises:
            LedgerError: the disk is full, or the key is taken. Nothing was recorded.
        """
        if entry.key in self._entries:
            raise LedgerError(f"{self.path}: key {entry.key!r} is already recorded")
        line = _encoder.encode(entry) + b"\n"
        try:
            complete = os.write(self._fd, line) == len(line)
        except OSError as error:
            raise LedgerError(f"can't write to {self.path}: {error.strerror}") from error
        if not complete:
            os.ftruncate(self._fd, self._read_to)
            raise LedgerError(f"can't write to {self.path}: the disk is full")
        self._read_to += len(line)
        self._index(entry)

    def close(self) -> None:
        """Close the file; the ledger can't be used any more."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _index(self, entry: LedgerEntry) -> None:
        self._entries[entry.key] = entry
        if isinstance(entry, Refund):
            self._refunded[entry.charge_key] = self.refunded(entry.charge_key) + entry.cents

    def _catch_up(self) -> bool:
        """Read the whole lines that others have written; tell whether half a line follows them."""
        size = os.lseek(self._fd, 0, os.SEEK_END)  # far cheaper than all that fstat tells
        if size == self._read_to:
            return False
        data = _read(self._fd, self._read_to, size)
        whole, _, torn = data.rpartition(b"\n")
        for entry in _parse(whole, self.path):
            self._index(entry)
        self._read_to += len(data) - len(torn)
        return bool(torn)


def _read(fd: int, start: int, end: int) -> bytes:
    chunks = []
    while start < end and (chunk := os.pread(fd, end - start, start)):
        chunks.append(chunk)
        start += len(chunk)
    return b"".join(chunks)


def _parse(lines: bytes, path: Path) -> Iterator[LedgerEntry]:
    for line in lines.split(b"\n") if lines else ():
        try:
            yield _decoder.decode(line)
        except msgspec.MsgspecError as error:
            shown = line[:80].decode(errors="replace")
            raise LedgerError(f"{path}: {shown!r} is no ledger entry: {error}") from error


def read_ledger(path: str | Path) -> tuple[LedgerEntry, ...]:
    """Read all entries of a ledger file, for an audit. A half-written last line is left out.

    Raises:
        LedgerError: the file can't be read, or has a line that is no entry.
    """
    file = Path(path)
    try:
        whole, _, _ = file.read_bytes().rpartition(b"\n")
    except OSError as error:
        raise LedgerError(f"can't read the ledger {file}: {error.strerror}") from error
    return tuple(_parse(whole, file))


def read_ledgers(folder: str | Path) -> tuple[LedgerEntry, ...]:
    """Read all entries of all ledger files in a folder, for an audit.

    Raises:
        LedgerError: there is no such folder, or a file is no ledger.
    """
    if not Path(folder).is_dir():
        raise LedgerError(f"can't read the ledgers in {folder}: there is no such folder")
    files = sorted(Path(folder).glob("*.jsonl"))
    return tuple(entry for file in files for entry in read_ledger(file))
