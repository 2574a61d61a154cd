"""A descriptor that wakes a poll loop from another thread or a signal handler."""

from __future__ import annotations

import contextlib
import os


class Wakeup:
    """Set from anywhere; the loop polls :attr:`fd` and clears it."""

    def __init__(self) -> None:
        self.fd, self.write_fd = (
            os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else _portable_pipe()
        )
        self._closed = False

    def set(self) -> None:
        """Make :attr:`fd` readable."""
        if self._closed:
            return
        with contextlib.suppress(BlockingIOError):  # a full pipe is readable already
            os.write(self.write_fd, b"\0")

    def clear(self) -> None:
        """Make :attr:`fd` unreadable until the next :meth:`set`."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self.fd, 4096):
                pass

    def close(self) -> None:
        """Close both ends."""
        if not self._closed:
            self._closed = True
            os.close(self.fd)
            os.close(self.write_fd)


def _portable_pipe() -> tuple[int, int]:
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    return read, write
