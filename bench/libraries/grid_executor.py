"""The grid on ``concurrent.futures.ProcessPoolExecutor``."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor

import grids


class ExecutorGrid:
    """Implements :class:`grids.Library`."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(grids.WORKERS)

    def run(self, order: grids.Order) -> list[grids.Output]:
        """Map each step, in chunks like those of ``multiprocessing.Pool``."""
        return grids.by_steps(
            order,
            lambda calls: list(self._pool.map(grids.task, calls, chunksize=grids.chunk(calls))),
        )

    def close(self) -> None:
        """Shut down."""
        self._pool.shutdown()


if __name__ == "__main__":
    grids.serve(ExecutorGrid)
