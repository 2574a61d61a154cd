"""``Families``: the children that actors have spawned, and when they end.

An actor's children stand under a dynamic supervisor of its own. Those supervisors stand together
under one at the head of the tree, which is made when it is first needed and stops last, so that
no restart of other actors touches them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gristmill.errors import ActorNotFoundError
from gristmill.supervision import (
    Action,
    ExitReason,
    Restart,
    Strategy,
    SupervisionTree,
    SupervisorSpec,
)
from gristmill.transport.control import Parent

_HEAD = "gristmill-children"
_MAX_RESTARTS = 3


@dataclass(slots=True)
class _Family:
    """The children of one actor."""

    parent: int
    supervisor: int
    """The key of their supervisor in the tree."""
    kept: bool
    """Whether they outlive restarts of the parent."""
    ending: ExitReason | None = None
    """Why their parent has ended, and they with it."""


class Families:
    """Makes and stops the supervisors of actors' children.

    Args:
        tree: the node's tree.
        act: carries out the tree's actions.
        now: gives monotonic seconds.
    """

    def __init__(
        self,
        tree: SupervisionTree,
        act: Callable[[list[Action]], None],
        now: Callable[[], float],
    ) -> None:
        self._tree = tree
        self._act = act
        self._now = now
        self._head = 0
        self._families: dict[int, _Family] = {}
        self._of_child: dict[int, _Family] = {}
        self._then: dict[int, Callable[[], None]] = {}
        """What is to be done after an operation of the tree."""

    def supervisor_for(self, parent: Parent) -> int:
        """Give the key of the supervisor of an actor's children, made when first wanted."""
        supervisor = self.supervisor_of(parent.key)
        if not supervisor:
            own = self._tree.path_of(parent.key).rpartition("/")[2]
            spec = SupervisorSpec(
                f"{own}#{parent.key}",
                strategy=Strategy.DYNAMIC,
                restart=Restart.TEMPORARY,
                max_restarts=_MAX_RESTARTS,
            )
            added = self._tree.add_child(self._head_of_tree(), spec, self._now())
            supervisor = added.key
            self._families[parent.key] = _Family(parent.key, supervisor, parent.keeps_children)
            self._act(added.actions)
        return supervisor

    def _head_of_tree(self) -> int:
        if not self._tree.knows(self._head):
            spec = SupervisorSpec(_HEAD, strategy=Strategy.DYNAMIC)
            added = self._tree.add_child(self._tree.root, spec, self._now(), ahead=True)
            self._head = added.key
            self._act(added.actions)
        return self._head

    def supervisor_of(self, parent: int) -> int:
        """Give the key of the supervisor of an actor's children; 0 if it has had none."""
        family = self._families.get(parent)
        if family is None or not self._tree.knows(family.supervisor):
            return 0
        return family.supervisor

    def joined(self, parent: int, children: list[int]) -> None:
        """Actors are going to be started under a supervisor that was given for their parent."""
        self._of_child.update(dict.fromkeys(children, self._families[parent]))

    def has(self, parent: int) -> bool:
        """Tell whether an actor has children that end with its incarnation."""
        family = self._families.get(parent)
        return family is not None and not family.kept

    def end(self, parent: int, reason: ExitReason, then: Callable[[], None]) -> None:
        """Stop an actor's children, because it has ended, and call ``then`` when they are gone."""
        family = self._families.pop(parent, None)
        if family is None:
            then()
            return
        family.ending = reason
        try:
            accepted = self._tree.terminate_child(family.supervisor, self._now())
        except ActorNotFoundError:  # it has given up, or ends with the whole tree
            then()
            return
        self._then[accepted.operation] = then
        self._act(accepted.actions)

    def completed(self, operation: int) -> bool:
        """An operation of the tree has ended; tell whether it was one of these."""
        then = self._then.pop(operation, None)
        if then is not None:
            then()
        return then is not None

    def reason_for(self, child: int, reason: ExitReason) -> ExitReason:
        """Give why an actor is stopped: for the reason of its parent, if that has ended."""
        family = self._of_child.get(child)
        return family.ending if family is not None and family.ending is not None else reason

    def ends_with_parent(self, child: int, reason: ExitReason) -> bool:
        """Tell whether an actor has ended for the reason of its parent."""
        family = self._of_child.get(child)
        return family is not None and family.ending is not None and family.ending == reason

    def left(self, child: int) -> int:
        """An actor is forgotten; give the parent whose supervisor has given up with it, or 0."""
        family = self._of_child.pop(child, None)
        if family is None or family.ending is not None or self._tree.knows(family.supervisor):
            return 0
        if self._families.get(family.parent) is not family:
            return 0
        del self._families[family.parent]
        return family.parent
