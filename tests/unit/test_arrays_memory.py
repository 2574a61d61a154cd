"""Where segments get their pages: all at once, huge ones where they may, and never too late."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gristmill.transport.arrays import NoSharedMemoryError, mapping
from gristmill.transport.arrays.mapping import Mapping
from gristmill.transport.arrays.segments import SMALLEST, Segments
from gristmill.transport.segment_directory import Process
from support.arrays import files, new_segment_directory

MB = 1 << 20


@contextmanager
def tmpfs(directory: Path, options: str) -> Iterator[Path]:
    """Mount a file system like /dev/shm, or skip the test where that is not allowed."""
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)], check=False
    )
    if done.returncode:
        pytest.skip("may not mount a file system here")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


@pytest.fixture
def directory() -> Iterator[Path]:
    with new_segment_directory() as directory:
        yield directory


def started(directory: Path) -> Segments:
    return Segments(directory, Process(1, 1), limit=1 << 30, keep=1 << 30)


def refuse(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the kernel refuse all advice."""

    def madvise(address: int, size: int, advice: int) -> int:
        ctypes.set_errno(number)
        return -1

    monkeypatch.setattr(mapping, "_madvise", madvise)


def taken(directory: Path) -> list[int]:
    """Give the bytes that each file has pages for."""
    return [(directory / name).stat().st_blocks * 512 for name in files(directory)]


def smaps_of(memory: Mapping) -> dict[str, str]:
    """Give what the kernel says of a mapping."""
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    start = f"{memory.address:x}-"
    for line in lines:
        if line.startswith(start):
            break
    found: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or "-" in name:
            break
        found[name] = value.strip()
    return found


def test_a_segment_has_all_its_pages_before_it_is_written(directory: Path) -> None:
    segment = started(directory).take(3 * SMALLEST)
    assert taken(directory) == [3 * SMALLEST]
    assert smaps_of(segment.mapping)["Rss"] == f"{3 * SMALLEST >> 10} kB"


def test_so_it_has_on_a_kernel_that_does_not_populate(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(errno.EINVAL, monkeypatch)
    started(directory).take(3 * SMALLEST)
    assert taken(directory) == [3 * SMALLEST]


@pytest.mark.parametrize(
    ("number", "reason"), [(errno.EFAULT, "No space left on device"), (errno.ENOMEM, "no memory")]
)
def test_without_room_nothing_is_made(
    directory: Path, monkeypatch: pytest.MonkeyPatch, number: int, reason: str
) -> None:
    segments = started(directory)
    segments.give_back(segments.take(SMALLEST))  # given up for room
    refuse(number, monkeypatch)
    with pytest.raises(NoSharedMemoryError, match=f"no 131,072 bytes of shared memory .*{reason}"):
        segments.take(2 * SMALLEST)
    assert files(directory) == []
    assert segments.size == 0


def test_a_full_shared_memory_is_an_error_of_ours(tmp_path: Path) -> None:
    with tmpfs(tmp_path, "size=256k") as directory:
        segments = started(directory)
        first, second = segments.take(SMALLEST), segments.take(SMALLEST)
        with pytest.raises(NoSharedMemoryError, match="No space left on device"):
            segments.take(4 * SMALLEST)
        segments.give_back(first)  # given up for room
        third = segments.take(3 * SMALLEST)
        assert segments.size == 4 * SMALLEST
        assert taken(directory) == [SMALLEST, 3 * SMALLEST]
        ctypes.memset(third.mapping.address, 1, third.mapping.size)
        assert ctypes.string_at(second.mapping.address, 1) == b"\0"


@pytest.mark.parametrize(("nbytes", "huge"), [(2 * MB, True), (8 * MB, True), (5 * MB, False)])
def test_segments_of_whole_huge_pages_ask_for_them(
    directory: Path, nbytes: int, huge: bool
) -> None:
    flags = smaps_of(started(directory).take(nbytes).mapping)["VmFlags"].split()
    assert ("hg" in flags) == huge


def test_where_huge_pages_are_allowed_owners_and_readers_have_them(tmp_path: Path) -> None:
    pages = Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")
    if not pages.exists() or int(pages.read_text()) != 2 * MB:
        pytest.skip("no huge pages of 2 MB here")
    with tmpfs(tmp_path, "size=64m,huge=advise") as directory:
        own = started(directory).take(8 * MB).mapping
        ctypes.memset(own.address, 7, own.size)
        descriptor = os.open(directory / files(directory)[0], os.O_RDONLY)
        try:
            moved = own.move_away(descriptor)
            theirs = Mapping.of(descriptor, own.size, writable=False)
        finally:
            os.close(descriptor)
        assert ctypes.string_at(theirs.address, theirs.size) == b"\7" * theirs.size
        assert smaps_of(moved)["ShmemPmdMapped"] == "8192 kB"
        assert smaps_of(theirs)["ShmemPmdMapped"] == "8192 kB"
        ctypes.memset(own.address, 1, 1)  # the private copy
        assert ctypes.string_at(theirs.address, 1) == b"\7"


@pytest.mark.parametrize("nbytes", [SMALLEST, MB, 2 * MB, 5 * MB, 64 * MB])
def test_from_one_huge_page_on_mappings_are_aligned(nbytes: int) -> None:
    reserved, cut_out = mapping._reserve(nbytes), mapping._cut_out(nbytes)
    assert cut_out % (2 * MB) == 0
    assert nbytes < 2 * MB or reserved % (2 * MB) == 0
    for address in (reserved, cut_out):
        assert mapping._munmap(address, nbytes) == 0
