"""The grid on Ray: a reference a task, which the next tasks get as their inputs."""

from __future__ import annotations

import tempfile
from typing import Any

import grids
import ray  # type: ignore[import-not-found]  # lives in an environment of its own


def _task(order: grids.Order, step: int, point: int, *inputs: grids.Output) -> grids.Output:
    return grids.task((order, step, point, list(inputs)))


class RayGrid:
    """Implements :class:`grids.Library`."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)
        ray.init(
            num_cpus=grids.WORKERS,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            _temp_dir=self._folder.name,
        )
        self._task = ray.remote(_task)

    def run(self, order: grids.Order) -> list[grids.Output]:
        """Call everything, and get what nobody else needs."""
        wanted: list[Any] = []
        before: list[Any] = []
        for step in range(order[2]):
            before = [
                self._task.remote(order, step, point, *(before[need] for need in needs))
                for point, needs in grids.places(order, step)
            ]
            wanted = wanted + before if order[0] == "trivial" else before
        outputs: list[grids.Output] = ray.get(wanted)
        return outputs

    def close(self) -> None:
        """Shut down; its logs go with it."""
        ray.shutdown()
        self._folder.cleanup()


if __name__ == "__main__":
    grids.serve(RayGrid)
