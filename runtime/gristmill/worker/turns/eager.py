"""Eager coroutines: the first step runs at once, and a task is needed only if it is not the last.

A handler that never really waits is finished by then, so messages to async handlers share a turn,
its commit and its frames like those to synchronous ones. (Python 3.12 has eager tasks, of which
each is a task of its own.)
"""

from __future__ import annotations

import asyncio
import types
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, copy_context
from typing import Any, Protocol


class CreateTask(Protocol):
    """Starts a task on the loop."""

    def __call__(
        self, coroutine: Coroutine[Any, Any, None], /, *, context: Context
    ) -> asyncio.Task[None]:
        """Run a coroutine in a context."""


CreateFuture = Callable[[], asyncio.Future[Any]]


class Suspended:
    """A coroutine that waits; ``metered`` drives it on."""

    __slots__ = ("_stand_in", "awaited", "coroutine", "has_begun")

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, Any],
        stand_in: _StandIn,
        awaited: object = None,
        *,
        has_begun: bool,
    ) -> None:
        self.coroutine = coroutine
        self.awaited = awaited
        """What it waits for, as the event loop wants it."""
        self.has_begun = has_begun
        self._stand_in = stand_in

    def go_on(self, rest: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run ``rest``, which drives the coroutine on, in the task that took its first step."""
        task = self._stand_in.task
        task.add_done_callback(lambda _: self._close(rest))
        self._stand_in.hand(rest)
        return task

    def _close(self, rest: Coroutine[Any, Any, None]) -> None:
        """End what a cancellation in the same round of the loop has left where it stood."""
        rest.close()
        self.coroutine.close()


class Eager:
    """Takes first steps, on behalf of a task that waits to go on with one of them.

    Args:
        create_task: starts a task on the loop, in a context.
        create_future: makes a future of the loop.
    """

    def __init__(self, create_task: CreateTask, create_future: CreateFuture) -> None:
        self._create_task = create_task
        self._create_future = create_future
        self._context = copy_context()  # whatever comes later may run in that of some handler
        self._stand_in: _StandIn | None = None

    def begin(self, coroutine: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - its result
        """Take the first step; give the result, or a :class:`Suspended` if it waits.

        Raises whatever the coroutine raises.
        """
        stand_in = self._stand_in
        if stand_in is None:
            context = self._context.copy()
            stand_in = _StandIn(self._create_task, self._create_future, context)
            self._stand_in = stand_in
        try:
            _enter_task(stand_in.loop, stand_in.task)
        except RuntimeError:  # called from inside another task, which can't be two at once
            self._stand_in = None
            return Suspended(coroutine, stand_in, has_begun=False)
        try:
            awaited = stand_in.context.run(coroutine.send, None)
        except StopIteration as done:
            return done.value
        else:
            self._stand_in = None
            return Suspended(coroutine, stand_in, awaited, has_begun=True)
        finally:
            _leave_task(stand_in.loop, stand_in.task)
            if self._stand_in is not None and stand_in.is_marked:
                stand_in.task.cancel()  # what this one has left there is none of the next one's
                self._stand_in = None


class _StandIn:
    """A task that is the current one in first steps, and goes on with the first that waits."""

    __slots__ = ("_before", "_handed", "_rest", "context", "loop", "task")

    def __init__(
        self, create_task: CreateTask, create_future: CreateFuture, context: Context
    ) -> None:
        self.context = context
        self._before = context.copy()
        self._rest: Coroutine[Any, Any, None] | None = None
        self._handed = create_future()
        waiting = self._wait()
        waiting.send(None)  # a task that is cancelled before it begins would never begin
        self.task = create_task(waiting, context=self.context)
        self.loop = self.task.get_loop()

    @property
    def is_marked(self) -> bool:
        """Whether a first step has left something in the task: a variable, a cancellation."""
        return bool(self.task.cancelling()) or self.context != self._before

    def hand(self, rest: Coroutine[Any, Any, None]) -> None:
        """Have the task run something, even if it was cancelled in the first step of that."""
        self._rest = rest
        if not self._handed.done():
            self._handed.set_result(None)

    async def _wait(self) -> None:
        try:
            await _pause()
            await self._handed
        except asyncio.CancelledError:
            if self._rest is None:
                raise
            self.task.uncancel()
            self.task.cancel()  # the coroutine meets it where it waits
        assert self._rest is not None
        await self._rest


@types.coroutine
def _pause() -> Generator[None, None, None]:
    yield
