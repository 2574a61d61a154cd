"""The accounting of a node's workers, living and dead, as the supervisor process collects it."""

from __future__ import annotations

from collections.abc import Callable

from gristmill.metrics import WorkerSnapshot
from gristmill.node.slots import Slot


class Accounts:
    """The last snapshot of every incarnation of every worker, and who waits for new ones."""

    def __init__(self) -> None:
        self._final: list[WorkerSnapshot] = []
        self._latest: dict[int, WorkerSnapshot] = {}
        self._waiting: list[tuple[set[int], Callable[[list[WorkerSnapshot]], None]]] = []

    def update(self, address: int, snapshot: WorkerSnapshot) -> None:
        """A worker has reported."""
        self._latest[address] = snapshot
        self._heard(address)

    def close(self, slot: Slot, pid: int, page: dict[str, int] | None) -> None:
        """A worker has died: keep what it last said, or the page that it left if that is newer."""
        latest = self._latest.pop(slot.address, None)
        if page is not None and (latest is None or page["last"] - page["start"] > latest.wall_ns):
            types, sent = (latest.types, latest.sent) if latest is not None else ((), ())
            latest = WorkerSnapshot.of_page(slot.name, pid, "worker", page, types=types, sent=sent)
        if latest is not None:
            self._final.append(latest)
        self._heard(slot.address)

    def collect(
        self, addresses: set[int], done: Callable[[list[WorkerSnapshot]], None]
    ) -> Callable[[], None]:
        """Call ``done`` once all these workers have reported, or died.

        Gives a function that has it done at once with what there is.
        """
        request = (addresses, done)
        self._waiting.append(request)

        def finish() -> None:
            if request in self._waiting:
                self._waiting.remove(request)
                done([*self._final, *self._latest.values()])

        if not addresses:
            finish()
        return finish

    def _heard(self, address: int) -> None:
        for request in list(self._waiting):
            addresses, done = request
            addresses.discard(address)
            if not addresses:
                self._waiting.remove(request)
                done([*self._final, *self._latest.values()])
