"""Mapped memory: the few system calls that Python's ``mmap`` does not offer."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Self

_NONE, _READ, _READ_WRITE = 0, 1, 3
_SHARED, _PRIVATE, _FIXED, _ANONYMOUS = 0x1, 0x2, 0x10, 0x20
_HUGE_PAGES, _POPULATE_WRITE = 14, 23
_MOVE, _MOVE_TO, _LEAVE_MAPPED = 1, 2, 4
_FAILED = ctypes.c_void_p(-1).value
_ALIGNMENT = 2 << 20
"""A huge page, and what one page of page-table entries covers: mappings move in such pieces."""


def _bound() -> int:
    """Give half of the mappings that the system lets a process have; others need some, too."""
    try:
        return int(Path("/proc/sys/vm/max_map_count").read_text()) // 2
    except (OSError, ValueError):
        return 1 << 15


MOST = _bound()
"""Mappings of arrays in one process at most."""
_live: set[int] = set()
"""The addresses of all mappings; a set, because it changes in finalisers, in any thread."""

_libc = ctypes.CDLL(None, use_errno=True)
_mmap, _munmap = _libc.mmap, _libc.munmap
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_madvise = _libc.madvise
_madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
if sys.platform == "linux":
    _mremap = _libc.mremap
    _mremap.restype = ctypes.c_void_p
    _mremap.argtypes = [ctypes.c_void_p, *[ctypes.c_size_t] * 2, ctypes.c_int, ctypes.c_void_p]


class Mapping:
    """A file's memory, mapped for as long as anything refers to this object."""

    __slots__ = ("address", "size")

    def __init__(self, address: int, size: int) -> None:
        self.address = address
        self.size = size
        _live.add(address)

    @classmethod
    def of(cls, descriptor: int, size: int, *, writable: bool) -> Self:
        """Map a file of ``size`` bytes, shared with every process that maps it.

        Raises:
            OSError: it can't be mapped.
        """
        if sys.platform != "linux":
            raise OSError(errno.ENOSYS, "arrays are shared on Linux only")
        mapping = cls(_reserve(size), size)
        access = _READ_WRITE if writable else _READ
        _checked(_mmap(mapping.address, size, access, _SHARED | _FIXED, descriptor, 0))
        return mapping

    def populate(self, descriptor: int) -> None:
        """Take all pages of a new file, huge ones where the system gives such to who asks for them.

        A file that is full of holes would fail later, by a signal, where there is no room.

        Args:
            descriptor: the mapped file, which is as long as the mapping.

        Raises:
            OSError: there is no room for them.
        """
        if not self.size % _ALIGNMENT:
            _madvise(self.address, self.size, _HUGE_PAGES)  # nothing is lost if it refuses
        if not _madvise(self.address, self.size, _POPULATE_WRITE):
            return
        number = ctypes.get_errno()
        if number == errno.EINVAL:  # before Linux 5.14
            os.posix_fallocate(descriptor, 0, self.size)
        elif number == errno.EFAULT:  # what a write would get as a signal
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        else:
            _checked(None)

    def move_away(self, descriptor: int) -> Mapping:
        """Move the shared memory to another address, and leave a private copy of it here.

        The copy is made by the kernel, page by page, when something writes here; until then the
        file must not change. Both addresses can be read at any moment.

        Args:
            descriptor: the mapped file.

        Raises:
            OSError: the kernel can't do it (before Linux 5.13). Nothing has changed.
        """
        moved = Mapping(_reserve(self.size), self.size)
        how = _MOVE | _MOVE_TO | _LEAVE_MAPPED
        _checked(_mremap(self.address, self.size, self.size, how, moved.address))
        flags = _PRIVATE | _FIXED
        _checked(_mmap(self.address, self.size, _READ_WRITE, flags, descriptor, 0))
        return moved

    def __del__(
        self,
        forget: Callable[[int], None] = _live.discard,
        munmap: ctypes._NamedFuncPointer = _munmap,
    ) -> None:
        forget(self.address)  # first: then the address may be given to another one
        munmap(self.address, self.size)


class Unmapped:
    """A file's memory that is read when it is wanted, because no more can be mapped."""

    __slots__ = ("_path", "size")

    def __init__(self, path: str, size: int) -> None:
        self._path = path
        self.size = size

    def read(self) -> bytes:
        """Give a copy of the file's bytes.

        Raises:
            OSError: it is gone.
        """
        content = Path(self._path).read_bytes()
        if len(content) < self.size:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return content


def crowded() -> bool:
    """Tell whether this process has as many mappings as it may have for arrays."""
    return len(_live) >= MOST


def _reserve(size: int) -> int:
    """Give the address of ``size`` bytes in which nothing is mapped, aligned from one piece on.

    Raises:
        OSError: the process has too many mappings.
    """
    start = _free_address(size)
    if size < _ALIGNMENT or not start % _ALIGNMENT:  # Linux aligns whole pieces itself since 6.7
        return start
    _unmap(start, size)
    return _cut_out(size)


def _cut_out(size: int) -> int:
    """Reserve more than ``size`` bytes, and keep those that are aligned."""
    start = _free_address(size + _ALIGNMENT)
    aligned, end = start + -start % _ALIGNMENT, start + size + _ALIGNMENT
    try:
        _unmap(aligned + size, end - aligned - size)
        end = aligned + size
        if start < aligned:
            _unmap(start, aligned - start)
    except OSError:
        _munmap(start, end - start)
        raise
    return aligned


def _free_address(size: int) -> int:
    return _checked(_mmap(None, size, _NONE, _PRIVATE | _ANONYMOUS, -1, 0))


def _unmap(address: int, size: int) -> None:
    if _munmap(address, size):
        _checked(None)


def _checked(address: int | None) -> int:
    if address is None or address == _FAILED:
        number = ctypes.get_errno()
        text = os.strerror(number)
        if number == errno.ENOMEM:
            text += ": too many mappings in this process (vm.max_map_count), or no memory"
        raise OSError(number, text)
    return address
