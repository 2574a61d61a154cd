"""The grid on ``multiprocessing.Pool``."""

from __future__ import annotations

from multiprocessing import Pool, Value

import grids


def _pin(turn: object) -> None:
    with turn.get_lock():  # type: ignore[attr-defined]  # a synchronized value
        core, turn.value = turn.value, turn.value + 1  # type: ignore[attr-defined]  # as above
    grids.pin(core)


class PoolGrid:
    """Implements :class:`grids.Library`."""

    def __init__(self) -> None:
        self._pool = Pool(grids.WORKERS, _pin, (Value("i", 0),))

    def run(self, order: grids.Order) -> list[grids.Output]:
        """Map each step, in the chunks that the pool chooses."""
        return grids.by_steps(order, lambda calls: self._pool.map(grids.task, calls))

    def close(self) -> None:
        """Terminate."""
        self._pool.terminate()


if __name__ == "__main__":
    grids.serve(PoolGrid)
