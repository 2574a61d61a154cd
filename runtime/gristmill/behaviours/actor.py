"""``Actor``: state plus handlers, one message at a time."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from gristmill.behaviours.context import Context
from gristmill.behaviours.on_failure import check_on_failure
from gristmill.behaviours.protocol import Protocol
from gristmill.channels.contract import Listen
from gristmill.errors import UsageError
from gristmill.facets.specs import FacetSpec
from gristmill.ref import Mailbox
from gristmill.supervision import ExitReason, FailurePolicy


class Actor:
    """The base of every actor; subclass it and mark handlers with ``@handles``.

    The protocol is checked when the class is created. An exception in a handler crashes the actor
    and its supervisor decides, unless ``on_failure`` says otherwise; ``raise Reject(...)`` refuses
    a message without crashing.
    """

    __protocol__: ClassVar[Protocol] = Protocol(object, {})

    mailbox: ClassVar[Mailbox] = Mailbox()
    """The bound of the mailbox; ``spawn`` can say otherwise."""
    facets: ClassVar[tuple[FacetSpec, ...]] = ()
    """The facets that the actor starts with; ``spawn`` can say otherwise."""
    channels: ClassVar[tuple[str | Listen, ...]] = ()
    """The channels that it subscribes to when it starts, by name or as
    ``Listen("orders", group="revenue")``."""
    time_limit: ClassVar[float | None] = None
    """Seconds that a handler may take before its worker is killed; ``spawn`` can say otherwise.
    It needs an actor with a worker of its own, and a node that runs in processes."""

    on_failure: ClassVar[Mapping[type[Exception], FailurePolicy]] = MappingProxyType({})
    """What becomes of the actor when a handler raises, by the exception's class or the nearest of
    its bases: :class:`~gristmill.FailurePolicy`. Any other exception crashes it."""
    trap_exits: ClassVar[bool] = False
    """Whether an exit signal comes as an :class:`Exited` message, instead of ending the actor."""
    keep_children: ClassVar[bool] = False
    """Whether the actors that it spawns outlive its restarts; they always end when it stops."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Check the protocol of the new class."""
        super().__init_subclass__(**options)
        cls.__protocol__ = Protocol.of(cls)
        check_on_failure(cls.__qualname__, cls.on_failure)

    def on_start(self, ctx: Context) -> Any:
        """Run after the constructor and the replay, before the first message; may be async."""

    def terminate(self, reason: ExitReason, ctx: Context) -> None:
        """Clean up: runs when the actor ends in order or by its own exception, never on a kill."""

    def before_restart(self, reason: ExitReason, ctx: Context) -> None:
        """Run in place of ``terminate`` when ``on_failure`` restarts the actor; calls that one."""
        self.terminate(reason, ctx)

    def __begin__(self, ctx: Context) -> Any:
        """Start; behaviours put their own part around ``on_start``."""
        return self.on_start(ctx)

    def __finish__(self, reason: ExitReason, ctx: Context, *, restarts: bool) -> None:
        """End; behaviours put their own part around ``terminate`` and ``before_restart``."""
        hook = self.before_restart if restarts else self.terminate
        hook(reason, ctx)

    def __state__(self) -> dict[str, Any]:
        """Give the state, as inspections see it: the attributes."""
        return dict(vars(self))

    def __set_state__(self, state: dict[str, Any]) -> None:
        """Put another state in the place of the present one."""
        vars(self).clear()
        vars(self).update(state)

    def apply(self, event: Any) -> None:
        """Change the state by a journaled event; pure. Durable actors define it."""
        raise UsageError(
            f"{type(self).__qualname__} is durable and can't apply {type(event).__qualname__}; "
            "define apply(self, event)"
        )

    def snapshot(self) -> Any:
        """Give the state that all events so far have made, as a Struct or plain data; pure.

        An actor with ``Durable(snapshot_every=...)`` defines it, and :meth:`restore`.
        """
        raise UsageError(f"{type(self).__qualname__} defines no snapshot(self)")

    def restore(self, state: Any) -> None:  # noqa: ARG002 - what snapshot gave; for others
        """Take the state of a snapshot, before the events after it are applied; pure."""
        raise UsageError(f"{type(self).__qualname__} defines no restore(self, state)")
