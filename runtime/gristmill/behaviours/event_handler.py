"""``EventHandler``: one handler of an event manager."""

from __future__ import annotations

import inspect
import typing
from enum import StrEnum
from typing import Any, ClassVar, get_args

import msgspec

from gristmill.behaviours.context import Context
from gristmill.errors import ErrorData, ProtocolError, Reject
from gristmill.messages import Command, Event
from gristmill.supervision import ExitReason


class RemovalCause(StrEnum):
    """Why an event handler leaves its manager."""

    DELETED = "deleted"
    ASKED = "asked"
    """It returned :data:`REMOVE`."""
    SWAPPED = "swapped"
    ERROR = "error"
    STOP = "stop"
    """Its manager ends, or the actor that has added it and supervises it."""


class Removal(msgspec.Struct, frozen=True):
    """What an event handler is told at its end."""

    cause: RemovalCause
    error: ErrorData | None = None
    """What it raised, when that is why."""
    reason: ExitReason | None = None
    """Why its manager or its adder has ended, when that is why."""


class Remove:
    """The type of :data:`REMOVE`."""

    __slots__ = ()


REMOVE = Remove()
"""What ``handle_event`` and ``handle_info`` return to be removed from the manager."""


class EventHandler:
    """One handler of an event manager, with a state of its own.

    The annotation of ``handle_event``'s event says which events it gets: one type or a union.
    What it raises removes it, and nothing else: the other handlers get the event all the same.
    """

    events: ClassVar[tuple[type[Event], ...]] = ()
    """The event types that it gets; read from ``handle_event``."""

    def __init_subclass__(cls) -> None:
        """Read the event types off ``handle_event``.

        Raises:
            ProtocolError: it is not annotated with event types, or is async.
        """
        super().__init_subclass__()
        if "handle_event" in vars(cls):
            cls.events = _events_of(cls)

    def init(self, previous: Any, ctx: Context) -> None:
        """Start. ``previous`` is what ``terminate`` of a swapped handler gave, else None."""

    def handle_event(self, event: Any, ctx: Context) -> Remove | None:
        """Take an event; give :data:`REMOVE` to leave."""
        raise NotImplementedError

    def handle_info(self, message: Command, ctx: Context) -> Remove | None:
        """Take a command that was told to the manager; one that it does not want is logged."""
        ctx.log.warning(
            "%s has no handle_info and drops %s",
            type(self).__qualname__,
            type(message).__qualname__,
        )
        return None

    def handle_call(self, request: Any, ctx: Context) -> Any:  # noqa: ARG002 - for those who override it
        """Answer a :class:`~gristmill.behaviours.gen_event.CallHandler`."""
        raise Reject(f"{type(self).__qualname__} answers no calls; define handle_call")

    def terminate(self, removal: Removal, ctx: Context) -> Any:
        """Clean up; the result goes to who deleted it, or to its successor in a swap."""


def _events_of(cls: type[EventHandler]) -> tuple[type[Event], ...]:
    where = f"{cls.__qualname__}.handle_event"
    function = cls.handle_event
    if inspect.iscoroutinefunction(function):
        raise ProtocolError(f"{where} is async; an event handler is a plain method")
    parameters = list(inspect.signature(function).parameters)
    if len(parameters) != 3:
        raise ProtocolError(f"{where} takes (self, event, ctx)")
    annotation = typing.get_type_hints(function).get(parameters[1])
    kinds = get_args(annotation) or (annotation,)
    if not all(isinstance(kind, type) and issubclass(kind, Event) for kind in kinds):
        raise ProtocolError(
            f"{where}: annotate {parameters[1]!r} with the event types that it gets"
        )
    return kinds
