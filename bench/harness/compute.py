"""Compute of about a millisecond a call, and bare processes that do nothing else.

Run as a script this is one such process: ``compute.py KERNEL SIZE``; each line that it reads is
a number of calls, and it answers with the digest of their answers.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable

import numpy as np

_MASK = (1 << 32) - 1
SEEDS = 8
"""Calls differ by their seed, which goes round; so what is right is known beforehand."""


def _aligned(count: int) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    """Give an array that begins with a cache line: elsewhere the kernel takes 6 % longer."""
    memory = np.empty(4 * count + 64, np.uint8)
    begin = -memory.ctypes.data % 64
    return memory[begin : begin + 4 * count].view(np.uint32)


_STATES = _aligned(4096)


def python_kernel(seed: int, size: int) -> int:
    """Take ``size`` steps of a linear congruential generator, in pure Python."""
    state = seed
    for _ in range(size):
        state = (1664525 * state + 1013904223) & _MASK
    return state


def numpy_kernel(seed: int, size: int) -> int:
    """Take ``size`` steps of 4,096 generators at once, which fit into the first cache."""
    states = _STATES
    states[:] = np.arange(seed, seed + 4096, dtype=np.uint32)
    for _ in range(size):
        states *= np.uint32(1664525)
        states += np.uint32(1013904223)
    return int(states.sum(dtype=np.uint64)) & _MASK


KERNELS: dict[str, Callable[[int, int], int]] = {"numpy": numpy_kernel, "python": python_kernel}


def calibrated(kernel: str, seconds: float) -> int:
    """Give the size with which a call takes about ``seconds`` here when nothing else runs."""
    run, probe = KERNELS[kernel], 200
    times = []
    for seed in range(30):
        begin = time.thread_time()
        run(seed, probe)
        times.append(time.thread_time() - begin)
    return max(1, round(probe * seconds / min(times)))


def digest(answers: Iterable[int]) -> int:
    """Fold answers, in whatever order, into one number."""
    return sum(answers) & _MASK


def expected(kernel: str, size: int, calls: int) -> int:
    """Give the digest of that many calls."""
    run = KERNELS[kernel]
    answers = [run(seed, size) for seed in range(min(calls, SEEDS))]
    return digest(answers[i % SEEDS] for i in range(calls))


def _serve(kernel: str, size: int) -> None:
    run = KERNELS[kernel]
    run(0, size)
    print("ready", flush=True)
    for line in sys.stdin:
        print(digest(run(i % SEEDS, size) for i in range(int(line))), flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
