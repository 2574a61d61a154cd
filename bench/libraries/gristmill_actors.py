"""The jobs on gristmill's actors."""

from __future__ import annotations

import jobs
import numpy as np

from gristmill import Actor, Command, Node, Request, handles


class Follow(Request[int]):
    """Which number follows?"""

    number: int


class Note(Command):
    """Count this."""

    number: int


class Noted(Request[int]):
    """How many notes were handled since the last time?"""


class Touch(Request[float]):
    """What does :func:`jobs.touch` give?"""

    array: np.ndarray[tuple[int], np.dtype[np.float64]]


class Compute(Request[int]):
    """What does :func:`jobs.compute` give?"""

    steps: int


class Pid(Request[int]):
    """Which process are you in?"""


class Echo(Actor):
    """Does the jobs."""

    def __init__(self) -> None:
        self._notes = 0

    @handles
    def follow(self, msg: Follow) -> int:
        """Answer."""
        return jobs.follow(msg.number)

    @handles
    def note(self, msg: Note) -> None:
        """Count."""
        self._notes += 1

    @handles
    def noted(self, msg: Noted) -> int:
        """Give the count and begin anew."""
        notes, self._notes = self._notes, 0
        return notes

    @handles
    def touch(self, msg: Touch) -> float:
        """Answer."""
        return jobs.touch(msg.array)

    @handles
    def compute(self, msg: Compute) -> int:
        """Answer."""
        return jobs.compute(msg.steps)

    @handles
    def pid(self, msg: Pid) -> int:
        """Answer."""
        return jobs.pid(0)


class GristmillActors:
    """Implements :class:`jobs.Peer`."""

    def __init__(self) -> None:
        self._node = Node(workers=2).start()
        self._ref = self._node.spawn(Echo)
        self._pool = self._node.pool(Echo, 2)

    def call(self, count: int) -> int:
        """Ask."""
        return sum(self._ref.ask(Follow(i)) for i in range(count))

    def pipeline(self, count: int) -> int:
        """Ask many."""
        return sum(self._ref.ask_many((Follow(i) for i in range(count)), window=jobs.WINDOW))

    def spread(self, steps: list[int]) -> int:
        """Ask a pool many."""
        return sum(self._pool.ask_many(map(Compute, steps)))

    def tell(self, count: int) -> int | None:
        """Tell."""
        for i in range(count):
            self._ref.tell(Note(i))
        return self._ref.ask(Noted(), timeout=60.0)

    def send(self, array: jobs.Array) -> float:
        """Ask with an array."""
        return self._ref.ask(Touch(array))

    def worker(self) -> int:
        """Ask."""
        return self._ref.ask(Pid())

    def revive(self) -> None:
        """Nothing: the supervisor restarts it, and the ref stays good."""

    def close(self) -> None:
        """Stop the node."""
        self._node.stop()


if __name__ == "__main__":
    jobs.serve(GristmillActors)
