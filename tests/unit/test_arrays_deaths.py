"""What becomes of arrays when processes die, and what is refused from the start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gristmill.errors import DecodeError, NodeStartError, UsageError
from gristmill.transport.arrays import (
    ArrayGoneError,
    NoSharedMemoryError,
    SharedArray,
)
from gristmill.transport.arrays.layout import restore
from gristmill.transport.arrays.segments import SMALLEST
from gristmill.transport.arrays.wire import Field, Layout, Record
from gristmill.transport.segment_directory import Process, make_segment_directory, remove_segments
from support.arrays import Start, files, give_back, new_segment_directory, pass_on, starter

COUNT = SMALLEST // 8


@pytest.fixture
def directory() -> Iterator[Path]:
    with new_segment_directory() as directory:
        yield directory


@pytest.fixture
def start(directory: Path) -> Start:
    return starter(directory)


def test_what_a_dead_process_held_is_never_recycled(start: Start, directory: Path) -> None:
    owner, forwarder, last = start(1), start(2), start(3)
    got = pass_on(owner.export(np.full(COUNT, 1)), owner, 2, forwarder)
    got = pass_on(got, forwarder, 3, last)
    owner.peer_down(Process(2, 1))
    for value in range(5):
        owner.export(np.full(COUNT, value + 2))
    assert (got.array() == 1).all()
    assert files(directory) == ["1-1-2"]
    assert owner.size == SMALLEST


def test_a_death_far_down_the_line_reaches_the_owner(start: Start) -> None:
    """Owner, forwarder, another, last: the third dies, and the second gives its hold back."""
    owner, second, third, last = start(1), start(2), start(3), start(4)
    shared = pass_on(owner.export(np.full(COUNT, 1)), owner, 2, second)
    got = pass_on(pass_on(shared, second, 3, third), third, 4, last)
    second.peer_down(Process(3, 1))
    del shared
    give_back(second, Process(2, 1), owner, 1)
    assert owner.lent == 0
    for value in range(5):
        owner.export(np.full(COUNT, value + 2))
    assert (got.array() == 1).all()


def test_what_a_dead_process_gave_back_late_is_not_the_next_ones(start: Start) -> None:
    owner, old, new = start(1), start(2), start(2, 2)
    shared = owner.export(np.full(COUNT, 1))
    pass_on(shared, owner, 2, old)
    late = old.take_releases()[1]
    owner.peer_down(Process(2, 1))
    pass_on(shared, owner, 2, new)
    owner.on_releases(Process(2, 1), late)
    assert owner.lent == 1


def test_what_an_earlier_incarnation_lent_is_not_given_back_to_the_next(start: Start) -> None:
    owner, old, new, last = start(1), start(2), start(2, 2), start(3)
    shared = owner.export(np.full(COUNT, 1))
    pass_on(pass_on(shared, owner, 2, old), old, 3, last)
    late = last.take_releases()[2]
    kept = pass_on(pass_on(shared, owner, 2, new), new, 3, last)
    new.on_releases(Process(3, 1), late)
    assert new.lent == 1
    del kept
    give_back(last, Process(3, 1), new, 2)
    assert new.lent == 0


def test_nothing_is_given_back_to_the_dead(start: Start) -> None:
    owner, receiver = start(1), start(2)
    got = pass_on(owner.export(np.full(COUNT, 1)), owner, 2, receiver)
    receiver.peer_down(Process(1, 1))
    del got
    assert receiver.take_releases() == {}
    assert not receiver.release_due


def test_an_array_outlives_its_owner_and_can_still_be_passed_on(
    start: Start, directory: Path
) -> None:
    owner, receiver, last = start(1), start(2), start(3)
    got = pass_on(owner.export(np.full(COUNT, 1)), owner, 2, receiver).array()
    remove_segments(directory, Process(1, 1))
    receiver.peer_down(Process(1, 1))
    again = pass_on(receiver.export(got), receiver, 3, last).array()
    assert (again == 1).all()
    assert files(directory) == ["2-1-1"]


def test_an_array_that_is_gone_is_named_and_its_lender_told(start: Start) -> None:
    owner, forwarder, last = start(1), start(2), start(3)
    shared = pass_on(owner.export(np.zeros(COUNT)), owner, 2, forwarder)
    handle = forwarder.lend(shared, 3)
    owner.close()
    with pytest.raises(ArrayGoneError, match="process 1, sent by process 2"):
        last.accept(handle)
    assert forwarder.lent == 1
    give_back(last, Process(3, 1), forwarder, 2)
    assert forwarder.lent == 0


def test_a_closed_pool_leaves_nothing_and_takes_nothing(start: Start, directory: Path) -> None:
    pool = start(1)
    kept = pool.export(np.full(COUNT, 1)).array()
    pool.export(np.zeros(COUNT))
    pool.close()
    assert files(directory) == []
    assert (kept == 1).all()
    del kept
    with pytest.raises(NoSharedMemoryError, match="closed"):
        pool.export(np.zeros(COUNT))


# --- what is refused ---


def test_objects_and_dtypes_of_others_do_not_travel(start: Start, directory: Path) -> None:
    pool = start(1)
    for dtype in (object, [("a", "i4"), ("b", object)]):
        with pytest.raises(UsageError, match="objects"):
            pool.export(np.empty(2, dtype))
        with pytest.raises(UsageError, match="objects"):
            pool.empty(2, dtype)
    assert files(directory) == []


@pytest.mark.parametrize("wrong", ["nonsense", "O", "|O8", Record(8, False, (Field("a", 0, "O"),))])
def test_a_dtype_from_the_wire_is_checked(wrong: str | Record) -> None:
    with pytest.raises(DecodeError, match=r"dtype|objects"):
        restore(wrong)


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(0, (COUNT + 1,), (8,)), (-8, (1,), (8,)), (0, (2,), (-8,)), (0, (-1,), (8,)), (0, (1,), ())],
)
def test_a_layout_from_the_wire_never_reaches_beyond_its_segment(
    start: Start, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    shared = start(1).export(np.zeros(COUNT))
    with pytest.raises(DecodeError, match="memory"):
        SharedArray(shared.hold, Layout(offset, shape, strides, "<f8")).array()


def test_a_handle_larger_than_its_segment_is_not_mapped(start: Start) -> None:
    owner, receiver = start(1), start(2)
    handle = owner.lend(owner.export(np.zeros(COUNT)), 2)
    kind = type(handle)
    for size in (SMALLEST + 1, 0, -1):
        with pytest.raises(ArrayGoneError, match="can't be opened"):
            receiver.accept(kind(handle.segment, size, handle.lender, handle.layout))


def test_a_directory_that_others_can_write_to_is_refused(directory: Path) -> None:
    directory.chmod(0o755)
    with pytest.raises(NodeStartError, match="0700"):
        make_segment_directory(directory)
