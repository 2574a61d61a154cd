from __future__ import annotations

import ctypes
import errno
import gc
import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
import pytest

from gristmill.transport.arrays import IN_PLACE, ArrayGoneError, NoSharedMemoryError, mapping
from gristmill.transport.arrays.segments import SMALLEST, size_class
from gristmill.transport.segment_directory import Process
from support.arrays import Start, files, give_back, new_segment_directory, pass_on, starter
from support.waiting import eventually

COUNT = SMALLEST // 8
MORE = IN_PLACE // 8
Array = Any
"""An array, and a buffer for ``memoryview`` too, which numpy's types do not say."""


@pytest.fixture
def directory() -> Iterator[Path]:
    with new_segment_directory() as directory:
        yield directory


@pytest.fixture
def start(directory: Path) -> Start:
    return starter(directory)


# --- what a receiver can do with an array ---


def test_nothing_makes_a_received_array_writable(start: Start) -> None:
    owner, receiver = start(1), start(2)
    got = pass_on(owner.export(np.arange(COUNT)), owner, 2, receiver).array()
    own = owner.export(np.arange(COUNT)).array()
    arrays: list[Array] = [got, got[2:], got.reshape(2, -1).T, np.asarray(got), own, own.view("u1")]
    for array in arrays:
        assert not array.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 1
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.setflags(write=True)
        assert memoryview(array).readonly
        base: Any = array
        while isinstance(base, np.ndarray):
            base = base.base
            with pytest.raises((TypeError, ValueError)):
                np.frombuffer(base, "u1")[0] = 1
            with pytest.raises((TypeError, ValueError)):
                np.asarray(base)[0] = 1
    assert (got == np.arange(COUNT)).all()


def _cycle(array: Array) -> list[object]:
    cycle: list[object] = [array]
    cycle.append(cycle)
    return cycle


VIEWS: dict[str, Callable[[Array], object]] = {
    "the array": lambda array: array,
    "a slice": lambda array: array[1:5][::2],
    "a reshaped one": lambda array: array.reshape(2, -1),
    "its base": lambda array: array.base,
    "the end of its base chain": lambda array: array.base.base,
    "a memoryview": memoryview,
    "a memoryview of its base": lambda array: memoryview(array.base),
    "another array on its buffer": lambda array: np.frombuffer(memoryview(array)[8:], "u1"),
    "a strided trick": lambda array: np.lib.stride_tricks.as_strided(array, (3,), (8,)),
    "an iterator": iter,
    "a pickle buffer": pickle.PickleBuffer,
    "a subclass": lambda array: array.view(np.recarray),
    "a cycle": _cycle,
}


@pytest.mark.parametrize("view", VIEWS)
def test_any_view_keeps_the_segment(start: Start, view: str) -> None:
    owner, receiver = start(1), start(2)
    kept = VIEWS[view](pass_on(owner.export(np.arange(COUNT)), owner, 2, receiver).array())
    gc.collect()
    assert receiver.take_releases() == {}
    del kept
    gc.collect()
    (release,) = receiver.take_releases()[1]
    owner.on_releases(Process(2, 1), [release])
    assert owner.lent == 0


def test_a_pickled_array_is_a_copy_of_its_own(start: Start) -> None:
    pool = start(1)
    again = pickle.loads(pickle.dumps(pool.export(np.arange(COUNT)).array()))
    again[0] = 7
    assert again[0] == 7


# --- what a producer can do ---


def test_an_array_written_in_place_is_sent_without_a_copy(start: Start) -> None:
    owner, receiver = start(1), start(2)
    draft = owner.empty((2, MORE // 2), np.float64, order="F")
    draft[:] = 3
    size = owner.size
    got = pass_on(owner.export(draft), owner, 2, receiver).array()
    assert owner.size == size
    assert got.flags.f_contiguous
    assert (got == 3).all()


def test_what_is_written_after_sending_is_seen_by_the_producer_alone(start: Start) -> None:
    owner, receiver = start(1), start(2)
    draft: Array = owner.empty(MORE, np.int64)
    view, buffer = draft[10:20], memoryview(draft)
    draft[:] = 1
    first = owner.export(draft)
    got = pass_on(first, owner, 2, receiver).array()
    draft[0], view[0], buffer[30] = 2, 3, 4
    assert (draft[0], draft[10], draft[30]) == (2, 3, 4)
    assert (got == 1).all()
    assert (first.array() == 1).all()
    again = pass_on(owner.export(draft), owner, 2, receiver).array()
    assert (again[0], again[10], again[30]) == (2, 3, 4)


def test_the_producers_view_keeps_the_segment_too(start: Start) -> None:
    owner = start(1)
    draft = owner.empty(MORE, np.int64)
    draft[:] = 1
    owner.export(draft)
    owner.export(np.full(MORE, 2))
    assert (draft == 1).all()


def test_an_array_that_is_never_sent_is_recycled(start: Start, directory: Path) -> None:
    pool = start(1)
    for _ in range(5):
        pool.empty(MORE)
    assert len(files(directory)) == 1


def test_a_kernel_that_can_not_move_memory_makes_a_copy(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapping, "_LEAVE_MAPPED", 1 << 20)  # no kernel knows this flag
    pool = start(1)
    draft = pool.empty(MORE, np.int64)
    draft[:] = 1
    sent = pool.export(draft)
    draft[:] = 2
    assert (sent.array() == 1).all()


def test_small_arrays_and_those_without_room_are_ordinary_ones(
    start: Start, directory: Path
) -> None:
    pool = start(1, limit=IN_PLACE)
    arrays = [pool.empty(()), pool.empty(MORE - 1), pool.empty((2, MORE), ">i4")]
    assert files(directory) == ["1-1-1"]
    more = pool.empty(MORE)
    more[:] = 1
    assert files(directory) == ["1-1-1"]
    assert [array.shape for array in arrays] == [(), (MORE - 1,), (2, MORE)]
    assert arrays[2].dtype == np.dtype(">i4")


@pytest.mark.parametrize(
    "shape",
    [np.int64(MORE), (np.int64(2), MORE), [2, np.int16(MORE // 2)], (np.int32(600), np.int32(600))],
)
def test_a_shape_is_what_numpy_takes_for_one(
    start: Start, directory: Path, shape: Sequence[SupportsIndex]
) -> None:
    array = start(1).empty(shape)
    assert array.shape == np.empty(shape).shape
    assert files(directory) == ["1-1-1"]


def test_what_is_no_shape_is_an_error_of_numpys(start: Start) -> None:
    pool = start(1)
    for wrong, kind in ((-1, ValueError), ((-1, -MORE), ValueError), (2.0, TypeError)):
        with pytest.raises(kind):
            pool.empty(wrong)  # type: ignore[arg-type]  # the mistake
    with pytest.raises(ValueError, match="too big"):
        pool.empty((np.int32(1 << 30), np.int32(1 << 30)))


# --- limits ---


@pytest.mark.parametrize(
    ("nbytes", "size"),
    [(0, 64), (64, 64), (65, 80), (112, 112), (113, 128), (129, 160), (65536, 65536)],
)
def test_size_classes_are_a_quarter_of_a_power_of_two_apart(nbytes: int, size: int) -> None:
    assert size_class(nbytes * SMALLEST // 64) == size * SMALLEST // 64


def test_over_its_limit_a_pool_refuses_and_then_gives_up_what_is_free(start: Start) -> None:
    pool = start(1, limit=3 * SMALLEST)
    held = [pool.export(np.zeros(COUNT)) for _ in range(3)]
    with pytest.raises(NoSharedMemoryError, match="limit"):
        pool.export(np.zeros(COUNT))
    del held
    pool.export(np.zeros(2 * COUNT + 1))
    assert pool.size == 5 * SMALLEST // 2


def test_a_process_maps_no_more_arrays_than_it_may(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, receiver, last = start(1), start(2), start(3)
    monkeypatch.setattr(mapping, "MOST", len(mapping._live) + 4)
    own = [owner.export(np.full(COUNT, number)) for number in range(4)]
    with pytest.raises(NoSharedMemoryError, match=r"vm\.max_map_count"):
        owner.export(np.zeros(COUNT))
    before = len(mapping._live)
    handed_on = [pass_on(shared, owner, 2, receiver) for shared in own]
    got = [shared.array() for shared in handed_on]
    assert len(mapping._live) == before
    assert [array[-1] for array in got] == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="WRITEABLE"):
        got[0].flags.writeable = True
    assert pass_on(handed_on[3], receiver, 3, last).array()[0] == 3
    give_back(last, Process(3, 1), receiver, 2)
    del handed_on
    give_back(receiver, Process(2, 1), owner, 1)
    assert owner.lent == 0
    assert [array[-1] for array in got] == [0, 1, 2, 3]
    own.clear()
    assert (owner.export(np.full(2 * COUNT, 5)).array() == 5).all(), "what was free made room"
    assert len(mapping._live) == before


def test_a_system_that_maps_no_more_is_no_end_of_anybody(
    start: Start, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, receiver = start(1), start(2)
    own = [owner.export(np.full(COUNT, number)) for number in range(2)]

    def full(*_: object) -> int | None:
        ctypes.set_errno(errno.ENOMEM)
        return mapping._FAILED

    with monkeypatch.context() as patched:
        patched.setattr(mapping, "_mmap", full)
        with pytest.raises(NoSharedMemoryError, match=r"too many mappings .*vm\.max_map_count"):
            owner.export(np.zeros(COUNT))
        first, second = (pass_on(shared, owner, 2, receiver) for shared in own)
        assert (first.array() == 0).all()
        owner.close()
        with pytest.raises(ArrayGoneError, match=r"No such file.*has ended"):
            second.array()


def test_an_address_that_can_not_be_cut_out_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    unmapped: list[tuple[int, int]] = []
    munmap = mapping._munmap

    def refuse_first(address: int, size: int) -> int:
        unmapped.append((address, size))
        if len(unmapped) == 1:
            ctypes.set_errno(errno.ENOMEM)
            return -1
        return int(munmap(address, size))

    monkeypatch.setattr(mapping, "_munmap", refuse_first)
    with pytest.raises(OSError, match="too many mappings"):
        mapping._cut_out(SMALLEST)
    assert unmapped[1][1] == SMALLEST + mapping._ALIGNMENT


def test_the_oldest_free_segments_are_given_up_and_the_warmest_taken_first(
    start: Start, directory: Path
) -> None:
    pool = start(1, keep=2 * SMALLEST)
    held = [pool.export(np.zeros(COUNT)) for _ in range(4)]
    for _ in range(4):
        del held[0]
        pool.take_releases()
    assert files(directory) == ["1-1-3", "1-1-4"]
    taken = pool.export(np.zeros(COUNT))
    assert taken.hold.segment.number == 4


def test_a_thousand_cycles_take_no_more_memory_than_one(start: Start, directory: Path) -> None:
    owner, receiver = start(1), start(2)

    def cycle() -> None:
        draft = owner.empty(2 * MORE)
        for array in (draft, np.ones(COUNT)):
            assert pass_on(owner.export(array), owner, 2, receiver).array().shape == array.shape
        del draft, array
        give_back(receiver, Process(2, 1), owner, 1)

    def mapped() -> int:
        return Path("/proc/self/maps").read_text().count(str(directory))

    for _ in range(3):
        cycle()
    before = owner.size, mapped(), files(directory)
    for _ in range(1000):
        cycle()
    assert (owner.size, mapped(), files(directory)) == before


# --- threads ---


def test_threads_share_a_pool(start: Start) -> None:
    owner, receiver = start(1), start(2)
    failed: list[object] = []

    def work(value: int) -> None:
        for number in range(60):
            draft = owner.empty(MORE, np.int64)
            draft[:] = value + number
            sources = (draft, np.full(COUNT, value + number))
            for source in sources:
                got = pass_on(owner.export(source), owner, 2, receiver).array()
                if not (got == value + number).all():
                    failed.append((value, number))
            del got
            give_back(receiver, Process(2, 1), owner, 1)

    threads = [threading.Thread(target=work, args=(1000 * each,)) for each in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    give_back(receiver, Process(2, 1), owner, 1)
    assert owner.lent == 0
    assert owner.size <= 8 * (IN_PLACE + SMALLEST)


def goes_on(used: list[int]) -> None:
    """Wait until each of the threads has used the array once more."""
    before = list(used)
    eventually(lambda: used[0] > before[0] and used[1] > before[1], "both threads go on")


def test_an_array_can_be_used_by_other_threads_while_it_is_sent(start: Start) -> None:
    owner = start(1)
    used = [0, 0]
    for value in range(1, 30):
        draft = owner.empty(16 * MORE, np.int64)
        draft[:] = value
        done = threading.Event()
        sums: set[int] = set()

        def read(draft: Array, done: threading.Event, sums: set[int]) -> None:
            while not done.is_set():
                sums.add(int(draft[: 8 * MORE].sum()))  # it lets go of the interpreter's lock
                used[0] += 1

        def write(draft: Array, done: threading.Event) -> None:
            while not done.is_set():
                draft[8 * MORE :] += 1
                used[1] += 1

        threads = [
            threading.Thread(target=read, args=(draft, done, sums)),
            threading.Thread(target=write, args=(draft, done)),
        ]
        for thread in threads:
            thread.start()
        goes_on(used)
        shared = owner.export(draft)
        sent = shared.array().copy()
        goes_on(used)
        done.set()
        for thread in threads:
            thread.join()
        assert sums == {8 * MORE * value}
        assert (sent[: 8 * MORE] == value).all()
        assert (shared.array() == sent).all()
