"""Sends what tells have left behind to go out together, and what nobody else would send."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

WINDOW = 0.0005
"""Seconds that a tell waits for others at most."""
SOON = 0.05
"""Seconds until the next look for arrays that were dropped, while there are any of others."""
LATER = 0.5
"""Seconds until the next look for arrays that were given back, while any are lent."""


class Arrays(Protocol):
    """What is to know about the arrays of a process."""

    @property
    def holding(self) -> bool:
        """Whether there are arrays of others."""

    @property
    def lent(self) -> int:
        """How many segments others hold."""


class Stragglers(Protocol):
    """What sends the tells that were left behind."""

    awake: bool
    """Whether what is left now goes out by itself."""
    looks_in: float | None
    """Seconds in which it looks for arrays without being woken; None: it will not."""

    def wake(self) -> None:
        """Have what is left from now on go out by itself."""

    def close(self) -> None:
        """Send nothing any more."""


class StragglerThread:
    """Flushes again and again, as long as there is something new to send.

    The first tell after a pause goes out at once and opens a window; those that come within it
    go together, at its end. An array is dropped, and given back, without a word, so the thread
    looks from time to time: for those that came from others, and for what others send while some
    are lent and nobody else reads it.

    Args:
        flush: sends what waits; gives whether there was anything.
        read: takes in what has come, unless somebody else does.
        arrays: the process's.
    """

    def __init__(self, flush: Callable[[], bool], read: Callable[[], None], arrays: Arrays) -> None:
        self._flush = flush
        self._read = read
        self._arrays = arrays
        self._wanted = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None
        self.awake = False
        """Whether a window is open, so that what is left now goes out at its end."""
        self.looks_in: float | None = None
        """Seconds in which it looks for arrays without being woken; None: it will not."""

    def wake(self) -> None:
        """Open a window. The caller's lock makes sure that one thread does at a time."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="gristmill-tells", daemon=True)
            self._thread.start()
        self.awake = True
        self._wanted.set()

    def close(self) -> None:
        """End the thread."""
        self._closing = True
        self._wanted.set()

    def _run(self) -> None:
        woken = False
        while True:
            woken = self._wanted.wait(self._patience(woken=woken))
            if self._closing:
                return
            if woken:
                time.sleep(WINDOW)
                self._wanted.clear()
                self.awake = False  # before the flush, which takes along what is left until then
            elif self._arrays.lent:
                self._read()
            if self._flush():
                self.awake = True
                self._wanted.set()

    def _patience(self, *, woken: bool) -> float | None:
        self.looks_in = None  # first, so that who brings or lends the first array now wakes it
        if self._arrays.holding:
            self.looks_in = SOON
        elif self._arrays.lent or woken:  # who lends one after the other wakes it once
            self.looks_in = LATER
        return self.looks_in
