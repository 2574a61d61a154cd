"""Typed messages: ``Command`` (tell), ``Request[R]`` (ask, answered by an ``R``), ``Event``.

A message class is a frozen, tagged ``msgspec.Struct`` that lies on the wire as a MessagePack array
``["module:Qualname", field, ...]``. Fields may only be appended to a published message type.
"""

from __future__ import annotations

import hashlib
import sys
from types import SimpleNamespace
from typing import (
    Any,
    ClassVar,
    Generic,
    TypeVar,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec

from gristmill.errors import MessageTypeError, UsageError
from gristmill.importing import canonical_module

R = TypeVar("R")

_unlogged: set[str] = set()
"""The tags of message types that are not logged when they become dead letters."""


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class MessageMeta(msgspec.StructMeta):
    """Makes every message class frozen, array-like and tagged with its import path."""

    def __new__(
        mcls,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        **options: Any,  # noqa: ANN401 - msgspec's own class options
    ) -> MessageMeta:
        """Create the class, and refuse one that no other process could find."""
        module, qualname = namespace["__module__"], namespace["__qualname__"]
        try:
            tag = f"{canonical_module(module)}:{qualname}"
        except UsageError as error:
            raise MessageTypeError(f"message type {name}: {error}") from None
        namespace["__idempotent__"] = options.pop("idempotent", False)
        namespace["__internal__"] = options.pop("internal", False)
        if not options.pop("log_dead_letters", True):
            _unlogged.add(tag)
        chosen: dict[str, Any] = {"frozen": True, "array_like": True, "tag": tag} | options
        return super().__new__(mcls, name, bases, namespace, **chosen)


# said again here, because mypy takes what msgspec.Struct says before what the metaclass says
@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class Message(msgspec.Struct, metaclass=MessageMeta):
    """The base of the three kinds of message; subclass one of those.

    With the class keyword ``internal=True`` only the actor itself can send a command or event, as
    a timer, a timeout or a continuation; one from anywhere else is refused. With
    ``log_dead_letters=False`` it is kept and counted as a dead letter, but not logged.
    """

    __internal__: ClassVar[bool]


class Command(Message):
    """An order to an actor, sent with ``tell``; nothing comes back."""


class Event(Message):
    """A notice that something has happened, published to a channel."""


class Request(Message, Generic[R]):
    """A question to an actor, sent with ``ask`` and answered by an ``R``.

    Declare the reply's type when subclassing: ``class GetQuote(Request[Quote])``. With the class
    keyword ``idempotent=True`` the request may be retried when its worker dies.
    """

    __idempotent__: ClassVar[bool]

    def __init_subclass__(cls) -> None:
        """Refuse a request without a declared reply type."""
        super().__init_subclass__()
        if cls.__internal__:
            raise MessageTypeError(
                f"request {cls.__qualname__} is internal, so nobody could ask it; make it a Command"
            )
        if _declaration(cls) is None:
            raise MessageTypeError(
                f"request {cls.__qualname__} does not say what answers it; "
                f"write class {cls.__name__}(Request[ReplyType])"
            )


def _declaration(cls: type) -> tuple[type, Any] | None:
    """Give the class that says what answers a request class, and what it says."""
    for klass in cls.__mro__:
        for base in klass.__dict__.get("__orig_bases__", ()):
            if get_origin(base) is Request:
                (argument,) = get_args(base)
                return klass, argument
    return None


def reply_type(request: type[Request[Any]]) -> Any:  # noqa: ANN401 - a type expression
    """Give the declared reply type of a request class, forward references resolved.

    Raises:
        MessageTypeError: a forward reference names nothing in the request's module.
    """
    declaration = _declaration(request)
    if declaration is None:
        return None
    owner, argument = declaration
    if argument is None or (isinstance(argument, type) and not get_args(argument)):
        return argument
    scope = vars(sys.modules[owner.__module__])
    holder = SimpleNamespace(__annotations__={"reply": argument})
    try:
        return get_type_hints(holder, scope, include_extras=True)["reply"]
    except (NameError, AttributeError, SyntaxError) as error:
        raise MessageTypeError(
            f"request {request.__qualname__}: reply type {argument!r} is unknown: {error}"
        ) from None


def tag_of(message: type[msgspec.Struct]) -> str:
    """Give the tag by which the wire and the journal know a message type."""
    return str(message.__struct_config__.tag)


def is_logged_when_dead(tag: str) -> bool:
    """Tell whether a dead letter of a message type is logged; so is one that is unknown here."""
    return tag not in _unlogged


def schema_hash(message: type[msgspec.Struct]) -> str:
    """Hash the fields' names and types, so that two versions of a type can be told apart."""
    info = msgspec.inspect.type_info(message)
    return hashlib.blake2b(repr(info).encode(), digest_size=8).hexdigest()
