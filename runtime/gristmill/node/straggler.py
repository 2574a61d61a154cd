"""Sends what tells have left behind to go out together, and what nobody else would send."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

WINDOW = 0.0005
"""Seconds that a tell waits for others at most."""
_LOOK_EVERY = 0.05
"""Seconds between two looks for arrays that were dropped."""


class Stragglers(Protocol):
    """What sends the tells that were left behind."""

    awake: bool
    """Whether what is left now goes out by itself."""
    watches: bool
    """Whether it will look for dropped arrays without being woken."""

    def wake(self) -> None:
        """Have what is left from now on go out by itself."""

    def close(self) -> None:
        """Send nothing any more."""


class StragglerThread:
    """Flushes again and again, as long as there is something new to send.

    The first tell after a pause goes out at once and opens a window; those that come within it
    go together, at its end. An array is dropped without a word, so while there are any that came
    from others the thread looks from time to time.

    Args:
        flush: sends what waits; gives whether there was anything.
        holding: tells whether there are arrays of others.
    """

    def __init__(self, flush: Callable[[], bool], holding: Callable[[], bool]) -> None:
        self._flush = flush
        self._holding = holding
        self._wanted = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None
        self.awake = False
        """Whether a window is open, so that what is left now goes out at its end."""
        self.watches = False
        """Whether it will look for dropped arrays without being woken."""

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
        while True:
            woken = self._wanted.wait(self._patience())
            if self._closing:
                return
            if woken:
                time.sleep(WINDOW)
                self._wanted.clear()
                self.awake = False  # before the flush, which takes along what is left until then
            if self._flush():
                self.awake = True
                self._wanted.set()

    def _patience(self) -> float | None:
        self.watches = False  # first, so that who brings the first array now wakes it
        self.watches = self._holding()
        return _LOOK_EVERY if self.watches else None
