"""The jobs on ``concurrent.futures.ProcessPoolExecutor``."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor

import jobs


class Executor:
    """Implements :class:`jobs.Peer`."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(2)

    def call(self, count: int) -> int:
        """Submit and wait."""
        return sum(self._pool.submit(jobs.follow, i).result() for i in range(count))

    def pipeline(self, count: int) -> int:
        """Submit, and wait for the oldest when enough are open."""
        total, open_calls = 0, deque[Future[int]]()
        for i in range(count):
            open_calls.append(self._pool.submit(jobs.follow, i))
            if len(open_calls) >= jobs.WINDOW:
                total += open_calls.popleft().result()
        return total + sum(call.result() for call in open_calls)

    def spread(self, steps: list[int]) -> int:
        """Map."""
        return sum(self._pool.map(jobs.compute, steps))

    def tell(self, count: int) -> int | None:
        """Not there."""
        return None

    def send(self, array: jobs.Array) -> float:
        """Submit."""
        return self._pool.submit(jobs.touch, array).result()

    def worker(self) -> int:
        """Submit."""
        return self._pool.submit(jobs.pid, 0).result()

    def revive(self) -> None:
        """Make a new pool: the old one is broken for good."""
        self._pool.shutdown(wait=False)
        self._pool = ProcessPoolExecutor(2)

    def close(self) -> None:
        """Shut down."""
        self._pool.shutdown()


if __name__ == "__main__":
    jobs.serve(Executor)
