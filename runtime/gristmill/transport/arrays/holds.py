"""Holds: what keeps a segment, in this process and for others.

An array over shared memory has a hold at the end of its ``base`` chain. So every view of it,
slice or buffer keeps the hold, which says so when it goes. Finalisers run in any thread and in the
middle of anything: they append to a deque and do nothing else.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import Any, NamedTuple

from gristmill.transport.arrays.mapping import Mapping, Unmapped
from gristmill.transport.arrays.segments import OwnSegment
from gristmill.transport.arrays.wire import Release
from gristmill.transport.segment_directory import Process, SegmentId


class Dropped(NamedTuple):
    """A hold that is gone."""

    segment: SegmentId
    lender: OwnSegment | Process
    lost: bool


class Hold:
    """Keeps a segment for as long as anything refers to it.

    numpy reads its memory through ``__array_interface__``, read-only. It exports no buffer, so
    nothing that is made from it can be made writable.

    Args:
        segment: what it keeps.
        mapping: where that can be read; whoever has no more mappings reads the file.
        lender: whom to tell that it is gone: a process, or this process's own segment.
        dropped: where the finaliser says so.
    """

    __slots__ = ("_dropped", "lender", "lost", "mapping", "segment")

    def __init__(
        self,
        segment: SegmentId,
        mapping: Mapping | Unmapped,
        lender: OwnSegment | Process,
        dropped: deque[Dropped],
    ) -> None:
        self.segment = segment
        self.mapping = mapping
        self.lender = lender
        self.lost = False
        """Whether it was passed on to a process that died."""
        self._dropped = dropped

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """The segment's bytes for numpy, read-only, if they are mapped."""
        assert isinstance(self.mapping, Mapping)
        return _interface(self.mapping, readonly=True)

    def kept_for(self, dropped: deque[Dropped]) -> bool:
        """Tell whether it belongs to the pool with this deque."""
        return self._dropped is dropped

    def __del__(self) -> None:
        self._dropped.append(Dropped(self.segment, self.lender, self.lost))


class Draft:
    """Memory of a segment that its producer still writes.

    Args:
        segment: a segment of this process that nobody holds.
        dropped: where its hold says that it is gone.
    """

    __slots__ = ("hold", "mapping", "segment", "sent")

    def __init__(self, segment: OwnSegment, dropped: deque[Dropped]) -> None:
        self.segment = segment
        self.mapping = segment.mapping
        self.hold = Hold(segment.id, segment.mapping, segment, dropped)
        self.sent = False

    def hand_over(self, descriptor: int) -> None:
        """Leave the segment to its holders, and to the producer a private copy in place.

        Raises:
            OSError: the kernel can't do it. Nothing has changed.
        """
        moved = self.mapping.move_away(descriptor)
        self.segment.mapping = self.hold.mapping = moved
        self.sent = True

    def kept_for(self, dropped: deque[Dropped]) -> bool:
        """Tell whether it belongs to the pool with this deque."""
        return self.hold.kept_for(dropped)

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """The segment's bytes for numpy, writable."""
        return _interface(self.mapping, readonly=False)


def _interface(mapping: Mapping, *, readonly: bool) -> dict[str, Any]:
    return {
        "version": 3,
        "data": (mapping.address, readonly),
        "shape": (mapping.size,),
        "typestr": "|u1",
    }


class _Loan:
    __slots__ = ("borrowers", "hold")

    def __init__(self, hold: Hold) -> None:
        self.hold = hold
        self.borrowers: Counter[int] = Counter()


class Loans:
    """What other processes hold through this one: a hold of ours stays until they gave it back.

    Borrowers are counted by address: what waits for a process that is about to be restarted goes
    to its next incarnation.
    """

    def __init__(self) -> None:
        self._loans: dict[SegmentId, _Loan] = {}

    def lend(self, hold: Hold, borrower: int) -> None:
        """Count one more hold of a process."""
        loan = self._loans.get(hold.segment)
        if loan is None:
            loan = self._loans[hold.segment] = _Loan(hold)
        loan.borrowers[borrower] += 1

    def give_back(self, release: Release, borrower: int) -> None:
        """Count fewer holds of a process."""
        loan = self._loans.get(release.segment)
        if loan is None or borrower not in loan.borrowers:
            return
        loan.hold.lost |= release.lost
        loan.borrowers[borrower] -= release.count
        if loan.borrowers[borrower] <= 0:
            self._remove(loan, borrower)

    def borrower_down(self, borrower: int) -> None:
        """Count a dead process's holds no more; what it held may be held by others unknown."""
        for loan in [loan for loan in self._loans.values() if borrower in loan.borrowers]:
            loan.hold.lost = True
            self._remove(loan, borrower)

    def _remove(self, loan: _Loan, borrower: int) -> None:
        del loan.borrowers[borrower]
        if not loan.borrowers:
            del self._loans[loan.hold.segment]

    def __len__(self) -> int:
        """How many segments are lent."""
        return len(self._loans)
