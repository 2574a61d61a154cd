"""What can be asked of a tree: who is there, what each does, who may come back."""

from __future__ import annotations

from gristmill.errors import ActorNotFoundError
from gristmill.supervision.engine import Engine
from gristmill.supervision.members import Member, State, Supervisor
from gristmill.supervision.refusals import ChildNotFoundError, SupervisorNotFoundError
from gristmill.supervision.views import (
    ChildCounts,
    ChildInfo,
    Snapshot,
    children_of,
    counts_of,
    snapshot_of,
)


class TreeView:
    """The part of a :class:`~gristmill.supervision.tree.SupervisionTree` that changes nothing."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._root = engine.root

    @property
    def root(self) -> int:
        """The key of the root."""
        return self._root.key

    def child_of(self, supervisor: int, child: str | int) -> int:
        """Give the key of a child of a running supervisor, which is named by its id or key.

        Raises:
            SupervisorNotFoundError: there is none, or it does not run.
            ChildNotFoundError: it has no such child.
        """
        owner = self._running(supervisor)
        if isinstance(child, str):
            found = owner.children.get(child)
        else:
            found = self._engine.members.get(child)
        if found is None or found.parent is not owner:
            what = repr(child) if isinstance(child, str) else f"with key {child}"
            raise ChildNotFoundError(f"{owner.path} has no child {what}")
        return found.key

    def which_children(self, key: int) -> tuple[ChildInfo, ...]:
        """List the children of a running supervisor, the last in start order first.

        Raises:
            SupervisorNotFoundError: there is none, or it does not run.
        """
        return children_of(self._running(key))

    def count_children(self, key: int) -> ChildCounts:
        """Count the children of a running supervisor.

        Raises:
            SupervisorNotFoundError: there is none, or it does not run.
        """
        return counts_of(self._running(key))

    @property
    def running(self) -> bool:
        """Whether every static child has started, and the root has not begun to end."""
        return self._root.state is State.RUNNING

    def knows(self, key: int) -> bool:
        """Tell whether there is a member with this key, running or not."""
        return key in self._engine.members

    def is_expected(self, key: int) -> bool:
        """Tell whether a member runs or is going to be started again."""
        member = self._engine.members.get(key)
        if member is None:
            return False
        if member.alive or member.state is State.RESTARTING:
            return True
        above = member.parent
        if above is None or above.ending is not None:
            return False
        return member in above.to_start or member in above.to_stop

    def may_come_back(self, key: int) -> bool:
        """Tell whether a member can start again, by a restart of others or on request."""
        member = self._engine.members.get(key)
        if member is None or member.parent is None:
            return False
        return member.static or member.parent.keeps(member)

    def path_of(self, key: int) -> str:
        """Give the path of a member.

        Raises:
            ActorNotFoundError: there is none with this key.
        """
        return self._member(key).path

    def actors_below(self, key: int) -> list[int]:
        """Give the keys of the actors at and below a member, in start order."""
        member = self._engine.members.get(key)
        if isinstance(member, Supervisor):
            return [k for child in member.children.values() for k in self.actors_below(child.key)]
        return [] if member is None else [key]

    def snapshot(self, now: float) -> Snapshot:
        """Describe the whole tree."""
        return snapshot_of(self._root, now)

    def by_path(self, path: str) -> int:
        """Give the key of the member at a path such as ``root/services/payment``.

        Raises:
            ActorNotFoundError: there is nothing at that path.
        """
        first, *ids = path.split("/")
        member: Member | None = self._root if first == self._root.id else None
        for child_id in ids:
            member = member.children.get(child_id) if isinstance(member, Supervisor) else None
        if member is None:
            raise ActorNotFoundError(f"the tree has no member at {path!r}")
        return member.key

    def supervisor_at(self, path: str) -> int:
        """Give the key of the supervisor at a path; empty is the root, whose id may be left out.

        Raises:
            SupervisorNotFoundError: there is none, or it does not run.
        """
        root = self._root.id
        whole = path if path.partition("/")[0] == root else f"{root}/{path}".rstrip("/")
        try:
            key = self.by_path(whole)
        except ActorNotFoundError:
            raise SupervisorNotFoundError(f"the tree has no supervisor at {whole!r}") from None
        return self._running(key).key

    def _running(self, key: int) -> Supervisor:
        member = self._engine.members.get(key)
        if member is None:
            raise SupervisorNotFoundError(f"the tree has no supervisor with key {key}")
        if not isinstance(member, Supervisor):
            raise SupervisorNotFoundError(f"{member.path} is an actor and no supervisor")
        if member.doomed:
            raise SupervisorNotFoundError(
                f"supervisor {member.path} is {member.state}, not running"
            )
        return member

    def _member(self, key: int) -> Member:
        member = self._engine.members.get(key)
        if member is None:
            raise ActorNotFoundError(f"the tree has no member with key {key}")
        return member
