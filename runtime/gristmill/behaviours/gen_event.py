"""``GenEvent``: an event manager, an actor with event handlers that come and go at run time."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, ClassVar, Union, get_args

import msgspec

from gristmill.behaviours.actor import Actor
from gristmill.behaviours.context import Context
from gristmill.behaviours.protocol import Handler, Protocol, handles
from gristmill.errors import ErrorData, ProtocolError, Reject
from gristmill.importing import import_path, resolve
from gristmill.messages import Event, Request
from gristmill.supervision import ExitReason


class RemovalCause(StrEnum):
    """Why an event handler leaves its manager."""

    DELETED = "deleted"
    ASKED = "asked"
    """It returned :data:`REMOVE`."""
    SWAPPED = "swapped"
    ERROR = "error"
    STOP = "stop"
    """Its manager ends."""


class Removal(msgspec.Struct, frozen=True):
    """What an event handler is told at its end."""

    cause: RemovalCause
    error: ErrorData | None = None
    """What it raised, when that is why."""


class Remove:
    """The type of :data:`REMOVE`."""

    __slots__ = ()


REMOVE = Remove()
"""What ``handle_event`` returns to be removed from the manager."""


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

    def init(self, previous: Any, ctx: Context) -> None:  # noqa: ANN401 - the predecessor's own
        """Start. ``previous`` is what ``terminate`` of a swapped handler gave, else None."""

    def handle_event(self, event: Any, ctx: Context) -> Remove | None:  # noqa: ANN401
        """Take an event; give :data:`REMOVE` to leave."""
        raise NotImplementedError

    def handle_call(self, request: Any, ctx: Context) -> Any:  # noqa: ANN401, ARG002
        """Answer a :class:`CallHandler`."""
        raise Reject(f"{type(self).__qualname__} answers no calls; define handle_call")

    def terminate(self, removal: Removal, ctx: Context) -> Any:  # noqa: ANN401
        """Clean up; the result goes to who deleted it, or to its successor in a swap."""


class SyncNotify(Request[None]):
    """An event for the manager; answered when every handler has had it."""

    event: Any


class AddHandler(Request[None]):
    """Install a handler; make it with :func:`add_handler`. A taken id: ``already_exists``."""

    id: str
    handler: str
    """Import path of its class."""
    args: tuple[Any, ...] = ()


class DeleteHandler(Request[Any]):
    """Remove a handler; answered by what its ``terminate`` gave. Unknown: ``not_found``."""

    id: str


class SwapHandler(Request[None]):
    """Put a handler in the place of another, which hands over what its ``terminate`` gives."""

    old: str
    new: AddHandler


class CallHandler(Request[Any]):
    """Ask one handler; answered by its ``handle_call``."""

    id: str
    request: Any


class ListHandlers(Request[list[str]]):
    """The ids of the handlers, the newest first."""


def add_handler(handler_id: str, kind: type[EventHandler], *args: object) -> AddHandler:
    """Make the request that installs ``kind(*args)`` under ``handler_id``."""
    return AddHandler(handler_id, import_path(kind), args)


class GenEvent(Actor):
    """An event manager: gives each event to all its handlers, the newest first.

    Events come as messages: ``ref.tell(event)``, ``ref.ask(SyncNotify(event))``, or from the
    channels that the actor subscribes to. It combines with ``Actor`` and ``GenServer``; an event
    type has either a method with ``@handles`` or event handlers.
    """

    handlers: ClassVar[Mapping[str, Callable[[], EventHandler]]] = MappingProxyType({})
    """Handler classes (or factories of handlers) that are installed at the start, by id."""
    events: ClassVar[tuple[type[Event], ...]] = ()
    """Event types that handlers which are added at run time may want."""

    _installed: dict[str, EventHandler] | None = None

    def __init_subclass__(cls, **options: Any) -> None:  # noqa: ANN401 - passed on
        """Check that no event type has two ways to be handled, and add them to the protocol."""
        super().__init_subclass__(**options)
        taken = cls.__protocol__.handlers
        wanted = dict.fromkeys(cls.events)
        for kind in cls.handlers.values():
            wanted |= dict.fromkeys(e for e in getattr(kind, "events", ()) if e is not Event)
        for event in wanted:
            if not (isinstance(event, type) and issubclass(event, Event)):
                raise ProtocolError(f"{cls.__qualname__}.events: {event!r} is no event type")
            if event in taken:
                raise ProtocolError(
                    f"{cls.__qualname__} gives {event.__qualname__} to its event handlers and to "
                    f"its method {taken[event].name}; keep one of the two"
                )
        cls.events = tuple(wanted)
        cls.__protocol__ = Protocol(cls, taken | {event: _notifies(event) for event in wanted})

    # --- for the actor's own handlers ---

    def add_handler(self, handler_id: str, handler: EventHandler, ctx: Context) -> None:
        """Install a handler as the newest.

        Raises:
            Reject: ``already_exists``: the id is taken; ``init_failed``: its ``init`` raised;
                ``unknown_event``: it wants events that the manager does not declare.
        """
        self._install(handler_id, handler, None, ctx)

    def delete_handler(self, handler_id: str, ctx: Context) -> Any:  # noqa: ANN401
        """Remove a handler; give what its ``terminate`` gives.

        Raises:
            Reject: ``not_found``: there is none; ``handler_failed``: its ``terminate`` raised,
                and it is gone all the same.
        """
        self._named(handler_id)
        return self._remove(handler_id, Removal(RemovalCause.DELETED), ctx)

    def notify(self, event: Event, ctx: Context) -> None:
        """Give an event to the handlers that want it, the newest first."""
        for handler_id, handler in reversed(list(self._handlers().items())):
            if not isinstance(event, handler.events):
                continue
            try:
                answer = handler.handle_event(event, ctx)
                if not (answer is None or isinstance(answer, Remove)):
                    raise TypeError(f"handle_event gave {answer!r}; it gives None or REMOVE")
            except Exception as error:  # a handler's failure is its own
                self._remove_failed(handler_id, error, ctx)
                continue
            if answer is not None:
                self._remove_quietly(handler_id, Removal(RemovalCause.ASKED), ctx)

    # --- messages ---

    @handles
    def _on_sync_notify(self, msg: SyncNotify, ctx: Context) -> None:
        try:
            event = msgspec.convert(msg.event, Union[self.events], dec_hook=_as_it_is)  # noqa: UP007
        except (msgspec.ValidationError, TypeError) as error:
            names = ", ".join(kind.__qualname__ for kind in self.events) or "none"
            raise Reject(
                f"{type(self).__qualname__} takes these events: {names} ({error})",
                code="unknown_event",
            ) from None
        self.notify(event, ctx)

    @handles
    def _on_add(self, msg: AddHandler, ctx: Context) -> None:
        self._install(msg.id, _made(msg), None, ctx)

    @handles
    def _on_delete(self, msg: DeleteHandler, ctx: Context) -> Any:  # noqa: ANN401
        return self.delete_handler(msg.id, ctx)

    @handles
    def _on_swap(self, msg: SwapHandler, ctx: Context) -> None:
        self._named(msg.old)
        if msg.new.id != msg.old:
            self._refuse_taken(msg.new.id)
        successor = _made(msg.new)
        self._refuse_unknown(successor)
        given = self._remove(msg.old, Removal(RemovalCause.SWAPPED), ctx)
        self._install(msg.new.id, successor, given, ctx)

    @handles
    def _on_call(self, msg: CallHandler, ctx: Context) -> Any:  # noqa: ANN401
        handler = self._named(msg.id)
        try:
            return handler.handle_call(msg.request, ctx)
        except Reject:
            raise
        except Exception as error:
            self._remove_failed(msg.id, error, ctx)
            raise Reject(f"handler {msg.id!r} failed: {error!r}", code="handler_failed") from None

    @handles
    def _on_list(self, _msg: ListHandlers) -> list[str]:
        return list(reversed(self._handlers()))

    # --- life ---

    def __begin__(self, ctx: Context) -> Any:  # noqa: ANN401 - None or an awaitable
        """Install the declared handlers, then start."""
        for handler_id, make in self.handlers.items():
            handler = make()
            self._refuse_unknown(handler)
            handler.init(None, ctx)
            self._handlers()[handler_id] = handler
        return super().__begin__(ctx)

    def __finish__(self, reason: ExitReason, ctx: Context) -> None:
        """End, and every handler with it, the newest first."""
        for handler_id in reversed(list(self._handlers())):
            self._remove_quietly(handler_id, Removal(RemovalCause.STOP), ctx)
        super().__finish__(reason, ctx)

    def _handlers(self) -> dict[str, EventHandler]:
        if self._installed is None:
            self._installed = {}
        return self._installed

    def _install(
        self,
        handler_id: str,
        handler: EventHandler,
        previous: Any,  # noqa: ANN401 - what the predecessor gave
        ctx: Context,
    ) -> None:
        self._refuse_taken(handler_id)
        self._refuse_unknown(handler)
        try:
            handler.init(previous, ctx)
        except Exception as error:
            raise Reject(
                f"handler {handler_id!r} could not start: {error!r}", code="init_failed"
            ) from error
        self._handlers()[handler_id] = handler

    def _refuse_taken(self, handler_id: str) -> None:
        if handler_id in self._handlers():
            raise Reject(f"there is a handler {handler_id!r} already", code="already_exists")

    def _refuse_unknown(self, handler: EventHandler) -> None:
        for event in handler.events:
            if not any(issubclass(known, event) for known in self.events):
                raise Reject(
                    f"{type(handler).__qualname__} wants {event.__qualname__}, which "
                    f"{type(self).__qualname__} does not take; add it to its events",
                    code="unknown_event",
                )

    def _named(self, handler_id: str) -> EventHandler:
        handler = self._handlers().get(handler_id)
        if handler is None:
            known = ", ".join(self._handlers()) or "none"
            raise Reject(f"no handler {handler_id!r} (handlers: {known})", code="not_found")
        return handler

    def _remove(self, handler_id: str, removal: Removal, ctx: Context) -> Any:  # noqa: ANN401
        handler = self._handlers().pop(handler_id)
        try:
            return handler.terminate(removal, ctx)
        except Exception as error:
            raise Reject(
                f"terminate of handler {handler_id!r} failed: {error!r}", code="handler_failed"
            ) from error

    def _remove_quietly(self, handler_id: str, removal: Removal, ctx: Context) -> None:
        try:
            self._remove(handler_id, removal, ctx)
        except Reject as error:
            ctx.log.error("%s", error)

    def _remove_failed(self, handler_id: str, error: Exception, ctx: Context) -> None:
        ctx.log.error("event handler %r raised and is removed", handler_id, exc_info=error)
        removal = Removal(RemovalCause.ERROR, ErrorData.of(error))
        self._remove_quietly(handler_id, removal, ctx)


def _notifies(event: type[Event]) -> Handler:
    return Handler(
        name="notify",
        function=GenEvent.notify,
        message=event,
        wants_context=True,
        is_async=False,
        reply=None,
        reply_class=None,
    )


def _made(msg: AddHandler) -> EventHandler:
    kind = resolve(msg.handler)
    if not (isinstance(kind, type) and issubclass(kind, EventHandler)):
        raise Reject(f"{msg.handler} is no EventHandler", code="init_failed")
    try:
        return kind(*msg.args)
    except Exception as error:
        raise Reject(
            f"handler {msg.id!r} could not be made: {error!r}", code="init_failed"
        ) from error


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


def _as_it_is(expected: type, value: object) -> object:
    if isinstance(value, getattr(expected, "__origin__", expected)):
        return value
    raise msgspec.ValidationError(f"expected {expected.__name__}, got {type(value).__name__}")
