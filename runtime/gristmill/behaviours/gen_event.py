"""``GenEvent``: an event manager, an actor with event handlers that come and go at run time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Union

import msgspec

from gristmill.behaviours.actor import Actor
from gristmill.behaviours.context import Context
from gristmill.behaviours.event_handler import (
    REMOVE,
    EventHandler,
    Removal,
    RemovalCause,
    Remove,
)
from gristmill.behaviours.event_messages import (
    AdderExited,
    AddHandler,
    CallHandler,
    DeleteHandler,
    HandlerLeft,
    ListHandlers,
    SwapHandler,
    SyncNotify,
    add_handler,
)
from gristmill.behaviours.links import MonitorRef
from gristmill.behaviours.protocol import Handler, Protocol, handles
from gristmill.errors import ErrorData, GristmillError, ProtocolError, Reject
from gristmill.importing import resolve
from gristmill.messages import Command, Event, Message
from gristmill.ref import AnyRef
from gristmill.supervision import ExitReason

__all__ = [
    "REMOVE",
    "AddHandler",
    "CallHandler",
    "DeleteHandler",
    "EventHandler",
    "GenEvent",
    "HandlerLeft",
    "ListHandlers",
    "Removal",
    "RemovalCause",
    "Remove",
    "SwapHandler",
    "SyncNotify",
    "add_handler",
]


class _Supervision(NamedTuple):
    """Who supervises a handler: one incarnation of an actor."""

    adder: AnyRef
    number: int
    """What the notice of its end carries; of nobody else's end."""
    watch: MonitorRef


class _Installed:
    """A handler in its place."""

    __slots__ = ("handler", "supervision")

    def __init__(self, handler: EventHandler) -> None:
        self.handler = handler
        self.supervision: _Supervision | None = None


class _Handlers(dict[str, _Installed]):
    """The handlers of a manager, the oldest first."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = itertools.count(1)
        """Of the supervisions."""


class GenEvent(Actor):
    """An event manager: gives each event to all its handlers, the newest first.

    Events come as messages: ``ref.tell(event)``, ``ref.ask(SyncNotify(event))``, or from the
    channels that the actor subscribes to. Commands that it declares in ``infos`` go to each
    handler's ``handle_info``. It combines with ``Actor`` and ``GenServer``; an event
    type has either a method with ``@handles`` or event handlers.
    """

    handlers: ClassVar[Mapping[str, Callable[[], EventHandler]]] = MappingProxyType({})
    """Handler classes (or factories of handlers) that are installed at the start, by id."""
    events: ClassVar[tuple[type[Event], ...]] = ()
    """Event types that handlers which are added at run time may want."""

    infos: ClassVar[tuple[type[Command], ...]] = ()
    """Commands that are for the handlers' ``handle_info``."""

    _installed: _Handlers | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        """Check that no event type has two ways to be handled, and add them to the protocol."""
        super().__init_subclass__(**options)
        wanted = dict.fromkeys(cls.events)
        for kind in cls.handlers.values():
            wanted |= dict.fromkeys(e for e in getattr(kind, "events", ()) if e is not Event)
        cls.events = tuple(wanted)
        _check_types(cls, "events", cls.events, Event)
        _check_types(cls, "infos", cls.infos, Command)
        passed: dict[type[Message], Handler] = {e: _passes(e, cls.notify) for e in cls.events}
        passed |= {info: _passes(info, cls.inform) for info in cls.infos}
        cls.__protocol__ = Protocol(cls, cls.__protocol__.handlers | passed)

    # --- for the actor's own handlers ---

    def add_handler(self, handler_id: str, handler: EventHandler, ctx: Context) -> None:
        """Install a handler as the newest.

        Raises:
            Reject: ``already_exists``: the id is taken; ``init_failed``: its ``init`` raised;
                ``unknown_event``: it wants events that the manager does not declare.
        """
        self._install(handler_id, handler, None, ctx)

    def delete_handler(self, handler_id: str, ctx: Context) -> Any:
        """Remove a handler; give what its ``terminate`` gives.

        Raises:
            Reject: ``not_found``: there is none; ``handler_failed``: its ``terminate`` raised,
                and it is gone all the same.
        """
        self._named(handler_id)
        return self._remove(handler_id, Removal(RemovalCause.DELETED), ctx)

    def notify(self, event: Event, ctx: Context) -> None:
        """Give an event to the handlers that want it, the newest first."""
        self._each(
            lambda handler: (
                handler.handle_event(event, ctx) if isinstance(event, handler.events) else None
            ),
            ctx,
        )

    def inform(self, message: Command, ctx: Context) -> None:
        """Give a command to the ``handle_info`` of every handler, the newest first."""
        self._each(lambda handler: handler.handle_info(message, ctx), ctx)

    def _each(self, call: Callable[[EventHandler], Remove | None], ctx: Context) -> None:
        for handler_id, installed in reversed(list(self._handlers().items())):
            try:
                answer = call(installed.handler)
                if not (answer is None or isinstance(answer, Remove)):
                    raise TypeError(f"it gave {answer!r}; it gives None or REMOVE")
            except Exception as error:  # a handler's failure is its own
                self._remove_failed(handler_id, error, ctx)
                continue
            if answer is not None:
                self._remove_quietly(handler_id, Removal(RemovalCause.ASKED), ctx)

    # --- messages ---

    @handles
    def _on_sync_notify(self, msg: SyncNotify, ctx: Context) -> None:
        try:
            event = msgspec.convert(msg.event, Union[self.events], dec_hook=_as_it_is)  # noqa: UP007 - made at run time
        except (msgspec.ValidationError, TypeError) as error:
            names = ", ".join(kind.__qualname__ for kind in self.events) or "none"
            raise Reject(
                f"{type(self).__qualname__} takes these events: {names} ({error})",
                code="unknown_event",
            ) from None
        self.notify(event, ctx)

    @handles
    def _on_add(self, msg: AddHandler, ctx: Context) -> None:
        adder = self._adder_of(msg, ctx)
        self._install(msg.id, _made(msg), None, ctx)
        self._supervise(msg.id, adder, ctx)

    @handles
    def _on_delete(self, msg: DeleteHandler, ctx: Context) -> Any:
        return self.delete_handler(msg.id, ctx)

    @handles
    def _on_swap(self, msg: SwapHandler, ctx: Context) -> None:
        self._named(msg.old)
        if msg.new.id != msg.old:
            self._refuse_taken(msg.new.id)
        adder = self._adder_of(msg.new, ctx)
        successor = _made(msg.new)
        self._refuse_unknown(successor)
        old = self._handlers()[msg.old]
        kept: _Supervision | None = None
        if adder is None:  # who supervised the old one supervises the new one
            kept, old.supervision = old.supervision, None
        told = old.supervision is not None and old.supervision.adder != adder
        try:
            given = self._remove(msg.old, Removal(RemovalCause.SWAPPED), ctx, told=told)
            self._install(msg.new.id, successor, given, ctx)
        except Reject:
            if kept is not None:
                ctx.demonitor(kept.watch)
            raise
        self._handlers()[msg.new.id].supervision = kept
        self._supervise(msg.new.id, adder, ctx)

    @handles
    def _on_call(self, msg: CallHandler, ctx: Context) -> Any:
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

    @handles
    def _on_adder_exited(self, msg: AdderExited, ctx: Context) -> None:
        for handler_id, installed in self._handlers().items():
            supervision = installed.supervision
            if supervision is not None and supervision.number == msg.number:
                installed.supervision = None
                removal = Removal(RemovalCause.STOP, reason=msg.reason)
                self._remove_quietly(handler_id, removal, ctx)
                return

    # --- life ---

    def __begin__(self, ctx: Context) -> Any:
        """Install the declared handlers, then start."""
        for handler_id, make in self.handlers.items():
            handler = make()
            self._refuse_unknown(handler)
            handler.init(None, ctx)
            self._handlers()[handler_id] = _Installed(handler)
        return super().__begin__(ctx)

    def __finish__(self, reason: ExitReason, ctx: Context, *, restarts: bool) -> None:
        """End, and every handler with it, the newest first."""
        for handler_id in reversed(list(self._handlers())):
            self._remove_quietly(handler_id, Removal(RemovalCause.STOP, reason=reason), ctx)
        super().__finish__(reason, ctx, restarts=restarts)

    def __state__(self) -> dict[str, Any]:
        """Give the attributes, and those of each handler under its id."""
        attributes = super().__state__()
        installed = attributes.pop("_installed", None) or {}
        return attributes | {"handlers": {i: dict(vars(h.handler)) for i, h in installed.items()}}

    def __set_state__(self, state: dict[str, Any]) -> None:
        """Put other attributes in the place of these, also of the handlers that are named."""
        installed = self._handlers()
        handlers = dict(state.pop("handlers", {}))
        super().__set_state__(state)
        self._installed = installed
        for handler_id, attributes in handlers.items():
            vars(self._named(handler_id)).update(attributes)

    def _handlers(self) -> _Handlers:
        if self._installed is None:
            self._installed = _Handlers()
        return self._installed

    def _install(
        self,
        handler_id: str,
        handler: EventHandler,
        previous: Any,
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
        self._handlers()[handler_id] = _Installed(handler)

    def _adder_of(self, msg: AddHandler, ctx: Context) -> AnyRef | None:
        """Give who will supervise a handler, if anybody."""
        if msg.supervised and ctx.sender is None:
            raise Reject(
                f"handler {msg.id!r} can't be supervised by a client; add it from an actor",
                code="no_adder",
            )
        return ctx.sender if msg.supervised else None

    def _supervise(self, handler_id: str, adder: AnyRef | None, ctx: Context) -> None:
        """Have a handler leave when the actor that supervises it ends."""
        if adder is None:
            return
        number = next(self._handlers().numbers)
        watch = ctx.watch(adder, lambda reason: AdderExited(number, reason))
        self._handlers()[handler_id].supervision = _Supervision(adder, number, watch)

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
        installed = self._handlers().get(handler_id)
        if installed is None:
            known = ", ".join(self._handlers()) or "none"
            raise Reject(f"no handler {handler_id!r} (handlers: {known})", code="not_found")
        return installed.handler

    def _remove(self, handler_id: str, removal: Removal, ctx: Context, *, told: bool = True) -> Any:
        """Remove a handler; ``told``: who supervises it is told."""
        installed = self._handlers().pop(handler_id)
        if installed.supervision is not None:
            adder, _, watch = installed.supervision
            ctx.demonitor(watch)
            try:
                if told:
                    adder.tell(HandlerLeft(ctx.ref, handler_id, removal))
            except GristmillError as error:
                ctx.log.error("can't say that handler %r has left: %s", handler_id, error)
        try:
            return installed.handler.terminate(removal, ctx)
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


def _check_types(
    cls: type[GenEvent], attribute: str, kinds: Iterable[Any], base: type[Message]
) -> None:
    """Refuse what is no type of ``base``, or is handled by a method already."""
    taken = cls.__protocol__.handlers
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, base)):
            raise ProtocolError(
                f"{cls.__qualname__}.{attribute}: {kind!r} is no {base.__name__.lower()} type"
            )
        if kind in taken:
            raise ProtocolError(
                f"{cls.__qualname__} gives {kind.__qualname__} to its event handlers and to "
                f"its method {taken[kind].name}; keep one of the two"
            )


def _passes(kind: type[Message], function: Callable[..., None]) -> Handler:
    """Make the protocol's entry for a message that goes to the event handlers."""
    return Handler(
        name=function.__name__,
        function=function,
        message=kind,
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


def _as_it_is(expected: type, value: object) -> object:
    if isinstance(value, getattr(expected, "__origin__", expected)):
        return value
    raise msgspec.ValidationError(f"expected {expected.__name__}, got {type(value).__name__}")
