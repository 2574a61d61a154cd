"""Arrays from a client to a worker that reads every page, against a copy in memory.

Both processes are pinned to a core each; rounds of ours and of the floor alternate, and ratios are
medians over the rounds. The floor is ``np.copyto`` of as many bytes between arrays that have been
touched before. Ours begins with an array and ends when the client has the worker's tiny reply.
A zero-copy array was written where it is sent from, and its worker reads nothing of it. A cold one
is sent while all segments that were kept are in use, so its own is new to both processes.
"""

from __future__ import annotations

import mmap
import os
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt

from gristmill import Actor, Node, Ref, Request, handles
from gristmill.transport.arrays.pool import KEEP
from harness import Bench, Pairs, arguments, two_cores

MB = 1 << 20
Bytes = npt.NDArray[np.uint8]


class Read(Request[int]):
    """Read one byte of every page, and tell their sum."""

    data: Bytes


class Take(Request[int]):
    """Tell how many bytes have come, and read none."""

    data: Bytes


class Keep(Request[int]):
    """Read one byte of every page, tell their sum, and keep the array."""

    data: Bytes


class Drop(Request[None]):
    """Keep nothing any more."""


class Reader(Actor):
    """Reads, or not."""

    def __init__(self) -> None:
        self.kept: list[Bytes] = []

    @handles
    def read(self, msg: Read) -> int:
        """Answer when every page has been read."""
        return _pages(msg.data)

    @handles
    def take(self, msg: Take) -> int:
        """Answer at once."""
        return msg.data.nbytes

    @handles
    def keep(self, msg: Keep) -> int:
        """Answer when every page has been read."""
        self.kept.append(msg.data)
        return _pages(msg.data)

    @handles
    def drop(self, msg: Drop) -> None:
        """Let go of all."""
        self.kept.clear()


def send(ref: Ref[Reader], data: Bytes, times: int) -> float:
    """Give the median milliseconds from an ordinary array to the reply of who has read it."""
    expected, spent = _pages(data), []
    for _ in range(times):
        begin = time.perf_counter()
        answer = ref.ask(Read(data), timeout=60.0)
        spent.append(time.perf_counter() - begin)
        _check(answer, expected)
    return median(spent) * 1e3


def send_cold(ref: Ref[Reader], data: Bytes, times: int) -> float:
    """Give the median milliseconds as :func:`send` does, through memory that is new."""
    expected, spent = _pages(data), []
    for _ in range(KEEP // data.nbytes):  # what was kept free is in use
        ref.ask(Keep(data), timeout=60.0)
    for _ in range(times):
        begin = time.perf_counter()
        answer = ref.ask(Keep(data), timeout=60.0)
        spent.append(time.perf_counter() - begin)
        _check(answer, expected)
    ref.ask(Drop(), timeout=60.0)
    return median(spent) * 1e3


def hand_over(node: Node, ref: Ref[Reader], size: int, times: int) -> float:
    """Give the median milliseconds from an array that was written in place to the reply."""
    spent = []
    for _ in range(times):
        data = node.empty(size, np.uint8)
        data.fill(1)
        begin = time.perf_counter()
        answer = ref.ask(Take(data), timeout=60.0)
        spent.append(time.perf_counter() - begin)
        _check(answer, size)
    return median(spent) * 1e3


def copy(size: int, times: int) -> float:
    """Give the median milliseconds of a copy in memory that was touched before."""
    source, target = np.ones(size, np.uint8), np.zeros(size, np.uint8)
    spent = []
    for _ in range(times):
        begin = time.perf_counter()
        np.copyto(target, source)
        spent.append(time.perf_counter() - begin)
    return median(spent) * 1e3


def _pages(data: Bytes) -> int:
    return int(data[:: mmap.PAGESIZE].sum())


def _has_huge_pages() -> bool:
    rollup = Path("/proc/self/smaps_rollup").read_text()
    return "ShmemPmdMapped:        0 kB" not in rollup


def _check(found: int, expected: int) -> None:
    if found != expected:
        sys.exit(f"the worker answered {found:,} where {expected:,} is right")


def _pin(core: int) -> None:
    """Keep every thread of this process, sockets' threads included, on one core."""
    for thread in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


def main() -> None:
    """Measure, print, and write what was asked for."""
    options = arguments(__doc__ or "")
    rounds, times = (5, 5) if options.quick else (25, 10)
    _, client_core = two_cores()
    data = {size: np.ones(size, np.uint8) for size in (8 * MB, 64 * MB)}
    with Node(workers=1, pin_cpus=True) as node:
        _pin(client_core)
        ref = node.spawn(Reader, name="reader")
        pairs = [
            Pairs(
                f"array_{size // MB}mb",
                "ms",
                partial(send, ref, array, times),
                partial(copy, size, times),
            )
            for size, array in data.items()
        ]
        pairs.append(
            Pairs(
                "array_64mb_zero_copy",
                "ms",
                partial(hand_over, node, ref, 64 * MB, times),
                partial(copy, 64 * MB, times),
            )
        )
        cold = Pairs(
            "array_64mb_cold",
            "ms",
            partial(send_cold, ref, data[64 * MB], 2),
            partial(copy, 64 * MB, times),
        )
        for pair in pairs:
            pair.warm_up()
        for _ in range(rounds):
            for pair in pairs:
                pair.round()
        for _ in range(rounds):  # afterwards: it takes the place of what the others keep warm
            cold.round()
        pairs.append(cold)
        pages = "huge pages" if _has_huge_pages() else f"pages of {mmap.PAGESIZE >> 10} KiB"
    bench = Bench.of("arrays", [pair.result() for pair in pairs])
    bench.show(
        [
            f"{rounds} rounds of {times}; floor: np.copyto of as many bytes, in the client",
            "ours: from the array to the reply of who has read every page; zero-copy: reads none",
            f"cold: through new segments; shared memory came in {pages}",
        ]
    )
    if options.json:
        bench.write(options.json)


if __name__ == "__main__":
    main()
