"""``ActorBuilder``: the fluent way to say what one actor is; a value, like ``NodeBuilder``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from gristmill.behaviours.actor import Actor
from gristmill.errors import UsageError
from gristmill.facets.specs import FacetSpec
from gristmill.node.node import Node
from gristmill.node.specs import WITHOUT_NODE
from gristmill.ref import Mailbox, OverflowPolicy, Ref
from gristmill.supervision import Backoff, ChildSpec, Restart, ShutdownPolicy
from gristmill.worker.specs import actor_spec, child_spec

A = TypeVar("A", bound=Actor)


@dataclass(frozen=True)
class ActorBuilder(Generic[A]):
    """Says how to make one actor; :meth:`spawn` makes it, or it becomes part of a tree.

    Args:
        kind: the actor's class, importable by the workers.
    """

    kind: type[A]
    _actor: Mapping[str, Any] = field(default_factory=dict)
    _child: Mapping[str, Any] = field(default_factory=dict)

    def args(self, *values: object) -> ActorBuilder[A]:
        """Set the positional arguments of its constructor."""
        return self._for_actor(args=values)

    def kwargs(self, **values: object) -> ActorBuilder[A]:
        """Set the keyword arguments of its constructor."""
        return self._for_actor(kwargs=values)

    def name(self, name: str) -> ActorBuilder[A]:
        """Set the name to register; one living actor has it at a time."""
        return self._for_actor(name=name)

    def mailbox(
        self, capacity: int, overflow: OverflowPolicy | str = OverflowPolicy.WAIT
    ) -> ActorBuilder[A]:
        """Bound the mailbox, instead of the class's own bound.

        Raises:
            UsageError: the capacity is under 1, or the policy is unknown.
        """
        try:
            policy = OverflowPolicy(overflow)
        except ValueError:
            known = ", ".join(OverflowPolicy)
            raise UsageError(f"overflow is {overflow!r}; write one of: {known}") from None
        if capacity < 1:
            raise UsageError(f"a mailbox has a capacity of 1 or more, not {capacity}")
        return self._for_actor(mailbox=Mailbox(capacity, policy))

    def facet(self, *facets: FacetSpec) -> ActorBuilder[A]:
        """Attach facets, besides those of the class and those attached before."""
        return self._for_actor(facets=(*self._actor.get("facets", self.kind.facets), *facets))

    def placement(self, placement: str) -> ActorBuilder[A]:
        """Say where it lives: ``"any"``, ``"io"``, ``"dedicated"`` or a worker's name."""
        return self._for_actor(placement=placement)

    def start_timeout(self, seconds: float) -> ActorBuilder[A]:
        """Bound the seconds that each of its starts may take."""
        return self._for_actor(start_timeout=seconds)

    def on_restart(self, what: str) -> ActorBuilder[A]:
        """``"keep"`` or ``"drop"`` what waits in the mailbox when it is restarted."""
        return self._for_actor(on_restart=what)

    def time_limit(self, seconds: float) -> ActorBuilder[A]:
        """Kill its worker when a handler takes longer; needs the placement ``"dedicated"``."""
        return self._for_actor(time_limit=seconds)

    def restart(self, restart: Restart | str) -> ActorBuilder[A]:
        """Say when it is restarted: ``"permanent"``, ``"transient"`` or ``"temporary"``."""
        return self._for_child(restart=restart)

    def shutdown(self, shutdown: ShutdownPolicy) -> ActorBuilder[A]:
        """Give it seconds to stop, or ``"brutal_kill"`` or ``"infinity"``."""
        return self._for_child(shutdown=shutdown)

    def backoff(
        self,
        minimum: float,
        maximum: float,
        *,
        jitter: float = 0.2,
        reset_after: float | None = None,
    ) -> ActorBuilder[A]:
        """Delay restarts: from ``minimum`` seconds, doubled each time, up to ``maximum``.

        An actor that has run for ``reset_after`` seconds (None: ``maximum``) begins anew.
        """
        return self._for_child(backoff=Backoff(minimum, maximum, jitter, reset_after))

    def significant(self, significant: bool = True) -> ActorBuilder[A]:
        """Say that its end may end its supervisor, as that one's ``auto_shutdown`` says."""
        return self._for_child(significant=significant)

    def spawn(self, node: Node, *, supervisor: str = "") -> Ref[A]:
        """Start the actor on a running node, under a supervisor (by path; empty: the root).

        Raises:
            StartFailedError: its constructor or ``on_start`` raised.
            AlreadyStartedError: the name is taken.
        """
        return node.spawn(self.kind, supervisor=supervisor, **self._actor, **self._child)

    def child_spec(self, child_id: str = "") -> ChildSpec:
        """Describe the actor as a child of a supervisor.

        Args:
            child_id: its id under the supervisor; its name, else its class's name, if empty.

        Raises:
            ActorTypeError: no worker could import the class.
            UsageError: an option is unknown, or an argument can't travel.
        """
        spec = actor_spec(WITHOUT_NODE, self.kind, **self._actor)
        return child_spec(spec, child_id or spec.name or self.kind.__name__, **self._child)

    def _for_actor(self, **options: object) -> ActorBuilder[A]:
        return replace(self, _actor={**self._actor, **options})

    def _for_child(self, **options: object) -> ActorBuilder[A]:
        return replace(self, _child={**self._child, **options})
