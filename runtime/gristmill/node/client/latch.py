"""``Latch``: a ``threading.Event`` for threads that a signal handler may raise in."""

from __future__ import annotations

import threading
from collections import deque


class Latch:
    """Is set once, and wakes everyone who waits.

    An exception of a signal handler can leave the lock inside a ``threading.Event`` held for ever,
    so that nobody can set it any more. Here each waiter has a lock of its own.
    """

    def __init__(self) -> None:
        self._set = False
        self._waiting: deque[threading.Lock] = deque()

    def is_set(self) -> bool:
        """Tell whether it is set."""
        return self._set

    def set(self) -> None:
        """Set it."""
        self._set = True
        while self._waiting:
            try:
                self._waiting.popleft().release()
            except IndexError:  # another thread sets it too, and has woken them
                return

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, ``timeout`` seconds at most; give whether it is."""
        if self._set:
            return True
        lock = threading.Lock()
        lock.acquire()
        self._waiting.append(lock)
        if not self._set:  # else it may have been set before it knew of this waiter
            lock.acquire(timeout=-1 if timeout is None else _bounded(timeout))
        return self._set


def _bounded(timeout: float) -> float:
    return min(max(0.0, timeout), threading.TIMEOUT_MAX)
