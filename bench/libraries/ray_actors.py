"""The jobs on Ray's actors."""

from __future__ import annotations

import tempfile

import jobs
import ray  # type: ignore[import-not-found]  # lives in an environment of its own
from ray.util import ActorPool  # type: ignore[import-not-found]  # the same


class Echo:
    """Does the jobs."""

    def __init__(self) -> None:
        self._notes = 0

    def follow(self, number: int) -> int:
        """Answer."""
        return jobs.follow(number)

    def note(self, number: int) -> None:
        """Count."""
        self._notes += 1

    def noted(self) -> int:
        """Give the count and begin anew."""
        notes, self._notes = self._notes, 0
        return notes

    def compute(self, steps: int) -> int:
        """Answer."""
        return jobs.compute(steps)

    def touch(self, array: jobs.Array) -> float:
        """Answer."""
        return jobs.touch(array)

    def pid(self) -> int:
        """Answer."""
        return jobs.pid(0)


class RayActors:
    """Implements :class:`jobs.Peer`."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)
        ray.init(
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            _temp_dir=self._folder.name,
        )
        self._actor = ray.remote(Echo).options(max_restarts=-1).remote()
        self._pool = ActorPool([ray.remote(Echo).remote() for _ in range(2)])

    def call(self, count: int) -> int:
        """Call and get."""
        return sum(ray.get(self._actor.follow.remote(i)) for i in range(count))

    def pipeline(self, count: int) -> int:
        """Call, and get when enough are open."""
        total = 0
        for start in range(0, count, jobs.WINDOW):
            numbers = range(start, min(count, start + jobs.WINDOW))
            total += sum(ray.get([self._actor.follow.remote(i) for i in numbers]))
        return total

    def spread(self, steps: list[int]) -> int:
        """Map over a pool of actors."""
        return sum(self._pool.map(lambda actor, each: actor.compute.remote(each), steps))

    def tell(self, count: int) -> int | None:
        """Call, and forget the reference."""
        for i in range(count):
            self._actor.note.remote(i)
        return int(ray.get(self._actor.noted.remote()))

    def send(self, array: jobs.Array) -> float:
        """Call with an array, which Ray puts into its object store."""
        return float(ray.get(self._actor.touch.remote(array)))

    def worker(self) -> int:
        """Call."""
        return int(ray.get(self._actor.pid.remote()))

    def revive(self) -> None:
        """Nothing: Ray restarts the actor."""

    def close(self) -> None:
        """Shut down; its logs go with it."""
        ray.shutdown()
        self._folder.cleanup()


if __name__ == "__main__":
    jobs.serve(RayActors)
