"""``Outgoing``: the way out of a client, shared by its threads."""

from __future__ import annotations

import threading
from collections.abc import Callable

from gristmill.node.plane import Plane, Wake
from gristmill.node.straggler import Stragglers, StragglerThread
from gristmill.transport.credit import CreditBook


class Outgoing:
    """A plane, the credit for what leaves by it, and the lock that both are used under.

    ``lock`` is held around every use of ``plane`` (but not to receive), ``credit`` and ``wake``.
    """

    def __init__(self, plane: Plane, wake: Wake) -> None:
        self.plane = plane
        self.wake = wake
        self.lock = threading.RLock()
        self.credit = CreditBook()
        self.stragglers: Stragglers = StragglerThread(self.flush)
        self.left = 0
        """Tells since the last flush."""
        self._closed = False

    def flush(self) -> bool:
        """Send what waits; give whether there was anything, or still is."""
        with self.lock:
            unsent = self.plane.unsent and not self._closed
            if unsent:
                self.left = 0
                self.plane.flush()
        return unsent

    def wake_reader(self) -> None:
        """Have the thread that waits for a frame look again."""
        with self.lock:
            if not self._closed:
                self.wake.send()

    def close(self, last: Callable[[], None]) -> None:
        """Do ``last`` under the lock, then close every way."""
        self.stragglers.close()
        with self.lock:
            self._closed = True
            last()
            self.wake.close()
            self.plane.close()
