"""The arrays of one process in shared memory: made, sent, received, passed on and given back."""

from __future__ import annotations

import contextlib
import errno
import math
import operator
import os
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, SupportsIndex

from gristmill.transport.arrays.holds import Draft, Dropped, Hold, Loans
from gristmill.transport.arrays.mapping import Mapping, Unmapped, crowded
from gristmill.transport.arrays.segments import Segments
from gristmill.transport.arrays.wire import (
    ArrayGoneError,
    Handle,
    Layout,
    NoSharedMemoryError,
    Release,
)
from gristmill.transport.segment_directory import Process, SegmentId, segment_path

if TYPE_CHECKING:
    import numpy.typing as npt

    from gristmill.transport.arrays.layout import Array

THRESHOLD = 64 * 1024
"""Bytes from which shared memory beats copying an array into its message."""
IN_PLACE = 256 * 1024
"""Bytes from which handing a segment over beats copying an array into one."""
LIMIT = 4 << 30
"""Bytes of all segments of a process, in use or kept."""
KEEP = 256 << 20
"""Bytes of free segments that a process keeps, and of others' segments that it keeps mapped."""


class SharedArray:
    """An array in shared memory that keeps its segment, whether anybody looks at it or not."""

    __slots__ = ("hold", "layout")

    def __init__(self, hold: Hold, layout: Layout) -> None:
        self.hold = hold
        self.layout = layout

    def array(self) -> Array:
        """Give the array. It can't be written, nor be made writable.

        Raises:
            ArrayGoneError: it was not mapped, and its owner has ended.
            DecodeError: its layout does not fit its memory.
        """
        from gristmill.transport.arrays.layout import memory_of, view, wrap

        mapping = self.hold.mapping
        if isinstance(mapping, Mapping):
            return view(memory_of(self.hold), self.layout)
        try:
            return view(wrap(mapping.read()), self.layout)
        except OSError as error:
            raise ArrayGoneError(_gone(self.hold.segment, "", error)) from None


def _lengths(shape: SupportsIndex | Sequence[SupportsIndex]) -> list[int]:
    """Give what numpy takes for a shape as Python's integers, which don't overflow."""
    lengths = [shape] if isinstance(shape, SupportsIndex) else shape
    return list(map(operator.index, lengths))


def _open(path: str, size: int) -> Mapping | Unmapped:
    """Open another process's segment.

    Raises:
        OSError: it is gone, or is another one.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if not 0 < size <= os.fstat(descriptor).st_size:
            raise FileNotFoundError(errno.ENOENT, "its segment is shorter than its handle says")
        if not crowded():
            with contextlib.suppress(OSError):  # others' mappings are too many
                return Mapping.of(descriptor, size, writable=False)
        return Unmapped(path, size)
    finally:
        os.close(descriptor)


def _gone(segment: SegmentId, sent: str, error: OSError) -> str:
    why = ": one of them has ended" if isinstance(error, FileNotFoundError) else ""
    return (
        f"an array of process {segment.owner.address}{sent} can't be opened ({error.strerror}){why}"
    )


class ArrayPool:
    """One process's arrays in shared memory. Safe from any thread.

    The sender exports an array, and lends it to each process that a message with it goes to. The
    receiver accepts the handle when the message arrives, and asks for the array when it decodes
    the body. When the last view of it is gone a release is due; the caller sends releases.

    Args:
        directory: the run's segments, made by ``make_segment_directory``.
        process: this process.
        limit: bytes of all segments of this process together.
        keep: bytes of free segments to keep, and of unused mappings of others' segments.
    """

    def __init__(
        self, directory: Path, process: Process, *, limit: int = LIMIT, keep: int = KEEP
    ) -> None:
        self._directory = directory
        self._process = process
        self._keep = keep
        self._lock = threading.Lock()
        self._segments = Segments(directory, process, limit, keep)
        self._loans = Loans()
        self._mapped: OrderedDict[SegmentId, Mapping] = OrderedDict()
        self._mapped_size = 0
        self._gone: set[Process] = set()
        self._dropped: deque[Dropped] = deque()
        self._due: Counter[tuple[Process, SegmentId, bool]] = Counter()
        self._held = 0

    def identify(self, process: Process) -> None:
        """Take the address that was given to this process, before it makes or accepts anything."""
        self._process = self._segments.owner = process

    # --- making and sending ---

    def empty(
        self,
        shape: SupportsIndex | Sequence[SupportsIndex],
        dtype: npt.DTypeLike = float,
        order: Literal["C", "F"] = "C",
    ) -> Array:
        """Give a writable array, uninitialised, whose first sending copies nothing.

        What is sent is what was written before. It can be written afterwards, too: nobody else
        sees that, and the kernel copies the pages that are written; from then on it is an
        ordinary array, which sending copies. An array below
        :data:`IN_PLACE`, or one for which there is no room, is an ordinary one.

        Raises:
            UsageError: arrays of this dtype can't travel.
        """
        import numpy as np

        from gristmill.transport.arrays.layout import describe, memory_of

        kind = np.dtype(dtype)
        describe(kind.base)
        nbytes = math.prod(_lengths(shape)) * kind.itemsize
        if nbytes < IN_PLACE:
            return np.empty(shape, kind, order)
        try:
            memory = memory_of(self._allocate(nbytes))
        except NoSharedMemoryError:
            return np.empty(shape, kind, order)
        return np.ndarray(shape, kind, memory, order=order)

    def export(self, array: Array) -> SharedArray:
        """Put an array into shared memory, unless it is there already.

        Nothing is copied of an array that came from another process, nor at the first export of
        one made by :meth:`empty`. Any other is copied, without gaps, in its own order.

        Raises:
            NoSharedMemoryError: there is no room for a copy; send it in band.
            UsageError: arrays of this dtype can't travel.
        """
        from gristmill.transport.arrays.layout import lay_out, root_of

        root = root_of(array)
        mapping = None if root is None else root.mapping
        if root is not None and root.kept_for(self._dropped) and isinstance(mapping, Mapping):
            layout = lay_out(array, mapping.address)
            if isinstance(root, Hold) and self._can_be_opened(root.segment):
                return SharedArray(root, layout)
            if isinstance(root, Draft) and self._hand_over(root):
                return SharedArray(root.hold, layout)
        return self._copy(array)

    def _can_be_opened(self, segment: SegmentId) -> bool:
        return segment.owner not in self._gone and os.path.exists(self._path(segment))  # noqa: PTH110 - quicker

    def lend(self, shared: SharedArray, to: int) -> Handle:
        """Count a hold of the process that a handle is about to be sent to, and give the handle.

        No :meth:`peer_down` of that process may come between this and the sending.

        Args:
            shared: what :meth:`export` or :meth:`accept` gave.
            to: the address of the process; one that has not stopped for good.
        """
        hold = shared.hold
        with self._lock:
            self._loans.lend(hold, to)
        return Handle(hold.segment, hold.mapping.size, self._process, shared.layout)

    def _copy(self, array: Array) -> SharedArray:
        from gristmill.transport.arrays.layout import copy_into, describe, lay_out, memory_of

        describe(array.dtype)  # refuse before anything is allocated
        draft = self._allocate(array.nbytes)
        copy = copy_into(memory_of(draft), array)
        return SharedArray(draft.hold, lay_out(copy, draft.mapping.address))

    def _hand_over(self, draft: Draft) -> bool:
        """Hand a draft over to those who will hold it; give whether that could be done."""
        with self._lock:
            if draft.sent:
                return False
            try:
                descriptor = os.open(self._path(draft.segment.id), os.O_RDWR | os.O_CLOEXEC)
                try:
                    draft.hand_over(descriptor)
                finally:
                    os.close(descriptor)
            except OSError:  # a kernel that can't
                return False
            return True

    def _allocate(self, nbytes: int) -> Draft:
        with self._lock:
            self._collect()
            return Draft(self._segments.take(nbytes), self._dropped)

    # --- receiving ---

    def accept(self, handle: Handle) -> SharedArray:
        """Take hold of an array when the message with its handle arrives.

        Raises:
            ArrayGoneError: its owner has ended, or whoever lent it. The lender is told.
        """
        with self._lock:
            mapping: Mapping | Unmapped | None = self._mapped.get(handle.segment)
            if mapping is None:
                mapping = self._map(handle)
            else:
                self._mapped.move_to_end(handle.segment)
            hold = Hold(handle.segment, mapping, handle.lender, self._dropped)
            self._held += 1
        return SharedArray(hold, handle.layout)

    def _map(self, handle: Handle) -> Mapping | Unmapped:
        try:
            mapping = _open(self._path(handle.segment), handle.size)
        except OSError as error:
            self._due[handle.lender, handle.segment, False] += 1
            sent = f", sent by process {handle.lender.address},"
            raise ArrayGoneError(_gone(handle.segment, sent, error)) from None
        if isinstance(mapping, Unmapped):
            return mapping
        self._mapped[handle.segment] = mapping
        self._mapped_size += mapping.size
        while self._mapped_size > self._keep and len(self._mapped) > 1:
            _, oldest = self._mapped.popitem(last=False)
            self._mapped_size -= oldest.size
        return mapping

    def _path(self, segment: SegmentId) -> str:
        return segment_path(self._directory, segment)

    # --- giving back ---

    @property
    def release_due(self) -> bool:
        """Whether :meth:`take_releases` may have something to give."""
        return bool(self._dropped or self._due)

    @property
    def holding(self) -> bool:
        """Whether this process holds arrays that others lent it."""
        return self._held > 0

    def take_releases(self) -> dict[int, list[Release]]:
        """Give what must be sent, by address, once: the holds that went since the last call."""
        with self._lock:
            self._collect()
            due, self._due = self._due, Counter()
        releases: dict[int, list[Release]] = {}
        for (lender, segment, lost), count in due.items():
            if lender not in self._gone:
                release = Release(segment, lender, count, lost)
                releases.setdefault(lender.address, []).append(release)
        return releases

    def on_releases(self, source: Process, releases: Iterable[Release]) -> None:
        """Take in what another process gives back.

        What a dead process gave back comes too late, and what an earlier incarnation of this one
        had lent is none of its business.
        """
        with self._lock:
            if source in self._gone:
                return
            for release in releases:
                if release.lender == self._process:
                    self._loans.give_back(release, source.address)
            self._collect()

    def peer_down(self, process: Process) -> None:
        """A process has died. What it held is never recycled: it may have passed it on.

        Arrays of its own stay valid where they are; to pass one on copies it.
        """
        with self._lock:
            self._gone.add(process)
            self._loans.borrower_down(process.address)
            for segment in [each for each in self._mapped if each.owner == process]:
                self._mapped_size -= self._mapped.pop(segment).size
            self._collect()

    def _collect(self) -> None:
        """Take in the holds that went."""
        while self._dropped:
            segment, lender, lost = self._dropped.popleft()
            if isinstance(lender, Process):
                self._held -= 1
                self._due[lender, segment, lost] += 1
            else:
                lender.retired |= lost
                self._segments.give_back(lender)

    # --- the whole ---

    @property
    def size(self) -> int:
        """Bytes of all segments of this process, in use or kept."""
        return self._segments.size

    @property
    def lent(self) -> int:
        """How many segments other processes hold through this one."""
        return len(self._loans)

    def close(self) -> None:
        """Remove this process's segments; arrays that others have stay valid."""
        with self._lock:
            self._mapped.clear()
            self._mapped_size = 0
            self._segments.close()
