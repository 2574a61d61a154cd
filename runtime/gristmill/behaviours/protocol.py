"""``@handles`` and the protocol of an actor class: which handler takes which message type."""

from __future__ import annotations

import contextlib
import inspect
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, overload

import msgspec

from gristmill.behaviours import batches
from gristmill.behaviours.batches import Batch, Size
from gristmill.errors import ProtocolError, UsageError
from gristmill.messages import Message, Request, reply_type
from gristmill.transport.codec import is_scalar, plain

F = TypeVar("F", bound=Callable[..., Any])

_MARK = "__gristmill_handler__"
LAYERS = "__gristmill_layers__"
"""Marks a handler that goes :func:`~gristmill.behaviours.layers.through` layers."""


@overload
def handles(function: F) -> F: ...
@overload
def handles(
    *,
    batch: Size | None = None,
    batch_wait: float | None = None,
    batch_target: float | None = None,
) -> Callable[[F], F]: ...
def handles(
    function: F | None = None,
    *,
    batch: Size | None = None,
    batch_wait: float | None = None,
    batch_target: float | None = None,
) -> F | Callable[[F], F]:
    """Mark a method as the handler of the message type that it is annotated with.

    ``def quote(self, msg: GetQuote) -> Quote`` or, to use the context,
    ``def quote(self, msg: GetQuote, ctx: Context) -> Quote``; plain or ``async``. A union of
    message types makes it the handler of each.

    With ``batch`` it takes what the mailbox holds of one type in a row, and answers all of it:
    ``def quotes(self, msgs: list[GetQuote]) -> list[Quote]``. A :class:`Reject` in place of a
    reply refuses that request alone.

    Args:
        function: the method.
        batch: the most messages of one call; ``"auto"``: as many as it takes for
            ``batch_target``, found while the actor runs.
        batch_wait: seconds by which a batch may delay a message, at most: until others have come,
            and while they are computed. 0 if not given, and 0.002 for ``"auto"``.
        batch_target: the ratio of compute to coordination that ``"auto"`` goes for; 10 if not
            given.

    Raises:
        UsageError: a number is out of range, or has no effect.
    """
    wanted = Batch.of(batch, batch_wait, batch_target)

    def mark(target: F) -> F:
        setattr(target, _MARK, wanted or True)
        return target

    return mark if function is None else mark(function)


@dataclass(frozen=True, slots=True)
class Handler:
    """One entry of a protocol."""

    name: str
    function: Callable[..., Any]
    message: type[Message]
    wants_context: bool
    is_async: bool
    reply: Any
    """The declared reply type of a request; None for other messages."""
    reply_class: type | None
    """The class that a reply must be an instance of, where that says it all."""
    retried: bool = False
    """Whether the request is sent again when the worker dies: it is idempotent."""
    batch: Batch | None = None
    """How many messages it takes at once; None: one, and no list of them."""


class Protocol:
    """What an actor class understands. Built once, when the class is created."""

    def __init__(self, owner: type, handlers: dict[type[Message], Handler]) -> None:
        self.owner = owner
        self.handlers = handlers
        wire = tuple(kind for kind in handlers if not kind.__internal__)
        self.messages: Any = Union[wire] if wire else None  # noqa: UP007 - a tuple
        """What may come from others, as a type to decode."""
        self.takes_batches = any(handler.batch is not None for handler in handlers.values())
        """Whether a handler takes several messages at once, so that it matters what waits."""

    @classmethod
    def of(cls, owner: type) -> Protocol:
        """Collect and check the handlers of a class and its bases.

        Raises:
            ProtocolError: two handlers for one message, a handler without an annotation, or a
                reply type that does not fit the request.
        """
        handlers: dict[type[Message], Handler] = {}
        names = dict.fromkeys(name for klass in reversed(owner.__mro__) for name in vars(klass))
        for name in names:
            function = inspect.getattr_static(owner, name)
            if not getattr(function, _MARK, False):
                continue
            for handler in handlers_of(owner, name, function):
                other = handlers.get(handler.message)
                if other is not None:
                    raise ProtocolError(
                        f"{owner.__qualname__} has two handlers for "
                        f"{handler.message.__qualname__}: {other.name} and {name}; keep one"
                    )
                handlers[handler.message] = handler
        return cls(owner, handlers)


def handlers_of(owner: type, name: str, function: Callable[..., Any]) -> list[Handler]:
    """Read a handler off a method: one entry for each message type that it takes.

    Raises:
        ProtocolError: its signature says not, or wrongly, what it takes and answers.
    """
    where = f"{owner.__qualname__}.{name}"
    parameters = list(inspect.signature(function).parameters.values())[1:]
    if not 1 <= len(parameters) <= 2:
        raise ProtocolError(f"handler {where} takes (self, message) or (self, message, ctx)")
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise ProtocolError(
            f"handler {where}: {error}; define the message types before the class"
        ) from None
    annotation = _bare(hints.get(parameters[0].name))
    if annotation is None:
        raise ProtocolError(f"handler {where}: annotate {parameters[0].name!r} with a message type")
    answers, wants_context = hints.get("return"), len(parameters) == 2
    batch = getattr(function, _MARK, True)
    if isinstance(batch, Batch):
        if hasattr(function, LAYERS):
            raise ProtocolError(f"handler {where}: layers are around single messages; not a batch")
        kind = batches.message_of(where, annotation)
        return [_batch_handler(where, name, function, kind, answers, wants_context, batch)]
    kinds = get_args(annotation) if _is_union(annotation) else (annotation,)
    return [_handler(where, name, function, kind, answers, wants_context) for kind in kinds]


def _batch_handler(
    where: str,
    name: str,
    function: Callable[..., Any],
    kind: Any,
    answers: Any,
    wants_context: bool,
    batch: Batch,
) -> Handler:
    if isinstance(kind, type) and issubclass(kind, Request):
        answers = batches.reply_of(where, answers)
    return replace(_handler(where, name, function, kind, answers, wants_context), batch=batch)


def _handler(
    where: str,
    name: str,
    function: Callable[..., Any],
    kind: Any,
    answers: Any,
    wants_context: bool,
) -> Handler:
    if not (isinstance(kind, type) and issubclass(kind, Message)):
        raise ProtocolError(
            f"handler {where}: {kind!r} is no message type; subclass Command, Request or Event"
        )
    reply = None
    if issubclass(kind, Request):
        reply = reply_type(kind)
        if answers is None or (answers is type(None) and reply not in (None, type(None))):
            raise ProtocolError(
                f"handler {where}: {kind.__qualname__} is answered by {_name(reply)}; "
                "annotate the handler's return type"
            )
        if not _fits(answers, reply):
            raise ProtocolError(
                f"handler {where} returns {_name(answers)}, but {kind.__qualname__} is "
                f"answered by {_name(reply)}"
            )
    elif answers not in (None, type(None)):
        raise ProtocolError(
            f"handler {where} returns {_name(answers)}, but nothing waits for an answer to "
            f"{kind.__qualname__}; make it a Request[{_name(answers)}]"
        )
    return Handler(
        name=name,
        function=function,
        message=kind,
        wants_context=wants_context,
        is_async=inspect.iscoroutinefunction(function),
        reply=reply,
        reply_class=_class_of(reply),
        retried=issubclass(kind, Request) and kind.__idempotent__,
    )


def _class_of(reply: Any) -> type | None:
    """Give the class that says all about a reply type; ``Any`` is a class from Python 3.11 on."""
    whole = isinstance(reply, type) and reply is not Any and get_origin(reply) is None
    return reply if whole and not typing.is_typeddict(reply) else None


def _fits(answers: Any, reply: Any) -> bool:
    answers, reply = _bare(answers), _bare(reply)
    if answers is Any or reply is Any or answers == reply:
        return True
    if _is_union(answers):
        return all(_fits(part, reply) for part in get_args(answers))
    if _is_union(reply):
        return any(_fits(answers, part) for part in get_args(reply))
    if getattr(answers, "__gristmill_deferred__", False):
        return True
    if isinstance(answers, type) and isinstance(reply, type):
        return issubclass(answers, reply)
    return get_origin(answers) is not None and get_origin(answers) == get_origin(reply)


def _bare(annotation: Any) -> Any:
    """Give a type without what annotates it."""
    return annotation.__origin__ if get_origin(annotation) is Annotated else annotation


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def _name(kind: Any) -> str:
    return kind.__qualname__ if isinstance(kind, type) and not get_args(kind) else str(kind)


def check_reply(handler: Handler, owner: type, value: object) -> str:
    """Say what is wrong with a reply, or nothing if it is what the request declares."""
    expected = handler.reply_class
    if (expected is not None and isinstance(value, expected)) or _answers(handler, value):
        return ""
    if is_scalar(value):  # numpy's travel as Python's
        with contextlib.suppress(UsageError):  # it can't: encoding it would say so
            if _answers(handler, plain(value)):
                return ""
    given, declared = type(value).__qualname__, _name(handler.reply)
    if given == declared:
        given = f"{type(value).__module__}.{given}"
        declared = f"{handler.reply.__module__}.{declared}"
    return (
        f"{owner.__qualname__}.{handler.name} answered {handler.message.__qualname__} with a "
        f"{given}, but it declares {declared}"
    )


def _answers(handler: Handler, value: object) -> bool:
    expected = handler.reply_class
    if expected is not None:
        whole = expected is float and isinstance(value, int) and not isinstance(value, bool)
        return whole or isinstance(value, expected)
    try:
        msgspec.convert(value, handler.reply, from_attributes=False)
    except (msgspec.ValidationError, TypeError):
        return _structurally(value, handler.reply)
    return True


def _structurally(value: object, reply: Any) -> bool:
    """Check containers that msgspec.convert does not take as they are, by their outer class."""
    reply = _bare(reply)
    if _is_union(reply):
        return any(_structurally(value, part) for part in get_args(reply))
    kind = get_origin(reply) or reply
    if typing.is_typeddict(kind):
        return isinstance(value, dict)
    return isinstance(kind, type) and isinstance(value, kind)
