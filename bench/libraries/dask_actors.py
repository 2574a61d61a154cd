"""The jobs on Dask's actors."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import jobs
from distributed import (  # type: ignore[import-not-found]  # lives in an environment of its own
    Client,
    LocalCluster,
)


class Echo:
    """Does the jobs."""

    def follow(self, number: int) -> int:
        """Answer."""
        return jobs.follow(number)

    def touch(self, array: jobs.Array) -> float:
        """Answer."""
        return jobs.touch(array)

    def pid(self) -> int:
        """Answer."""
        return jobs.pid(0)


class DaskActors:
    """Implements :class:`jobs.Peer`."""

    def __init__(self) -> None:
        self._cluster = LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
        )
        self._client = Client(self._cluster)
        self._actor = self._new()

    def _new(self) -> Any:  # noqa: ANN401 - Dask has no types
        return self._client.submit(Echo, actor=True, pure=False).result(timeout=5)

    def call(self, count: int) -> int:
        """Call and wait."""
        return sum(self._actor.follow(i).result(timeout=5) for i in range(count))

    def pipeline(self, count: int) -> int:
        """Call, and wait when enough are open."""
        total = 0
        for start in range(0, count, jobs.WINDOW):
            numbers = range(start, min(count, start + jobs.WINDOW))
            total += sum(call.result() for call in [self._actor.follow(i) for i in numbers])
        return total

    def spread(self, steps: list[int]) -> int:
        """Map over the cluster, whose scheduler balances tasks and not calls of actors."""
        return sum(self._client.gather(self._client.map(jobs.compute, steps, pure=False)))

    def tell(self, count: int) -> int | None:
        """Not there."""
        return None

    def send(self, array: jobs.Array) -> float:
        """Call with an array."""
        return float(self._actor.touch(array).result())

    def worker(self) -> int:
        """Call."""
        return int(self._actor.pid().result(timeout=5))

    def revive(self) -> None:
        """Make a new actor: the old one is lost for good."""
        with contextlib.suppress(Exception):  # no worker may be up yet
            self._actor = self._new()
        time.sleep(0.001)

    def close(self) -> None:
        """Close the client and the cluster."""
        self._client.close()
        self._cluster.close()


if __name__ == "__main__":
    jobs.serve(DaskActors)
