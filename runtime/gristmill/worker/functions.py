"""``FunctionRunner``: runs plain functions for ``node.map``, in batches."""

from __future__ import annotations

import typing
from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec

from gristmill.behaviours.actor import Actor
from gristmill.behaviours.protocol import handles
from gristmill.errors import ErrorData, UsageError
from gristmill.importing import resolve
from gristmill.messages import Request


class BatchResult(msgspec.Struct, frozen=True):
    """What became of a batch: the results up to the first error, and that error."""

    values: list[Any]
    error: ErrorData | None = None


class RunBatch(Request[BatchResult]):
    """Call a function with each item."""

    function: str
    items: list[Any]


class FunctionRunner(Actor):
    """Calls functions by their import path; an error ends its batch and nothing else."""

    @handles
    def run(self, msg: RunBatch) -> BatchResult:
        """Run one batch."""
        function = resolve(msg.function)
        expected, _ = signature_of(function)
        values: list[Any] = []
        try:
            for item in msg.items:
                argument = item if expected is Any else msgspec.convert(item, expected)
                values.append(function(argument))
        except Exception as error:  # the function's own errors travel to the caller
            return BatchResult(values, ErrorData.of(error))
        return BatchResult(values)


@cache
def signature_of(function: Callable[..., Any]) -> tuple[Any, Any]:
    """Give the annotated types of a function's only argument and of its result, or Any.

    Raises:
        UsageError: it does not take one argument.
    """
    code = getattr(function, "__code__", None)
    if code is not None and code.co_argcount < 1:
        raise UsageError(f"{function!r} takes no argument; map calls it with one")
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError):
        return Any, Any
    result = hints.pop("return", Any)
    first = code.co_varnames[0] if code is not None else None
    return hints.get(first or "", Any), result
