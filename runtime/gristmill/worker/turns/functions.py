"""``FunctionRunner``: runs plain functions for ``node.map`` and ``node.executor``, in batches."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import msgspec

from gristmill.behaviours.actor import Actor
from gristmill.behaviours.context import Context
from gristmill.behaviours.protocol import handles
from gristmill.errors import ErrorData, PayloadTooLargeError
from gristmill.importing import resolve
from gristmill.messages import Request
from gristmill.transport.codec import Codec
from gristmill.worker.turns.bodies import MOST, ROOM, Bodies


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
        self._most = MOST  # there is no shared memory, so the message has to carry what it can
        if bodies.size > MOST:
            size = bodies.pop()
            raise PayloadTooLargeError(
                f"{self._function} has returned {size:,} bytes, and its batch {bodies.size:,} "
                f"before: more than the {MOST:,} that fit into one message, and there is no room "
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
