"""What an event manager is told and asked."""

from __future__ import annotations

from typing import Any

from gristmill.behaviours.event_handler import EventHandler, Removal
from gristmill.importing import import_path
from gristmill.messages import Event, Request
from gristmill.ref import AnyRef
from gristmill.supervision import ExitReason


class SyncNotify(Request[None]):
    """An event for the manager; answered when every handler has had it."""

    event: Any


class AddHandler(Request[None]):
    """Install a handler; make it with :func:`add_handler`. A taken id: ``already_exists``."""

    id: str
    handler: str
    """Import path of its class."""
    args: tuple[Any, ...] = ()
    supervised: bool = False
    """Whether it leaves when the actor that sends this ends, which is told when it leaves."""


class DeleteHandler(Request[Any]):
    """Remove a handler; answered by what its ``terminate`` gave. Unknown: ``not_found``."""

    id: str


class SwapHandler(Request[None]):
    """Put a handler in the place of another, which hands over what its ``terminate`` gives.

    Who supervised the old one supervises the new one, unless that is ``supervised`` anew.
    """

    old: str
    new: AddHandler


class CallHandler(Request[Any]):
    """Ask one handler; answered by its ``handle_call``."""

    id: str
    request: Any


class ListHandlers(Request[list[str]]):
    """The ids of the handlers, the newest first."""


class HandlerLeft(Event):
    """Told to the actor that supervises an event handler, when the handler has left."""

    manager: AnyRef
    id: str
    removal: Removal


class AdderExited(Event, internal=True):
    """The actor that supervises a handler has ended."""

    number: int
    """Of the supervision."""
    reason: ExitReason


def add_handler(
    handler_id: str, kind: type[EventHandler], *args: object, supervised: bool = False
) -> AddHandler:
    """Make the request that installs ``kind(*args)`` under ``handler_id``.

    Args:
        handler_id: what it is called in the manager.
        kind: its class, importable by the workers.
        args: of its constructor.
        supervised: only an actor can ask for it: the handler leaves when that actor's incarnation
            ends, and the actor gets a :class:`HandlerLeft` when the handler leaves.
    """
    return AddHandler(handler_id, import_path(kind), args, supervised)
