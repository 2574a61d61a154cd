"""The grid on joblib."""

from __future__ import annotations

import grids
from joblib import (  # type: ignore[import-not-found]  # lives in an environment of its own
    Parallel,
    delayed,
)


class JoblibGrid:
    """Implements :class:`grids.Library`."""

    def __init__(self) -> None:
        self._parallel = Parallel(grids.WORKERS)
        self._parallel.__enter__()

    def run(self, order: grids.Order) -> list[grids.Output]:
        """Map each step, in the batches that joblib chooses."""
        return grids.by_steps(
            order, lambda calls: list(self._parallel(delayed(grids.task)(call) for call in calls))
        )

    def close(self) -> None:
        """Leave."""
        self._parallel.__exit__(None, None, None)


if __name__ == "__main__":
    grids.serve(JoblibGrid)
