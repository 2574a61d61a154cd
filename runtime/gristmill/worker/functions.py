"""``FunctionRunner``: runs plain functions for ``node.map`` and ``node.executor``, in batches."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import msgspec

from gristmill.behaviours.actor import Actor
from gristmill.behaviours.protocol import handles
from gristmill.errors import ErrorData
from gristmill.importing import resolve
from gristmill.messages import Request
from gristmill.transport.codec import Codec

_encode = Codec(None).encode


class BatchResult(msgspec.Struct, frozen=True):
    """What became of a batch: the results up to the first error, and that error."""

    values: list[msgspec.Raw]
    error: ErrorData | None = None


class RunBatch(Request[BatchResult]):
    """Call a function several times."""

    function: str
    calls: list[list[Any]]
    """The positional arguments of each call."""
    keywords: dict[str, Any] = msgspec.field(default_factory=dict)
    """The keyword arguments of every call."""


class FunctionRunner(Actor):
    """Calls functions by their import path; an error ends its batch and nothing else."""

    @handles
    def run(self, msg: RunBatch) -> BatchResult:
        """Run one batch."""
        values: list[msgspec.Raw] = []
        try:
            function = resolve(msg.function)
            types = types_of(function)
            keywords = types.convert_keywords(msg.keywords)
            for arguments in msg.calls:
                value = function(*types.convert(arguments), **keywords)
                values.append(msgspec.Raw(_encode(value)))
        except Exception as error:  # the function's own errors travel to the caller
            return BatchResult(values, ErrorData.of(error))
        return BatchResult(values)


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
