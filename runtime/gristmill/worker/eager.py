"""Eager tasks: the first step of a coroutine runs at once and not in the loop's next round.

A handler that never really waits is finished by then, so that messages to async handlers share a
turn, its commit and its frames like those to synchronous ones. (Python 3.12 has such tasks.)
"""

from __future__ import annotations

import asyncio
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Coroutine, Generator
from typing import Any


class Eager:
    """A coroutine whose first step is taken by :meth:`begin`, and the rest by awaiting this."""

    __slots__ = ("_awaited", "_begun", "_coroutine", "_done")

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._coroutine = coroutine
        self._awaited: Any = None
        self._begun = False
        self._done = False

    def begin(self, task: asyncio.Task[None]) -> None:
        """Take the first step as ``task``, which awaits this; not from inside another task."""
        loop = task.get_loop()
        if asyncio.current_task(loop) is not None:
            return
        self._begun = True
        _enter_task(loop, task)
        try:
            self._awaited = self._coroutine.send(None)
        except StopIteration:
            self._done = True
        finally:
            _leave_task(loop, task)

    async def rest(self) -> None:
        """Run what :meth:`begin` has left."""
        await self

    def __await__(self) -> Generator[Any, Any, None]:
        """Drive the coroutine to its end."""
        if not self._begun:
            yield from self._coroutine.__await__()
            return
        coroutine = self._coroutine
        while not self._done:
            step, value = coroutine.send, None
            try:
                yield self._awaited
            except BaseException as error:  # cancellation passes through to the coroutine
                step, value = coroutine.throw, error
            try:
                self._awaited = step(value)
            except StopIteration:
                self._done = True
