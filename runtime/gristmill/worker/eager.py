"""Eager coroutines: the first step runs at once, and a task is needed only if it is not the last.

A handler that never really waits is finished by then, so messages to async handlers share a turn,
its commit and its frames like those to synchronous ones. (Python 3.12 has eager tasks, of which
each is a task of its own.)
"""

from __future__ import annotations

import asyncio
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Callable, Coroutine
from typing import Any

CreateTask = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
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
        self._stand_in.handed.set_result(rest)
        return task

    def _close(self, rest: Coroutine[Any, Any, None]) -> None:
        """End what a cancellation in the same round of the loop has left where it stood."""
        rest.close()
        self.coroutine.close()


class Eager:
    """Takes first steps, on behalf of a task that waits to go on with one of them.

    Args:
        create_task: starts a task on the loop.
        create_future: makes a future of the loop.
    """

    def __init__(self, create_task: CreateTask, create_future: CreateFuture) -> None:
        self._create_task = create_task
        self._create_future = create_future
        self._stand_in: _StandIn | None = None

    def begin(self, coroutine: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - its result
        """Take the first step; give the result, or a :class:`Suspended` if it waits.

        Raises whatever the coroutine raises.
        """
        stand_in = self._stand_in
        if stand_in is None:
            stand_in = self._stand_in = _StandIn(self._create_task, self._create_future)
        try:
            _enter_task(stand_in.loop, stand_in.task)
        except RuntimeError:  # called from inside another task, which can't be two at once
            self._stand_in = None
            return Suspended(coroutine, stand_in, has_begun=False)
        try:
            awaited = coroutine.send(None)
        except StopIteration as done:
            return done.value
        finally:
            _leave_task(stand_in.loop, stand_in.task)
        self._stand_in = None
        return Suspended(coroutine, stand_in, awaited, has_begun=True)


class _StandIn:
    """A task that is the current one in first steps, and goes on with the first that waits."""

    __slots__ = ("handed", "loop", "task")

    def __init__(self, create_task: CreateTask, create_future: CreateFuture) -> None:
        self.handed = create_future()
        self.task = create_task(self._wait())
        self.loop = self.task.get_loop()

    async def _wait(self) -> None:
        try:
            rest = await self.handed
        except asyncio.CancelledError:
            if not self.handed.done() or self.handed.cancelled():
                raise
            rest = self.handed.result()
            self.task.cancel()  # the coroutine meets it where it waits
        await rest
