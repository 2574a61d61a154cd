"""``Administration``: what is asked of the supervisors of the tree about their children."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from gristmill.errors import ActorNotFoundError, GristmillError
from gristmill.node.supervisor.actors.families import Families
from gristmill.node.supervisor.actors.spawning import why_not_started
from gristmill.node.supervisor.roster import Roster
from gristmill.ref import Address
from gristmill.supervision import (
    Action,
    ChildCounts,
    ChildNotFoundError,
    Started,
    SupervisionTree,
)
from gristmill.transport import child_operations as o

_NONE = ChildCounts(0, 0, 0, 0)


class Driver(Protocol):
    """The part of the core that carries out what follows."""

    def act(self, actions: list[Action]) -> None:
        """Carry out the tree's actions."""

    def settle(self, keys: list[int]) -> None:
        """Forget the actors that the tree will not start again."""


class Administration:
    """Carries out operations on children.

    Args:
        driver: the core.
        tree: the node's tree.
        roster: who is where.
        families: the children of actors.
        address_of: gives the address under which an actor is known.
        now: gives monotonic seconds.
    """

    def __init__(
        self,
        driver: Driver,
        tree: SupervisionTree,
        roster: Roster,
        families: Families,
        address_of: Callable[[int], Address],
        now: Callable[[], float],
    ) -> None:
        self._driver = driver
        self._tree = tree
        self._roster = roster
        self._families = families
        self._address_of = address_of
        self._now = now
        self._open: dict[int, Callable[[object], None]] = {}
        """Who is told what became of an operation of the tree."""

    def begin(
        self,
        operation: o.ChildOperation,
        answer: Callable[[object], None],
        refuse: Callable[[GristmillError], None],
    ) -> None:
        """Begin an operation; ``answer`` or ``refuse`` is called once.

        Raises:
            GristmillError: it can't be done, said at once.
        """
        supervisor = self._supervisor(operation.supervisor)
        match operation:
            case o.WhichChildren():
                answer(self._rows(supervisor))
            case o.CountChildren():
                answer(self._tree.count_children(supervisor) if supervisor else _NONE)
            case o.TerminateChild(_, child):
                self._terminate(self._child(supervisor, child), partial(answer, None))
            case o.RestartChild(_, child):
                self._restart(self._child(supervisor, child), answer, refuse)
            case o.DeleteChild(_, child):
                self._tree.delete_child(self._child(supervisor, child))
                answer(None)

    def completed(self, operation: int, outcome: object) -> bool:
        """An operation of the tree has ended; tell whether it was one of these."""
        done = self._open.pop(operation, None)
        if done is not None:
            done(outcome)
        return done is not None

    def _supervisor(self, asked: str | o.Incarnation) -> int:
        """Give the key of a supervisor; 0 of an actor that has had no children yet."""
        if isinstance(asked, str):
            return self._tree.supervisor_at(asked)
        record = self._roster.actors.get(asked.key)
        if record is None or not record.alive or record.incarnation != asked.number:
            raise ActorNotFoundError("the actor that asks about its children has ended")
        return self._families.supervisor_of(asked.key)

    def _child(self, supervisor: int, child: str | int) -> int:
        if not supervisor:
            raise ChildNotFoundError(f"the actor has no children, so none is {child!r}")
        return self._tree.child_of(supervisor, child)

    def _rows(self, supervisor: int) -> list[o.ChildRow]:
        if not supervisor:
            return []
        path = self._tree.path_of(supervisor)
        return [
            o.ChildRow(
                info,
                f"{path}/{info.id}",
                self._address_of(info.key) if info.key in self._roster.actors else None,
            )
            for info in self._tree.which_children(supervisor)
        ]

    def _terminate(self, key: int, done: Callable[[], None]) -> None:
        below = self._tree.actors_below(key)

        def stopped(_outcome: object) -> None:
            self._driver.settle(below)
            done()

        accepted = self._tree.terminate_child(key, self._now())
        self._open[accepted.operation] = stopped
        self._driver.act(accepted.actions)

    def _restart(
        self,
        key: int,
        answer: Callable[[object], None],
        refuse: Callable[[GristmillError], None],
    ) -> None:
        path = self._tree.path_of(key)

        def started(outcome: object) -> None:
            below = self._tree.actors_below(key)
            if isinstance(outcome, Started):
                answer([self._address_of(k) for k in below if k in self._roster.actors])
            else:
                refuse(why_not_started(path, outcome))
            self._driver.settle(below)

        accepted = self._tree.restart_child(key, self._now())
        self._open[accepted.operation] = started
        self._driver.act(accepted.actions)
