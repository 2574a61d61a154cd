"""The segments that a process owns: allocated in size classes, recycled while they are warm.

The first touch of shared memory is slow, so a free segment is kept and the one freed last is
taken first. Its pages are reserved when it is made: a full /dev/shm is an error then, never a
signal later.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections import defaultdict, deque
from pathlib import Path

from gristmill.transport.arrays import mapping
from gristmill.transport.arrays.mapping import Mapping, crowded
from gristmill.transport.arrays.wire import NoSharedMemoryError
from gristmill.transport.segment_directory import Process, SegmentId, remove_segments, segment_path

SMALLEST = max(64 * 1024, 4 * mmap.PAGESIZE)
"""The smallest size class in bytes."""


def size_class(nbytes: int) -> int:
    """Give the size of the segment for ``nbytes``: a power of two, or a quarter step between."""
    if nbytes <= SMALLEST:
        return SMALLEST
    step = 1 << (nbytes - 1).bit_length() - 3
    return -(-nbytes // step) * step


class OwnSegment:
    """One segment of this process; whoever has it out may write its shared mapping."""

    __slots__ = ("freed", "id", "mapping", "retired")

    def __init__(self, identity: SegmentId, mapping: Mapping) -> None:
        self.id = identity
        self.mapping = mapping
        self.retired = False
        """Whether it must not be recycled: a dead process may have passed it on."""
        self.freed = 0


class Segments:
    """Allocates, recycles and removes the segments of one process. One thread at a time.

    Args:
        directory: where their files go.
        owner: this process.
        limit: bytes of all segments together.
        keep: bytes of free segments that are kept; the one freed last is kept at any size.
    """

    def __init__(self, directory: Path, owner: Process, limit: int, keep: int) -> None:
        self._directory = directory
        self.owner = owner
        self._limit = limit
        self._keep = keep
        self._free: defaultdict[int, deque[OwnSegment]] = defaultdict(deque)
        self._closed = False
        self._made = 0
        self._freed = 0
        self.size = 0
        """Bytes of all segments."""
        self.free_size = 0
        """Bytes of those that are free."""

    def take(self, nbytes: int) -> OwnSegment:
        """Give a segment of at least ``nbytes``, a warm one if there is one.

        Raises:
            NoSharedMemoryError: a limit is reached, /dev/shm is full, or this is closed.
        """
        if self._closed:
            raise NoSharedMemoryError("this process's arrays are closed: the node ends")
        size = size_class(nbytes)
        free = self._free[size]
        if free:
            self.free_size -= size
            return free.pop()
        while (self.size + size > self._limit or crowded()) and self.free_size:
            self._remove_oldest()
        if crowded():
            raise NoSharedMemoryError(
                f"this process has as many arrays in shared memory, {mapping.MOST:,}, as half of "
                "vm.max_map_count; raise that, or keep fewer"
            )
        if self.size + size > self._limit:
            raise NoSharedMemoryError(
                f"{nbytes:,} bytes do not fit: {self.size:,} bytes of arrays are in use and the "
                f"limit is {self._limit:,}"
            )
        return self._make(size)

    def give_back(self, segment: OwnSegment) -> None:
        """Take in a segment that nobody holds any more."""
        if segment.retired or self._closed:
            self._forget(segment)
            return
        self._freed += 1
        segment.freed = self._freed
        self._free[segment.mapping.size].append(segment)
        self.free_size += segment.mapping.size
        while self.free_size > max(self._keep, segment.mapping.size):
            self._remove_oldest()

    def close(self) -> None:
        """Remove every file; arrays in them stay valid for those who have them."""
        self._closed = True
        self._free.clear()
        self.size -= self.free_size
        self.free_size = 0
        remove_segments(self._directory, self.owner)

    def _make(self, size: int) -> OwnSegment:
        while True:
            try:
                return self._reserve(size)
            except OSError as error:
                if not self.free_size:
                    raise NoSharedMemoryError(
                        f"no {size:,} bytes of shared memory for an array ({error.strerror})"
                    ) from None
            self._remove_oldest()

    def _reserve(self, size: int) -> OwnSegment:
        self._made += 1
        identity = SegmentId(self.owner, self._made)
        path = segment_path(self._directory, identity)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            os.ftruncate(descriptor, size)
            mapping = Mapping.of(descriptor, size, writable=True)
            mapping.populate(descriptor)
        except OSError:
            Path(path).unlink()
            raise
        finally:
            os.close(descriptor)
        self.size += size
        return OwnSegment(identity, mapping)

    def _remove_oldest(self) -> None:
        oldest = min((free for free in self._free.values() if free), key=lambda free: free[0].freed)
        segment = oldest.popleft()
        self.free_size -= segment.mapping.size
        with contextlib.suppress(OSError):  # its pages, where others still have it mapped
            os.truncate(segment_path(self._directory, segment.id), 0)
        self._forget(segment)

    def _forget(self, segment: OwnSegment) -> None:
        self.size -= segment.mapping.size
        Path(segment_path(self._directory, segment.id)).unlink(missing_ok=True)
