"""Sends what tells have left behind to go out together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

WINDOW = 0.0005
"""Seconds that a tell waits for others at most."""


class Stragglers(Protocol):
    """What sends the tells that were left behind."""

    @property
    def awake(self) -> bool:
        """Whether what is left now goes out by itself."""

    def wake(self) -> None:
        """Have what is left from now on go out by itself."""

    def close(self) -> None:
        """Send nothing any more."""


class StragglerThread:
    """Flushes again and again, as long as there is something new to send.

    The first tell after a pause goes out at once and opens a window; those that come within it
    go together, at its end.

    Args:
        flush: sends what waits; gives whether there was anything.
    """

    def __init__(self, flush: Callable[[], bool]) -> None:
        self._flush = flush
        self._wanted = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None

    @property
    def awake(self) -> bool:
        """Whether a window is open, so that what is left now goes out at its end."""
        return self._wanted.is_set()

    def wake(self) -> None:
        """Open a window. The caller's lock makes sure that one thread does at a time."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="gristmill-tells", daemon=True)
            self._thread.start()
        self._wanted.set()

    def close(self) -> None:
        """End the thread."""
        self._closing = True
        self._wanted.set()

    def _run(self) -> None:
        while self._wanted.wait() and not self._closing:
            time.sleep(WINDOW)
            self._wanted.clear()
            if self._flush():
                self._wanted.set()
