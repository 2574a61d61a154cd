"""``FunctionRunner``: runs plain functions for ``node.map`` and ``node.executor``, in batches."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import msgspec
import numpy as np

from gristmill.behaviours.actor import Actor
from gristmill.behaviours.context import Context
from gristmill.behaviours.protocol import handles
from gristmill.errors import ErrorData
from gristmill.importing import resolve
from gristmill.messages import Request
from gristmill.transport.arrays import ArrayBody
from gristmill.transport.arrays.layout import Array, copy_into
from gristmill.transport.codec import Codec


class BatchResult(msgspec.Struct, frozen=True):
    """What became of a batch: the results up to the first error, and that error."""

    values: list[msgspec.Raw]
    error: ErrorData | None = None
    arrays: dict[int, list[Any]] = msgspec.field(default_factory=dict)
    """The large arrays of results, by the places of those in ``values``."""

    def bodies(self) -> Iterator[bytes | msgspec.Raw]:
        """Give the encoded results."""
        for place, value in enumerate(self.values):
            arrays = self.arrays.get(place)
            yield ArrayBody(bytes(value), arrays) if arrays else value


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
    def run(self, msg: RunBatch, ctx: Context) -> BatchResult:
        """Run one batch."""
        values: list[msgspec.Raw] = []
        arrays: dict[int, list[Any]] = {}
        encode = Codec(None, _Copies(ctx)).encode
        try:
            function = resolve(msg.function)
            types = types_of(function)
            keywords = types.convert_keywords(msg.keywords)
            for arguments in msg.calls:
                value = function(*types.convert(arguments), **keywords)
                body = encode(value)
                if isinstance(body, ArrayBody):
                    arrays[len(values)] = list(body.arrays)
                values.append(msgspec.Raw(body))
        except Exception as error:  # the function's own errors travel to the caller
            return BatchResult(values, ErrorData.of(error), arrays)
        return BatchResult(values, None, arrays)


class _Copies:
    """Copies the large arrays of results, which the next call of a function may change.

    The copies are made where the reply that carries them is going to be sent from.
    """

    def __init__(self, ctx: Context) -> None:
        self._empty = ctx.empty

    def export(self, array: Array) -> Array:
        return copy_into(self._empty(array.nbytes, np.uint8), array)


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
