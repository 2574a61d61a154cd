"""``FunctionRunner``: runs plain functions for ``node.map`` and ``node.executor``, in batches."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from itertools import chain
from typing import Any, Self

import msgspec
import numpy as np

from gristmill.behaviours.actor import Actor
from gristmill.behaviours.context import Context
from gristmill.behaviours.protocol import handles
from gristmill.errors import ErrorData, PayloadTooLargeError
from gristmill.importing import resolve
from gristmill.messages import Request
from gristmill.transport.arrays import ArrayBody
from gristmill.transport.codec import MAX_BODY, Codec

ROOM = MAX_BODY // 2
"""Bytes of bodies to which no more are added in one message."""
_MOST = MAX_BODY - (1 << 20)
"""Bytes of bodies that a message carries at most, for there is more in it."""


def size_in_band(body: bytes) -> int:
    """Give the bytes that a body may take in a message, if its arrays find no room elsewhere."""
    if not isinstance(body, ArrayBody):
        return len(body)
    return len(body) + sum(each.nbytes for each in body.arrays if isinstance(each, np.ndarray))


class Bodies(msgspec.Struct, array_like=True):
    """Encoded values in one message, each of which is decoded by itself."""

    near: list[msgspec.Raw] = msgspec.field(default_factory=list)
    arrays: dict[int, list[Any]] = msgspec.field(default_factory=dict)
    """The large arrays of bodies, by the places of those."""
    aside: list[Any] = msgspec.field(default_factory=list)
    """Lists of the bodies before those in ``near``, encoded, in arrays of bytes."""
    size: int = 0
    """Bytes of those in ``near``."""
    count: int = 0
    """How many bodies there are."""

    @classmethod
    def of(cls, body: bytes) -> Self:
        """Make one of one body."""
        bodies = cls()
        bodies.append(body)
        return bodies

    def append(self, body: bytes) -> None:
        """Add a body."""
        if type(body) is bytes:
            self.size += len(body)
        elif isinstance(body, ArrayBody):
            self.arrays[self.count] = list(body.arrays)
            self.size += size_in_band(body)
        self.near.append(msgspec.Raw(body))
        self.count += 1

    def pop(self) -> int:
        """Remove the body that was added last, whose arrays are shared; give its size."""
        size = len(bytes(self.near.pop()))
        self.count -= 1
        self.arrays.pop(self.count, None)
        self.size -= size
        return size

    def put_aside(self, encode: Callable[[object], bytes]) -> bool:
        """Let all bodies lie in shared memory; give whether there was room."""
        packed = np.frombuffer(msgspec.msgpack.encode(self.near), np.uint8)
        try:
            body = encode(packed)
        except PayloadTooLargeError:
            return False
        if not isinstance(body, ArrayBody):
            return False
        self.aside += body.arrays
        self.near, self.size = [], 0
        return True

    def __iter__(self) -> Iterator[bytes | msgspec.Raw]:
        """Give each, to be decoded."""
        if not self.arrays and not self.aside:
            return iter(self.near)
        return self._each()

    def _each(self) -> Iterator[bytes | msgspec.Raw]:
        for place, body in enumerate(chain(*map(_decode_list, self.aside), self.near)):
            arrays = self.arrays.get(place)
            yield ArrayBody(bytes(body), arrays) if arrays else body


_decode_list = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode


class BatchResult(msgspec.Struct, frozen=True):
    """What became of a batch: the results up to the first error, and that error."""

    values: Bodies
    error: ErrorData | None = None


class RunBatch(Request[BatchResult]):
    """Call a function several times."""

    function: str
    calls: Bodies
    """The positional and the keyword arguments of each call."""


class FunctionRunner(Actor):
    """Calls functions by their import path; an error ends its batch and nothing else."""

    @handles
    def run(self, msg: RunBatch, ctx: Context) -> BatchResult:
        """Run one batch."""
        codec = ctx._host.codec  # noqa: SLF001 - it is a part of the worker, and no user's actor
        decode = codec.decoder(tuple[list[Any], dict[str, Any]]).decode
        results = _Results(msg.function, codec)
        try:
            function = resolve(msg.function)
            types = types_of(function)
            for call in msg.calls:
                arguments, keywords = decode(call)
                named = types.convert_keywords(keywords) if keywords else keywords
                value = function(*types.convert(arguments), **named)
                results.add(value)
        except Exception as error:  # the function's own errors travel to the caller
            return BatchResult(results.bodies, ErrorData.of(error))
        return BatchResult(results.bodies)


class _Results:
    """The results of a batch: encoded at once, for the next call may change what they refer to."""

    def __init__(self, function: str, codec: Codec) -> None:
        self._function = function
        self._encode = codec.encode
        self._most = ROOM
        self.bodies = Bodies()

    def add(self, value: object) -> None:
        """Add a result.

        Raises:
            PayloadTooLargeError: there is no room for it in the message, nor beside it.
            UsageError: it can't travel.
        """
        bodies = self.bodies
        bodies.append(self._encode(value))
        if bodies.size <= self._most or (self._most == ROOM and bodies.put_aside(self._encode)):
            return
        self._most = _MOST  # there is no shared memory, so the message has to carry what it can
        if bodies.size > _MOST:
            size = bodies.pop()
            raise PayloadTooLargeError(
                f"{self._function} has returned {size:,} bytes, and its batch {bodies.size:,} "
                f"before: more than the {_MOST:,} that fit into one message, and there is no room "
                "for them in shared memory; make batches smaller, or return less"
            )


class FunctionTypes(msgspec.Struct, frozen=True):
    """The annotated types of a function's parameters and of its result; Any where there is none."""

    positional: tuple[Any, ...]
    rest: Any
    """Of ``*args``."""
    names: dict[str, Any]
    others: Any
    """Of ``**kwargs``."""
    result: Any

    def convert(self, arguments: list[Any]) -> Iterable[Any]:
        """Make positional arguments that came over the wire what the function expects."""
        known = self.positional
        return [
            _convert(value, known[place] if place < len(known) else self.rest)
            for place, value in enumerate(arguments)
        ]

    def convert_keywords(self, keywords: Mapping[str, Any]) -> dict[str, Any]:
        """Make keyword arguments that came over the wire what the function expects."""
        return {
            name: _convert(value, self.names.get(name, self.others))
            for name, value in keywords.items()
        }


def _convert(value: Any, expected: Any) -> Any:  # noqa: ANN401 - any plain data
    return value if expected is Any else msgspec.convert(value, expected)


@cache
def types_of(function: Callable[..., Any]) -> FunctionTypes:
    """Look up what a function takes and gives."""
    try:
        hints = {} if isinstance(function, type) else typing.get_type_hints(function)
        parameters = inspect.signature(function).parameters.values()
    except (NameError, TypeError, ValueError):  # a built-in function, or an unknown annotation
        return FunctionTypes((), Any, {}, Any, Any)
    types = {name: _decodable(hint) for name, hint in hints.items()}
    places = {p.kind: types.get(p.name, Any) for p in parameters}
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return FunctionTypes(
        positional=tuple(types.get(p.name, Any) for p in parameters if p.kind in by_place),
        rest=places.get(inspect.Parameter.VAR_POSITIONAL, Any),
        names={p.name: types.get(p.name, Any) for p in parameters},
        others=places.get(inspect.Parameter.VAR_KEYWORD, Any),
        result=types.get("return", Any),
    )


def _decodable(hint: Any) -> Any:  # noqa: ANN401 - a type expression
    """Give a type, or Any for one that can't be told from plain data."""
    try:
        msgspec.msgpack.Decoder(hint)
    except TypeError:
        return Any
    return hint
