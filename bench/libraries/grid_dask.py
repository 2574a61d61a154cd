"""The grid on Dask: a future a task, which the next tasks get as their inputs."""

from __future__ import annotations

from typing import Any

import grids
from distributed import (  # type: ignore[import-not-found]  # lives in an environment of its own
    Client,
    LocalCluster,
)


def _task(order: grids.Order, step: int, point: int, inputs: list[grids.Output]) -> grids.Output:
    return grids.task((order, step, point, inputs))


class DaskGrid:
    """Implements :class:`grids.Library`."""

    def __init__(self) -> None:
        self._cluster = LocalCluster(
            n_workers=grids.WORKERS, threads_per_worker=1, dashboard_address=None, silence_logs=50
        )
        self._client = Client(self._cluster)

    def run(self, order: grids.Order) -> list[grids.Output]:
        """Submit everything, and gather what nobody else needs."""
        wanted: list[Any] = []
        before: list[Any] = []
        for step in range(order[2]):
            before = [
                self._client.submit(
                    _task, order, step, point, [before[need] for need in needs], pure=False
                )
                for point, needs in grids.places(order, step)
            ]
            wanted = wanted + before if order[0] == "trivial" else before
        outputs: list[grids.Output] = self._client.gather(wanted)
        return outputs

    def close(self) -> None:
        """Close the client and the cluster."""
        self._client.close()
        self._cluster.close()


if __name__ == "__main__":
    grids.serve(DaskGrid)
