"""The jobs on xoscar's actors."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

import jobs
import xoscar  # type: ignore[import-not-found]  # lives in an environment of its own
from xoscar.backends.allocate_strategy import (  # type: ignore[import-not-found]  # the same
    ProcessIndex,
)

T = TypeVar("T")


class Echo(xoscar.Actor):  # type: ignore[misc]  # its base has no types here
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


class XoscarActors:
    """Implements :class:`jobs.Peer`; each job is one run of the event loop."""

    def __init__(self) -> None:
        os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # its processes know no script
        self._loop = asyncio.new_event_loop()
        self._run(self._start())

    def _run(self, job: Awaitable[T]) -> T:
        return self._loop.run_until_complete(job)

    async def _start(self) -> None:
        self._pool = await xoscar.create_actor_pool("127.0.0.1", n_process=2)
        address = self._pool.external_address
        where = ProcessIndex(1)
        self._actor = await xoscar.create_actor(Echo, address=address, allocate_strategy=where)
        self._both = [
            await xoscar.create_actor(Echo, address=address, allocate_strategy=ProcessIndex(each))
            for each in (1, 2)
        ]

    def call(self, count: int) -> int:
        """Call and await."""

        async def job() -> int:
            return sum([await self._actor.follow(i) for i in range(count)])

        return self._run(job())

    def pipeline(self, count: int) -> int:
        """Gather as many calls as may be open."""

        async def job() -> int:
            total = 0
            for start in range(0, count, jobs.WINDOW):
                numbers = range(start, min(count, start + jobs.WINDOW))
                total += sum(await asyncio.gather(*map(self._actor.follow, numbers)))
            return total

        return self._run(job())

    def spread(self, steps: list[int]) -> int:
        """Let whichever of two actors is free take the next: there are no pools."""
        waiting = iter(steps)

        async def work(actor: xoscar.ActorRefType[Echo]) -> int:
            return sum([await actor.compute(each) for each in waiting])

        async def job() -> int:
            return sum(await asyncio.gather(*map(work, self._both)))

        return self._run(job())

    def tell(self, count: int) -> int | None:
        """Tell."""

        async def job() -> int:
            for i in range(count):
                await self._actor.note.tell(i)
            return int(await self._actor.noted())

        return self._run(job())

    def send(self, array: jobs.Array) -> float:
        """Call with an array."""
        return float(self._run(self._actor.touch(array)))

    def worker(self) -> int:
        """Call."""
        return int(self._run(asyncio.wait_for(self._actor.pid(), 5)))

    def revive(self) -> None:
        """Nothing but wait: it restarts the process and the actor."""
        self._run(asyncio.sleep(0.001))

    def close(self) -> None:
        """Stop the pool."""
        self._run(self._pool.stop())


if __name__ == "__main__":
    jobs.serve(XoscarActors)
