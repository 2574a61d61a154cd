"""The jobs that every peer does, measured the same way; nothing here but Python and numpy.

Each peer is a script beside this one: it says how its library does the jobs, and calls
:func:`serve`, which prints ``ready`` at the first reply and then one line of JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

WINDOW = 1024
"""Calls that are open at once when calls are pipelined."""
_LONE, _MANY = 300, 10_000
_ARRAYS = 5
_UNEVEN = [10_000, 100_000] * 30
"""Steps of calls of about 1 and 10 ms in turn."""
_ROUNDS = 3
_GIVE_UP = 10.0
"""Seconds until a recovery counts as none."""
_LIMIT = 180
"""Seconds that a library may take for everything."""


class Peer(Protocol):
    """How one library does the jobs, on two worker processes."""

    def call(self, count: int) -> int:
        """Call :func:`follow` with 0 to ``count`` - 1, one after another; add the answers up."""

    def pipeline(self, count: int) -> int:
        """Do the same with :data:`WINDOW` calls open; one message for each call."""

    def spread(self, steps: list[int]) -> int:
        """Call :func:`compute` with each, on both workers; add the answers up."""

    def tell(self, count: int) -> int | None:
        """Send ``count`` messages that nobody answers; give how many were handled.

        None if the library has no such message.
        """

    def send(self, array: Array) -> float:
        """Give what a worker answers to :func:`touch` of the array."""

    def worker(self) -> int:
        """Give the id of a process that answers."""

    def revive(self) -> None:
        """Do by hand what users have to do after a worker's death; called until a call works."""

    def close(self) -> None:
        """End everything."""


def follow(number: int) -> int:
    """Answer with the number that follows."""
    return number + 1


def touch(array: Array) -> float:
    """Read a number of every page of 4 KiB."""
    return float(array[::512].sum())


def compute(steps: int) -> int:
    """Take so many steps of a linear congruential generator, in pure Python."""
    state = 1
    for _ in range(steps):
        state = (1664525 * state + 1013904223) & 0xFFFFFFFF
    return state


def pid(_: int) -> int:
    """Say which process this is."""
    return os.getpid()


def serve(make: Callable[[], Peer]) -> None:
    """Start a peer, say so, and measure; ``--quick`` on the command line does a quarter."""
    report = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what the libraries print is no answer
    signal.alarm(_LIMIT)  # a library that hangs must not hang the others
    peer = make()
    _check(peer.call(1), 1)
    print("ready", file=report, flush=True)
    print(json.dumps(_figures(peer, 4 if "--quick" in sys.argv else 1)), file=report, flush=True)
    peer.close()


def _figures(peer: Peer, share: int) -> dict[str, float]:
    lone, many = _LONE // share, _MANY // share
    peer.call(50)
    peer.pipeline(WINDOW)
    found = {
        "round_trip": 1e6 * _seconds(lambda: peer.call(lone), _sum_to(lone)) / lone,
        "pipelined": many / _seconds(lambda: peer.pipeline(many), _sum_to(many)),
    }
    found["uneven"] = _uneven(peer)
    if peer.tell(WINDOW) is not None:
        found["one_way"] = many / _seconds(lambda: peer.tell(many), many)
    for megabytes in (8, 64):
        array = np.ones(megabytes * 1_000_000 // 8)
        read = touch(array)
        times = [_seconds(lambda a=array: peer.send(a), read) for _ in range(_ARRAYS)]  # type: ignore[misc]  # mypy has no type for a lambda's default
        found[f"array_{megabytes}mb"] = 1e3 * float(np.median(times[1:]))
    recovery = _recovery(peer)
    if recovery is not None:
        found["recovery"] = 1e3 * recovery
    return found


def _uneven(peer: Peer) -> float:
    """Give the time of uneven calls on two workers, through half of what one process takes."""
    right = sum(map(compute, _UNEVEN))
    peer.spread(_UNEVEN[:4])
    ratios = []
    for _ in range(_ROUNDS):
        alone = _seconds(lambda: sum(map(compute, _UNEVEN)), right)
        ratios.append(2 * _seconds(lambda: peer.spread(_UNEVEN), right) / alone)
    return float(np.median(ratios))


def _seconds(job: Callable[[], Any], right: float) -> float:
    begin = time.perf_counter()
    answer = job()
    seconds = time.perf_counter() - begin
    _check(answer, right)
    return seconds


def _sum_to(count: int) -> int:
    return count * (count + 1) // 2


def _check(answer: float | None, right: float) -> None:
    if answer != right:
        sys.exit(f"the answer is {answer} where {right} is right")


def _recovery(peer: Peer) -> float | None:
    """Give the seconds from a worker's SIGKILL to the next right answer; None: it never came."""
    victim = peer.worker()
    begin = time.perf_counter()
    os.kill(victim, signal.SIGKILL)
    while time.perf_counter() - begin < _GIVE_UP:
        with contextlib.suppress(Exception):  # every library has errors of its own for this
            # a pool may not have noticed yet, and another worker of it answer
            if peer.worker() != victim and peer.call(1) == 1:
                return time.perf_counter() - begin
        peer.revive()
    return None
