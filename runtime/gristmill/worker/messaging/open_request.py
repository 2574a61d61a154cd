"""``OpenRequest``: a request of an actor whose reply is fetched later."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from gristmill.errors import AskTimeoutError
from gristmill.ref import Address

if TYPE_CHECKING:
    from gristmill.worker.actors.cell import Cell
    from gristmill.worker.messaging.asking import Asks

R = TypeVar("R")


class OpenRequest(Generic[R]):
    """Implements :class:`~gristmill.behaviours.context.AwaitedReply`.

    Args:
        asks: the worker's open asks.
        number: the request's number.
        origin: who asks.
        to: who was asked.
        name: what the request is called.
        future: gets the outcome.
    """

    def __init__(
        self,
        asks: Asks,
        number: int,
        origin: Cell,
        to: Address,
        name: str,
        future: asyncio.Future[Any],
    ) -> None:
        self._asks = asks
        self._number = number
        self._origin = origin
        self._to = to
        self._name = name
        self._future = future
        self._timeout: float | None = None
        future.add_done_callback(_look_at)

    @property
    def done(self) -> bool:
        """Whether the reply, or the error in its place, has come."""
        return self._future.done()

    async def wait(self, timeout: float | None = None) -> bool:
        """Await the reply, ``timeout`` seconds at most; give whether it has come."""
        if not self.done and (timeout is None or timeout > 0):
            await self._asks.settled(self._origin, self._to, self._future, timeout)
        return self.done

    async def result(self, timeout: float | None = None) -> R:
        """Await the reply and give it, or abandon the request."""
        if not await self.wait(timeout):
            self.abandon()
            self._timeout = timeout
        if self._future.cancelled():
            raise AskTimeoutError(self._abandoned())
        return self._future.result()  # type: ignore[no-any-return]  # decoded as the reply type

    def abandon(self) -> None:
        """Give the request up for good."""
        self._asks.forget(self._number)
        self._future.cancel()

    def _abandoned(self) -> str:
        if self._timeout is None:
            return f"{self._name} to {self._to.label} was abandoned"
        return f"{self._to.label} is alive and did not answer {self._name} in {self._timeout:g} s"


def _look_at(future: asyncio.Future[Any]) -> None:
    """See an error that nobody fetches, so that the loop does not complain of it."""
    if not future.cancelled():
        future.exception()
