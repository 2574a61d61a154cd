"""The jobs on ``multiprocessing.Pool``."""

from __future__ import annotations

import os
from multiprocessing import Pool, active_children

import jobs


class MultiprocessingPool:
    """Implements :class:`jobs.Peer`."""

    def __init__(self) -> None:
        self._pool = Pool(2)

    def call(self, count: int) -> int:
        """Apply."""
        return sum(self._pool.apply(jobs.follow, (i,)) for i in range(count))

    def pipeline(self, count: int) -> int:
        """Map without chunks: one message for each call, all of them open."""
        return sum(self._pool.imap(jobs.follow, range(count), chunksize=1))

    def spread(self, steps: list[int]) -> int:
        """Map without chunks, as the calls are uneven."""
        return sum(self._pool.imap(jobs.compute, steps, chunksize=1))

    def tell(self, count: int) -> int | None:
        """Not there."""
        return None

    def send(self, array: jobs.Array) -> float:
        """Apply."""
        return self._pool.apply(jobs.touch, (array,))

    def worker(self) -> int:
        """Apply."""
        return self._pool.apply_async(jobs.pid, (0,)).get(timeout=1.0)

    def revive(self) -> None:
        """Nothing: it replaces the worker, but what that one had in hand is never answered."""

    def close(self) -> None:
        """Kill the workers and leave: terminate() waits for ever for the lock of a killed one."""
        for worker in active_children():
            worker.kill()
        os._exit(0)


if __name__ == "__main__":
    jobs.serve(MultiprocessingPool)
