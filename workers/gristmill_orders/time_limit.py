"""A time limit for calls that seldom wait.

``asyncio.timeout`` arms a timer, which costs more than a call that is answered at once.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def within(
    seconds: float, fn: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Await ``fn(*args, **kwargs)``, and cancel it when it has waited too long.

    Args:
        seconds: how long the call may take from where it first waits.
        fn: what to call.
        args: its arguments.
        kwargs: its keyword arguments.

    Raises:
        TimeoutError: the call took longer.
    """
    coroutine = fn(*args, **kwargs)
    try:
        awaited = coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    async with asyncio.timeout(seconds):
        return await _rest(coroutine, awaited)


@types.coroutine
def _rest(coroutine: Coroutine[Any, Any, T], awaited: Any) -> Generator[Any, Any, T]:  # noqa: ANN401 - whatever the event loop understands
    """Drive a coroutine to its end that waits for ``awaited``."""
    while True:
        try:
            step, value = coroutine.send, (yield awaited)
        except BaseException as error:  # a cancellation passes through to the coroutine
            step, value = coroutine.throw, error
        try:
            awaited = step(value)
        except StopIteration as done:
            result: T = done.value
            return result
