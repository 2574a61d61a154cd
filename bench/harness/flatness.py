"""Whether what a program takes of the machine stays flat: samples over time, and their slope."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple, Self

import psutil

from harness.processes import pss_bytes

KIB = 1024.0


class Sample(NamedTuple):
    """What all processes of a node took at one moment."""

    at: float
    """Monotonic seconds."""
    values: dict[str, float]
    """By ``ROLE.WHAT``; memory in KiB."""


class Sampler:
    """Samples a node's processes from a thread of its own; use it in a ``with`` block.

    A moment at which a process comes or goes gives no sample.

    Args:
        supervisor: pid of the supervisor process; its children are the fork servers, and theirs
            the workers. This process is the client.
        segments: directory of the run's arrays in shared memory.
        workers: how many workers there are when all are up.
        every: seconds between two samples.
    """

    def __init__(self, supervisor: int, segments: Path, workers: int, every: float) -> None:
        self._supervisor = supervisor
        self._segments = segments
        self._workers = workers
        self._every = every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self.samples: list[Sample] = []
        self.zombies = 0
        """The most that were seen twice in a row: one that is just being reaped is none."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        before: set[int] = set()
        while not self._over.wait(self._every):
            try:
                values, zombies = _look(self._supervisor, self._workers)
                if values:
                    values["node.shm"] = float(len(os.listdir(self._segments)))  # noqa: PTH208 - names only
            except (OSError, psutil.Error, KeyError, ValueError):
                continue  # one of them has just ended
            self.zombies = max(self.zombies, len(zombies & before))
            before = zombies
            if values:
                self.samples.append(Sample(time.monotonic(), values))

    @staticmethod
    def look(supervisor: int, workers: int) -> dict[str, float]:
        """Look once; nothing is given while a process comes or goes."""
        with contextlib.suppress(OSError, psutil.Error, KeyError, ValueError):
            return _look(supervisor, workers)[0]
        return {}


def _look(pid: int, count: int) -> tuple[dict[str, float], set[int]]:
    """Give what each role takes, and the zombies."""
    supervisor = psutil.Process(pid)
    servers = supervisor.children()
    workers = [worker for server in servers for worker in server.children()]
    processes = [supervisor, *servers, *workers]
    zombies = {p.pid for p in processes if p.status() == psutil.STATUS_ZOMBIE}
    if zombies or len(servers) != 1 or len(workers) != count:
        return {}, zombies
    values: dict[str, float] = {}
    roles = {
        "client": [psutil.Process()],
        "supervisor": [supervisor],
        "fork server": servers,
        "workers": workers,
    }
    for role, members in roles.items():
        values[f"{role}.pss"] = pss_bytes([p.pid for p in members]) / KIB
        values[f"{role}.fds"] = float(sum(p.num_fds() for p in members))
        values[f"{role}.threads"] = float(sum(p.num_threads() for p in members))
    return values, zombies


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Give the rise per second: the median of the slopes between all pairs (Theil-Sen)."""
    slopes = [
        (y - v) / (x - u) for i, (u, v) in enumerate(points) for x, y in points[i + 1 :] if x > u
    ]
    return median(slopes) if slopes else 0.0


class Rise(NamedTuple):
    """How much something has risen over a run, by its slope."""

    what: str
    first: float
    by: float
    allowed: float

    @property
    def flat(self) -> bool:
        """Whether it rose by no more than is allowed."""
        return self.by <= self.allowed


def rises(samples: Sequence[Sample], allowed: Callable[[str, float], float]) -> list[Rise]:
    """Give the rise of everything that was sampled.

    Args:
        samples: the run.
        allowed: how much a thing may rise, by its name and its first value.
    """
    if not samples:
        return []
    names = Counter(name for sample in samples for name in sample.values)
    seconds = samples[-1].at - samples[0].at
    found = []
    for name in sorted(names):
        points = [(sample.at, sample.values[name]) for sample in samples]
        third = max(1, len(points) // 3)
        first = median(value for _, value in points[:third])
        found.append(Rise(name, first, slope(points) * seconds, allowed(name, first)))
    return found
