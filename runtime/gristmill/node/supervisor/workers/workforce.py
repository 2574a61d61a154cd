"""``Workforce``: workers that join and leave a running node."""

from __future__ import annotations

from collections.abc import Callable

from gristmill.errors import UsageError
from gristmill.node.supervisor.actors.groups import Groups
from gristmill.node.supervisor.roster import Roster
from gristmill.node.supervisor.run import Run
from gristmill.node.supervisor.workers.slots import Slot
from gristmill.node.supervisor.workers.workers import Workers


class Workforce:
    """Adds workers to the slots, and removes those whose actors can all move.

    Args:
        run: says whether workers can be added.
        workers: starts them and ends them.
        roster: who is where.
        groups: whose actors move.
    """

    def __init__(self, run: Run, workers: Workers, roster: Roster, groups: Groups) -> None:
        self._run = run
        self._workers = workers
        self._roster = roster
        self._groups = groups
        self._coming: dict[int, _Arrival] = {}
        self._leaving: dict[int, Callable[[], None]] = {}

    def add(self, count: int, done: Callable[[list[str]], None]) -> None:
        """Start more workers; ``done`` gets their names when all are ready.

        Raises:
            UsageError: the count is under 1, or the node is stopping.
        """
        if count < 1:
            raise UsageError(f"add_workers({count}): write a whole number from 1 on")
        if not self._run.accepts_actors:
            raise UsageError("the node is stopping and starts no more workers")
        slots = [self._roster.slots.add() for _ in range(count)]
        arrival = _Arrival({slot.address for slot in slots}, [slot.name for slot in slots], done)
        for slot in slots:
            self._coming[slot.address] = arrival
            self._workers.fork(slot)

    def ready(self, slot: Slot) -> None:
        """A worker is up; when it is the last of those that were added, they join."""
        arrival = self._coming.pop(slot.address, None)
        if arrival is None:
            return
        arrival.left.discard(slot.address)
        if not arrival.left:
            for name in arrival.names:
                joined = self._roster.slots.named(name)
                if joined is not None:
                    joined.shared = True
            self._groups.workers_changed()
            arrival.done(arrival.names)

    def remove(self, name: str, done: Callable[[], None]) -> None:
        """Let the keyed actors of a worker move, then end it; ``done`` is called at its end.

        Raises:
            UsageError: there is no such worker, it is the last one, or others live there.
        """
        slots = self._roster.slots
        slot = slots.named(name)
        shared = [each.name for each in slots.all() if each.shared]
        if slot is None or not slot.shared:
            raise UsageError(f"{name!r} is no worker that can be removed; {', '.join(shared)} are")
        if len(shared) == 1:
            raise UsageError(f"{name} is the last worker; stop the node instead")
        rooted = [key for key in sorted(slot.keys) if not self._roster.actors[key].spec.key]
        if rooted:
            some = ", ".join(self._roster.label(key) for key in rooted[:5])
            more = f" and {len(rooted) - 5} more" if len(rooted) > 5 else ""
            raise UsageError(
                f"{name} hosts actors that can't move: {some}{more}; stop them first. Keyed actors "
                "move by themselves"
            )
        slot.shared = False
        slot.draining = True
        self._leaving[slot.address] = done
        self._groups.workers_changed()
        self.emptied(slot)

    def emptied(self, slot: Slot) -> None:
        """An actor has left a slot: if nobody is left who must be, its worker ends."""
        if slot.draining and not slot.keys and not slot.leaving:
            self._workers.dismiss(slot)

    def gone(self, slot: Slot) -> None:
        """A slot was given up."""
        done = self._leaving.pop(slot.address, None)
        if done is not None:
            done()


class _Arrival:
    """Workers that were asked for together."""

    def __init__(self, left: set[int], names: list[str], done: Callable[[list[str]], None]) -> None:
        self.left = left
        self.names = names
        self.done = done
