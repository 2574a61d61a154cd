"""``PendingReply``: a client's request whose reply is fetched later."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from gristmill.errors import AskTimeoutError, UsageError
from gristmill.node.client.reading import Reading
from gristmill.node.client.requests import Waiter
from gristmill.ref import DEFAULT_TIMEOUT

R = TypeVar("R")


class Requesting(Protocol):
    """What a pending reply needs of the post."""

    @property
    def reading(self) -> Reading:
        """Brings what comes."""

    def now(self) -> float:
        """Give monotonic time in seconds."""

    def abandon(self, number: int) -> None:
        """Drop the reply of a request when it comes."""


class PendingReply(Generic[R]):
    """Implements :class:`~gristmill.ref.Pending`.

    Args:
        post: has sent the request.
        waiter: gets the outcome.
    """

    def __init__(self, post: Requesting, waiter: Waiter) -> None:
        self._post = post
        self._waiter = waiter
        self._error: AskTimeoutError | None = None

    @property
    def done(self) -> bool:
        """Whether the reply, or the error in its place, has come."""
        return self._error is None and self.wait(0.0)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the reply, ``timeout`` seconds at most; give whether it has come."""
        check_timeout(timeout)
        waiter = self._waiter
        if not waiter.done and self._error is None:
            self._post.reading.once(0.0)
        if not waiter.done and self._error is None and timeout != 0:
            deadline = None if timeout is None else self._post.now() + timeout
            self._post.reading.until(waiter, deadline)
        return waiter.done

    def result(self, timeout: float | None = DEFAULT_TIMEOUT) -> R:
        """Wait for the reply and give it, or abandon the request."""
        if self._error is None and not self.wait(timeout):
            self.abandon()
            self._error = self._waiter.timed_out(timeout)
        if self._error is not None:
            raise self._error
        return self._waiter.result()  # type: ignore[no-any-return]  # decoded as the reply type

    def abandon(self) -> None:
        """Give the request up for good."""
        waiter = self._waiter
        self._post.abandon(waiter.number)
        self._error = AskTimeoutError(f"{waiter.kind.name} to {waiter.to.label} was abandoned")


def check_timeout(timeout: float | None) -> None:
    """Refuse a timeout that is none.

    Raises:
        UsageError: it is negative or no number.
    """
    if timeout is not None and (
        not isinstance(timeout, int | float) or isinstance(timeout, bool) or not timeout >= 0
    ):
        raise UsageError(f"a timeout is a number of seconds from 0 on, not {timeout!r}")
