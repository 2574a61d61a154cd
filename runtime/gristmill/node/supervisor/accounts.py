"""The accounting of a node's workers, living and dead, as the supervisor process collects it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gristmill.metrics import WorkerSnapshot
from gristmill.metrics.snapshot import merge
from gristmill.node.supervisor.workers.slots import Slot

_Process = tuple[int, int]
"""A worker's address and its incarnation."""


class Accounts:
    """What every worker has done, living or dead, and who waits for new figures."""

    def __init__(self) -> None:
        self._final: list[WorkerSnapshot] = []
        """Of the dead incarnations, those of one worker added up, so that it does not grow."""
        self._latest: dict[_Process, WorkerSnapshot] = {}
        self._waiting: list[tuple[set[_Process], Callable[[list[WorkerSnapshot]], None]]] = []

    def update(self, slot: Slot, snapshot: WorkerSnapshot) -> None:
        """A worker has reported."""
        self._latest[slot.address, slot.incarnation] = snapshot
        self._heard(slot)

    def close(self, slot: Slot, pid: int, page: dict[str, int] | None) -> None:
        """A worker has died: keep what it last said, or the page that it left if that is newer."""
        latest = self._latest.pop((slot.address, slot.incarnation), None)
        if page is not None and (latest is None or page["last"] - page["start"] > latest.wall_ns):
            types, sent = (latest.types, latest.sent) if latest is not None else ((), ())
            latest = WorkerSnapshot.of_page(slot.name, pid, "worker", page, types=types, sent=sent)
        if latest is not None:
            self._final = merge([*self._final, latest])
        self._heard(slot)

    def collect(
        self, workers: Iterable[Slot], done: Callable[[list[WorkerSnapshot]], None]
    ) -> Callable[[], None]:
        """Call ``done`` once all these workers have reported, or died.

        Gives a function that has it done at once with what there is.
        """
        asked = {(slot.address, slot.incarnation) for slot in workers}
        request = (asked, done)
        self._waiting.append(request)

        def finish() -> None:
            if request in self._waiting:
                self._waiting.remove(request)
                done([*self._final, *self._latest.values()])

        if not asked:
            finish()
        return finish

    def _heard(self, slot: Slot) -> None:
        for request in list(self._waiting):
            asked, done = request
            asked.discard((slot.address, slot.incarnation))
            if not asked:
                self._waiting.remove(request)
                done([*self._final, *self._latest.values()])
