"""``SupervisorRef``: a supervisor of the tree, as a client administers it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack

from gristmill.behaviours.actor import Actor
from gristmill.behaviours.children import Child, listed, named
from gristmill.errors import AskTimeoutError, NodeConnectError
from gristmill.facets.specs import FacetSpec
from gristmill.ref import Address, AnyRef, Mailbox, Ref
from gristmill.supervision import Backoff, ChildCounts, Restart, ShutdownPolicy, SupervisorSpec
from gristmill.transport import child_operations as o
from gristmill.transport.control import Operation

if TYPE_CHECKING:
    from gristmill.node.client.connection import Connection
    from gristmill.node.running import RunningNode

A = TypeVar("A", bound=Actor)


class ChildOptions(TypedDict, total=False):
    """What else :meth:`RunningNode.spawn` takes."""

    kwargs: Mapping[str, Any] | None
    name: str
    restart: Restart | str
    shutdown: ShutdownPolicy
    backoff: Backoff | None
    significant: bool
    mailbox: Mailbox | None
    facets: Iterable[FacetSpec] | None
    placement: str
    on_restart: str
    start_timeout: float | None
    time_limit: float | None


class SupervisorRef:
    """A supervisor by its path: whichever stands there. Safe to use from any thread.

    A child is named by its ref or by its id: the name that it was given, or else one that was made
    up and that :meth:`which_children` shows. Every method raises ``SupervisorNotFoundError``, at
    once, when no supervisor runs there.

    Args:
        node: the node.
        connection: to it.
        path: where it stands, such as ``"services"`` or ``"root/services"``; empty: the root.
    """

    def __init__(self, node: RunningNode, connection: Connection, path: str) -> None:
        self._node = node
        self._connection = connection
        self.path = path
        """Where it stands."""

    def start_child(
        self, kind: type[A], *, args: Sequence[Any] = (), **options: Unpack[ChildOptions]
    ) -> Ref[A]:
        """Start an actor under it, behind its other children; see :meth:`RunningNode.spawn`.

        Raises:
            AlreadyStartedError: the name is taken, or the id is that of a child that runs.
            AlreadyPresentError: the id is that of a stopped child: restart or delete it.
            MaxChildrenError: a dynamic supervisor has as many children as it may have.
            StartFailedError: it could not start. Nothing of it is kept.
        """
        return self._node.spawn(kind, args=args, supervisor=self.path, **options)

    def start_supervisor(self, spec: SupervisorSpec) -> list[Ref[Any]]:
        """Start a supervisor with its children under it; see :meth:`RunningNode.start_supervisor`.

        Raises:
            GristmillError: what :meth:`start_child` raises.
        """
        return self._node.start_supervisor(spec, supervisor=self.path)

    def terminate_child(self, child: str | AnyRef, *, timeout: float | None = None) -> None:
        """Stop a child as its shutdown policy says, and wait until it is down.

        It is not restarted, and costs nothing of the restart intensity. It stays a child that is
        stopped, unless it is temporary or the supervisor dynamic. A child that is down already is
        left as it is; a restart that was due is not made.

        Args:
            child: its id or ref.
            timeout: seconds to wait for it; None for as long as it takes.

        Raises:
            ChildNotFoundError: it is no child of this supervisor.
            AskTimeoutError: it is not down yet. It still will be.
        """
        try:
            self._call(o.TerminateChild(self.path, named(child)), type(None), timeout)
        except NodeConnectError:
            raise AskTimeoutError(
                f"{child} did not stop within {timeout:g} s; it still will"
            ) from None

    def restart_child(self, child: str | AnyRef) -> list[Ref[Any]]:
        """Start a stopped child again, with the arguments that it was described with.

        If it can't start, it stays stopped. A ref to it is good again.

        Returns:
            Its ref; of a supervisor, the refs of the actors below it.

        Raises:
            ChildNotFoundError: it is no child of this supervisor.
            ChildRunningError: it runs.
            ChildRestartingError: it has failed and is going to be restarted anyway.
            StrategyError: the supervisor is dynamic, and keeps no stopped children.
            StartFailedError: it could not start; carries the traceback.
            AlreadyStartedError: another actor has its name by now.
            Ignore: it chose not to run.
        """
        found = self._call(o.RestartChild(self.path, named(child)), list[Address])
        post = self._connection.post
        return [Ref(address, post) for address in found]

    def delete_child(self, child: str | AnyRef) -> None:
        """Forget a stopped child: its id is free.

        Raises:
            ChildNotFoundError: it is no child of this supervisor.
            ChildRunningError: it runs; terminate it first.
            ChildRestartingError: it is going to be restarted; terminate it first.
            StrategyError: the supervisor is dynamic, and keeps no stopped children.
        """
        self._call(o.DeleteChild(self.path, named(child)), type(None))

    def which_children(self) -> list[Child]:
        """List its children, stopped ones too, the last in start order first."""
        rows = self._call(o.WhichChildren(self.path), list[o.ChildRow])
        return listed(rows, self._connection.post)

    def count_children(self) -> ChildCounts:
        """Count its children: all, those that run, supervisors, and actors."""
        counts: ChildCounts = self._call(o.CountChildren(self.path), ChildCounts)
        return counts

    def _call(self, operation: Operation, kind: Any, timeout: float | None = None) -> Any:  # noqa: ANN401 - as Connection.call
        return self._connection.call(operation, kind, timeout)

    def __repr__(self) -> str:
        return f"<SupervisorRef {self.path or 'root'}>"
