"""The part of a context that binds an actor to others: monitors, links, children."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from gristmill.behaviours.children import Child
from gristmill.behaviours.links import MonitorRef
from gristmill.facets.specs import FacetSpec
from gristmill.ref import AnyRef, Mailbox, Ref
from gristmill.supervision import Backoff, ChildCounts, ExitReason, Restart, ShutdownPolicy

A = TypeVar("A")


class BondHost(Protocol):
    """What the worker provides to this part of the context of one actor."""

    def monitor(self, to: AnyRef) -> MonitorRef:
        """Watch an actor."""

    def demonitor(self, monitor: MonitorRef, *, flush: bool) -> None:
        """Watch no longer."""

    def link(self, to: AnyRef) -> None:
        """Link to an actor."""

    def unlink(self, to: AnyRef) -> None:
        """Break a link."""

    def send_exit(self, to: AnyRef, reason: ExitReason) -> None:
        """Send an exit signal."""

    async def spawn(
        self,
        kind: type[A],
        args: Sequence[Any],
        kwargs: Mapping[str, Any] | None,
        child: Mapping[str, Any],
        actor: Mapping[str, Any],
    ) -> Ref[A]:
        """Start a child."""

    async def terminate_child(self, child: str | AnyRef) -> None:
        """Stop a child."""

    async def which_children(self) -> list[Child]:
        """List the children."""

    async def count_children(self) -> ChildCounts:
        """Count the children."""


class Bonding:
    """Monitors, links and children; :class:`Context` has what is in here."""

    __slots__ = ()

    _host: BondHost

    def monitor(self, ref: AnyRef) -> MonitorRef:
        """Watch an actor: when its present incarnation ends, a :class:`Down` comes, once.

        It comes behind all that the other one sent before its end. If there is no incarnation, it
        comes at once with ``NoProc()``. The monitor ends with the watcher's incarnation.

        Returns:
            What :meth:`demonitor` takes; the ``Down`` carries it too.
        """
        return self._host.monitor(ref)

    def demonitor(self, monitor: MonitorRef, *, flush: bool = True) -> None:
        """End a monitor; one that is over, or another actor's, is left as it is.

        Args:
            monitor: what :meth:`monitor` gave.
            flush: also take its ``Down`` out of the mailbox, if that came already.
        """
        self._host.demonitor(monitor, flush=flush)

    def link(self, ref: AnyRef) -> None:
        """Link this actor and another one: when one of them ends, the other gets an exit signal.

        A signal other than ``Normal()`` ends its receiver with the same reason, behind what waits
        in its mailbox; a handler that waits is cut short. With ``trap_exits = True`` on the class
        it comes as an :class:`Exited` message instead. There is one link between two actors,
        whoever made it. A link to nobody gives the signal ``NoProc()``.
        """
        self._host.link(ref)

    def unlink(self, ref: AnyRef) -> None:
        """Break the link to another actor, whoever made it; no signal comes of it any more."""
        self._host.unlink(ref)

    def exit(self, ref: AnyRef, reason: ExitReason) -> None:
        """Send an exit signal to another actor, as if a linked one had ended with ``reason``.

        ``Killed(9)`` ends it at once, also if it traps exits, and without its ``terminate``.
        """
        self._host.send_exit(ref, reason)

    async def spawn(
        self,
        kind: type[A],
        args: Sequence[Any] = (),
        *,
        kwargs: Mapping[str, Any] | None = None,
        name: str = "",
        restart: Restart | str = Restart.PERMANENT,
        shutdown: ShutdownPolicy = 5.0,
        backoff: Backoff | None = None,
        mailbox: Mailbox | None = None,
        facets: Iterable[FacetSpec] | None = None,
        placement: str = "any",
        on_restart: str = "keep",
        start_timeout: float | None = None,
    ) -> Ref[A]:
        """Start a child of this actor, on any worker, and wait until it has started.

        It goes under a dynamic supervisor of this actor's own, which restarts it (3 times in 5 s;
        then this actor ends too), and stops it when this actor ends, before that is restarted. A
        class with ``keep_children = True`` keeps its children when it restarts.

        Args:
            kind: its class, importable by the workers.
            args: positional arguments of its constructor.
            kwargs: keyword arguments of its constructor.
            name: a name to register.
            restart: ``"permanent"``, ``"transient"`` or ``"temporary"``.
            shutdown: seconds that it gets to stop, ``"brutal_kill"`` or ``"infinity"``.
            backoff: delays before restarts.
            mailbox: its bound; the class's own if None.
            facets: what it starts with; the class's own if None.
            placement: ``"any"``, ``"io"``, ``"dedicated"`` or a worker's name.
            on_restart: ``"keep"`` or ``"drop"`` what waits in the mailbox at a restart.
            start_timeout: seconds that each of its starts may take; None for any.

        Raises:
            StartFailedError: its constructor or ``on_start`` raised; carries the traceback.
            StartTimeoutError: it did not start in ``start_timeout``.
            Ignore: it chose not to run.
            AlreadyStartedError: the name is taken.
        """
        child = {"restart": restart, "shutdown": shutdown, "backoff": backoff}
        actor = {
            "name": name,
            "mailbox": mailbox,
            "facets": facets,
            "placement": placement,
            "on_restart": on_restart,
            "start_timeout": start_timeout,
        }
        return await self._host.spawn(kind, args, kwargs, child, actor)

    async def terminate_child(self, child: str | AnyRef) -> None:
        """Stop a child of this actor, and wait until it is down; it is forgotten then.

        Args:
            child: its ref, or its id: the name that it was given.

        Raises:
            ChildNotFoundError: this actor has no such child.
        """
        await self._host.terminate_child(child)

    async def which_children(self) -> list[Child]:
        """List the children of this actor, the newest first."""
        return await self._host.which_children()

    async def count_children(self) -> ChildCounts:
        """Count the children of this actor; ``active`` are those that run."""
        return await self._host.count_children()
