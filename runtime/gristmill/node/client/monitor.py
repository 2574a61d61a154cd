"""``Monitor``: a client's watch over one incarnation of an actor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gristmill.ref import AnyRef
from gristmill.supervision import ExitReason


class Reader(Protocol):
    """The part of a client's post that brings news."""

    def read_available(self) -> None:
        """Take in what is there."""

    def wait_until(self, condition: Callable[[], bool], timeout: float | None) -> bool:
        """Read until the condition holds."""


class Monitor:
    """Tells why the incarnation that was there when it was made has ended.

    Args:
        post: reads for it.
        ref: whom it is about.
        cancel: has it told nothing more.
    """

    def __init__(self, post: Reader, ref: AnyRef, cancel: Callable[[], None]) -> None:
        self.ref = ref
        self.reason: ExitReason | None = None
        """Why it has ended, as far as has been read; None while it lives."""
        self._post = post
        self._cancel = cancel

    def wait(self, timeout: float | None = None) -> ExitReason | None:
        """Wait for the end and give its reason, ``NoProc()`` if there was no incarnation.

        Args:
            timeout: seconds to wait; None for as long as it lives.

        Returns:
            None if it lives after ``timeout`` seconds.

        Raises:
            NodeStoppedError: the node has ended.
        """
        if self.reason is None:
            self._post.read_available()
            self._post.wait_until(lambda: self.reason is not None, timeout)
        return self.reason

    def close(self) -> None:
        """Watch no longer."""
        if self.reason is None:
            self._cancel()

    def __repr__(self) -> str:
        return f"<Monitor of {self.ref!r}: {self.reason or 'alive'}>"
